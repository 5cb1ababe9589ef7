"""Boot steps that an app adds to the worker and to its consumer, and remote control commands of its own.

They run in the steward, in Celery's order. Celery's own steps are the parent's business and only say what comes after
what; a step that takes the place of one of them is refused at the start.
"""
import threading

from celery import bootsteps
from celery.utils.collections import AttributeDict
from celery.utils.functional import pass1
from celery.utils.imports import symbol_by_name
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from celery_rs.errands import errand

logger = get_logger('celery.worker')

#: Seconds after which the thread that waits for messages looks whether it is still wanted.
TICK = 1.0

WORKER_STEPS = (
    'celery.worker.components:Hub', 'celery.worker.components:Pool', 'celery.worker.components:Beat',
    'celery.worker.components:Timer', 'celery.worker.components:StateDB', 'celery.worker.components:Consumer',
    'celery.worker.autoscale:WorkerComponent',
)


def of_celery(thing):
    module = getattr(thing, '__module__', None) or ''
    return module.split('.')[0] in ('celery', 'celery_rs', 'kombu')


class OwnSteps(bootsteps.Blueprint):
    """The app's own steps, where Celery's come in between only in thought."""

    def _finalize_steps(self, steps):
        return [step for step in super()._finalize_steps(steps) if not of_celery(step)]


class WorkerSteps(OwnSteps):
    name = 'Worker'
    default_steps = WORKER_STEPS


class ConsumerSteps(OwnSteps):
    name = 'Consumer'
    default_steps = Consumer.Blueprint.default_steps

    def shutdown(self, parent):
        self.send_all(parent, 'shutdown')


def own(app):
    """Names of all of them."""
    return sorted(symbol_by_name(step).name for kind in ('worker', 'consumer') for step in app.steps[kind])


def misplaced(app):
    """Those that take the place of one of Celery's."""
    usual = {'worker': WORKER_STEPS, 'consumer': Consumer.Blueprint.default_steps}
    found = []
    for kind, names in usual.items():
        taken = {symbol_by_name(name).name for name in names}
        steps = map(symbol_by_name, app.steps[kind])
        found += [step.name for step in steps if step.name in taken and not of_celery(step)]
    return sorted(found)


# -- errands


@errand
def start_worker_steps(steward):
    worker = steward.worker
    options = worker.options
    worker.steps, steward.consumer.steps = [], []
    worker.blueprint = WorkerSteps(steps=worker.app.steps['worker'])
    worker.blueprint.apply(worker, **options)
    steward.consumer.blueprint = ConsumerSteps(steps=worker.app.steps['consumer'])
    steward.consumer.blueprint.apply(steward.consumer, **options)
    worker.blueprint.start(worker)


@errand
def start_consumer_steps(steward):
    """On each connection of the parent's, once it consumes."""
    consumer, drain = steward.consumer, steward.drain
    if drain is not None:
        drain.stop()
        consumer.blueprint.restart(consumer)
        consumer.restart_count += 1
    steward.drain = Drain(consumer)
    steward.drain.start()


@errand
def stop_steps(steward, terminate):
    worker, consumer = steward.worker, steward.consumer
    if steward.drain is not None:
        steward.drain.stop()
        consumer.blueprint.stop(consumer)
        consumer.blueprint.shutdown(consumer)
    worker.blueprint.stop(worker, terminate=terminate)
    worker.timer.stop()


@errand
def control(steward, method, arguments):
    """A remote control command that the app has registered."""
    from celery.worker.control import Panel
    consumer = steward.consumer
    state = AttributeDict(app=steward.app, hostname=consumer.hostname, consumer=consumer, tset=pass1)
    return Panel.data[method](state, **arguments)


class Drain:
    """Starts the consumer's steps, and waits for messages on the connection that they have opened, if any."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.stopped = threading.Event()
        self.thread = None

    def start(self):
        self.consumer.blueprint.start(self.consumer)
        if self.has_consumers():
            self.thread = threading.Thread(target=self.run, name='celery-rs-consumer-steps', daemon=True)
            self.thread.start()

    def has_consumers(self):
        return any(getattr(step, 'consumers', None) for step in self.consumer.steps)

    def stop(self):
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()

    def run(self):
        while not self.stopped.is_set():
            try:
                self.wait()
            except self.consumer.connection.recoverable_connection_errors as exc:
                self.reconnect(exc)
            except Exception as exc:
                logger.error('boot steps of the consumer: %r', exc, exc_info=True)
                return

    def wait(self):
        while not self.stopped.is_set():
            try:
                self.consumer.connection.drain_events(timeout=TICK)
            except TimeoutError:
                self.beat()

    def beat(self):
        if self.consumer.connection.heartbeat:
            self.consumer.connection.heartbeat_check()

    def reconnect(self, exc):
        """As Celery's consumer does: everything is stopped, and starts over on another connection."""
        logger.warning('boot steps of the consumer: connection to broker lost (%r): they are started again', exc)
        consumer = self.consumer
        consumer.blueprint.restart(consumer)
        consumer.connection.close()
        consumer.connection = consumer.app.connection_for_read()
        while not self.stopped.is_set():
            try:
                consumer.connection.ensure_connection(max_retries=1, interval_start=TICK)
                return consumer.blueprint.start(consumer)
            except consumer.connection.recoverable_connection_errors:
                self.stopped.wait(TICK)
