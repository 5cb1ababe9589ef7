"""What stands in the steward for the parts of Celery's main process that are the parent's.

Instances of Celery's own classes as far as that is possible, so that what an app does with them works or is refused in a
clear line: the pool, the consumer, its heart, and the requests with their messages.
"""
from celery import bootsteps
from celery.concurrency.base import BasePool
from celery.utils.imports import symbol_by_name
from celery.utils.timer2 import Timer
from celery.worker.heartbeat import Heart
from celery.worker.request import create_request_cls
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from celery_rs.request import fields


class Refused(NotImplementedError):
    """Asked for something that only the parent can do."""


def refused(what):
    def refuse(*args, **kwargs):
        raise Refused(f'{what}: celery-rs does this outside Python')

    return refuse


class Absent:
    """What only the parent has: whatever is looked for in it is refused in a clear line."""

    def __init__(self, what):
        self.__dict__['what'] = what

    def __getattr__(self, name):
        raise Refused(f'{self.what}.{name}: celery-rs does this outside Python')

    def __setattr__(self, name, value):
        raise Refused(f'{self.what}.{name}: celery-rs does this outside Python')


class Running(bootsteps.Blueprint):
    """A blueprint whose steps run in the parent."""

    def __init__(self, steps=None, name=None, **callbacks):
        super().__init__((), name, **callbacks)
        self.order = []

    def apply(self, parent, **kwargs):
        parent.steps = []
        self.state = bootsteps.RUN
        return self


class WorkerBlueprint(Running):
    name = 'Worker'


class ConsumerBlueprint(Running):
    name = 'Consumer'


class Pool:
    """Mixed into the worker's own class of pool: knows its numbers, runs nothing."""

    def __init__(self, limit, **options):
        BasePool.__init__(self, limit, **options)
        self._state = self.RUN

    num_processes = property(lambda self: self.limit)
    info = property(BasePool._get_info if hasattr(BasePool, '_get_info') else lambda self: {'max-concurrency': self.limit})

    apply_async = on_apply = refused('running something in the pool')
    terminate_job = refused('terminating a job')
    grow = shrink = restart = refused('changing the pool')
    start = stop = close = terminate = refused('starting or stopping the pool')


class Consumer:
    """Mixed into the worker's own class of consumer: consumes nothing, and connects when somebody looks."""

    Blueprint = ConsumerBlueprint
    task_consumer, qos = Absent('consumer.task_consumer'), Absent('consumer.qos')
    gossip = pidbox_node = None
    _connection = _event_dispatcher = None

    @property
    def connection(self):
        if self._connection is None:
            self._connection = self.app.connection_for_read()
        return self._connection

    @connection.setter
    def connection(self, connection):
        self._connection = connection

    @property
    def event_dispatcher(self):
        if self._event_dispatcher is None:
            self._event_dispatcher = self.app.events.Dispatcher(
                self.app.connection_for_write(), hostname=self.hostname,
                groups=None if self.controller.task_events else ['worker'],
            )
        return self._event_dispatcher

    @event_dispatcher.setter
    def event_dispatcher(self, dispatcher):
        self._event_dispatcher = dispatcher

    start = create_task_handler = refused('consuming')


class ParentsHeart:
    """Mixed into Celery's class: the sender of `heartbeat_sent`; the parent's beats."""

    def __init__(self, consumer, interval):
        self.consumer = consumer
        self.timer = consumer.timer
        self.interval = float(interval or 2.0)
        self.tref = None
        self._send_sent_signal = None

    eventer = property(lambda self: self.consumer.event_dispatcher)
    start = stop = refused('the heartbeat')


class ParentsMessage:
    """Mixed into kombu's class: a task message as its receivers see it; settled by the parent."""

    ack = reject = requeue = ack_log_error = reject_log_error = refused('settling a message')


def mixed(facade, cls):
    return type(cls.__name__, (facade, cls), {'__module__': cls.__module__, '__qualname__': cls.__qualname__})


def complete(worker):
    """Gives a worker that was stopped short of its start what its steps would have given it."""
    worker.blueprint = WorkerBlueprint()
    worker.blueprint.apply(worker)
    worker.hub = worker.semaphore = worker.beat = worker.autoscaler = worker._persistence = None
    worker.process_task = refused('executing a request')
    pool_class = mixed(Pool, worker.pool_cls)
    worker.pool = pool_class(
        worker.min_concurrency, putlocks=False, app=worker.app, initargs=(worker.app, worker.hostname),
        maxtasksperchild=worker.max_tasks_per_child, max_memory_per_child=worker.max_memory_per_child,
        timeout=worker.time_limit, soft_timeout=worker.soft_time_limit,
    )
    worker.timer = Timer(max_interval=worker.timer_precision)
    consumer_class = mixed(Consumer, symbol_by_name(worker.consumer_cls))
    most = worker.max_concurrency or worker.concurrency
    consumer = worker.consumer = consumer_class(
        worker.process_task, hostname=worker.hostname, task_events=worker.task_events,
        init_callback=worker.ready_callback, initial_prefetch_count=most * worker.prefetch_multiplier,
        pool=worker.pool, timer=worker.timer, app=worker.app, controller=worker, hub=None,
        worker_options=worker.options, disable_rate_limits=worker.disable_rate_limits,
        prefetch_multiplier=worker.prefetch_multiplier,
    )
    consumer.restart_count = 0
    consumer.heart = mixed(ParentsHeart, Heart)(consumer, worker.options.get('heartbeat_interval'))
    return consumer


class Requests:
    """Makes Celery's own requests out of jobs."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.app = consumer.app
        self.accept = prepare_accept_content(self.app.conf.accept_content)
        self.classes = {}
        self.message_class = mixed(ParentsMessage, Message)

    def message(self, job):
        """The message of a job (`src/python/child.rs:tuple`)."""
        delivery_info = {'exchange': job[10], 'routing_key': job[11]}
        if job[13]:
            delivery_info['redelivered'] = True
        return self.message_class(
            body=job[5], content_type=job[6], content_encoding=job[7], delivery_info=delivery_info,
            headers=fields(job[3]), properties=fields(job[4]), accept=self.accept, channel=None,
        )

    def request(self, job, eventer=None, on_ack=None, on_reject=None):
        task = self.app.tasks[job[1]]
        message = self.message(job)
        request_class = self.classes.get(task.name)
        if request_class is None:
            consumer = self.consumer
            request_class = self.classes[task.name] = create_request_cls(
                symbol_by_name(task.Request), task, consumer.pool, consumer.hostname, eventer, app=self.app,
            )
        return request_class(
            message, on_ack=on_ack or settled, on_reject=on_reject or settled, app=self.app,
            hostname=self.consumer.hostname, eventer=eventer, task=task, connection_errors=(), body=message.body,
            headers=message.headers, decoded=False, utc=self.app.uses_utc_timezone(),
        )


settled = refused('settling a message')
