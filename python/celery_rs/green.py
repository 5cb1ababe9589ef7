"""Greenlets: the child of `-P gevent` and `-P eventlet`, with Celery's own pool on the library's hub.

The main greenlet takes jobs as long as there are seats and hands them to the pool, which spawns a greenlet for each, times
it out and kills it as Celery's does. Nothing here waits but by the hub.
"""
import os
import warnings

from billiard.einfo import ExceptionInfo
from celery.exceptions import WorkerShutdown, WorkerTerminate

from celery_rs import outcome, relay
from celery_rs.child import Seat
from celery_rs.request import Requests


class Gevent:
    """What is needed of gevent."""

    def __init__(self):
        from gevent import event, local, os, socket, spawn
        self.spawn = spawn
        self.local = local.local
        #: Waits until a descriptor is readable.
        self.wait_read = socket.wait_read
        self.answer = event.AsyncResult
        #: With the hub made anew in the child; watches no SIGCHLD.
        self.fork = os.fork_gevent


class Eventlet:
    """What is needed of eventlet."""

    def __init__(self):
        from eventlet import corolocal, hubs, spawn
        self.hubs = hubs
        self.spawn = spawn
        self.local = corolocal.local

    def wait_read(self, descriptor):
        self.hubs.trampoline(descriptor, read=True)

    def answer(self):
        return EventletAnswer()

    def fork(self):
        with warnings.catch_warnings():
            # Of eventlet, against any fork at all.
            warnings.simplefilter('ignore', DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self.renew_hub()
        return pid

    def renew_hub(self):
        """The kernel's end of an epoll hub is shared with the zygote and its other children until then."""
        from eventlet.patcher import original
        hub = getattr(self.hubs._threadlocal, 'hub', None)
        poll = getattr(hub, 'poll', None)
        if not hasattr(poll, 'fileno'):
            return
        hub.poll = original('select').epoll()
        poll.close()
        for descriptor in {*hub.listeners[hub.READ], *hub.listeners[hub.WRITE]}:
            hub.register(descriptor, new=True)


class EventletAnswer:
    """One that can be given when nobody waits for it."""

    def __init__(self):
        from eventlet.event import Event
        self.event = Event()
        self.set = self.event.send
        self.get = self.event.wait


LIBRARIES = {'gevent': Gevent, 'eventlet': Eventlet}


class Greenlets:
    """The seats of one child, and Celery's pool."""

    def __init__(self, bridge, plan):
        self.bridge = bridge
        self.library = plan.green
        self.app = plan.app
        self.tasks = plan.app._tasks
        self.requests = Requests(plan.app, plan.hostname)
        self.seats = plan.seats
        self.successes = plan.successes
        self.pool = plan.pool_class(plan.seats, app=plan.app)
        #: Jobs that have been handed to the pool and have not ended, by their numbers.
        self.running = {}
        #: What greenlets wait for, by the numbers of their jobs.
        self.answers = {}
        #: What greenlets that have ended have had in the app's thread-local storage, for those to come: Celery keeps there the
        #: result backend, of which a new one for each task would cost more than the task.
        self.locals = []
        self.closing = None
        relay.running = self.library.local()

    def work(self):
        """Until the parent says stop."""
        self.pool.start()
        self.bridge.up()
        descriptor = self.bridge.fileno()
        while self.look():
            self.library.wait_read(descriptor)
        self.close()
        if not self.running:
            self.closing.get()

    def look(self):
        """Does all there is to do now; whether to go on."""
        kills, answers, seats, closing, stopping = self.bridge.news()
        for number, error in answers:
            self.answered(number, error)
        for number in kills:
            self.kill(number)
        if seats is not None:
            self.resize(seats)
        if closing:
            self.close()
        while len(self.running) < self.seats:
            job = self.bridge.take()
            if job is None:
                break
            self.begin(job)
        self.bridge.flush()
        return not stopping

    def begin(self, job):
        greenlet = self.running[job[0]] = Greenlet(self, job)
        number, name, id, *_ = job
        greenlet.request = self.requests.request(job)
        # With what a receiver of `eventlet_pool_apply` expects.
        self.pool.apply_async(
            greenlet.target, args=(name, id, greenlet.request, job[5], job[6], job[7]), accept_callback=greenlet.accepted,
            callback=greenlet.ended, timeout_callback=greenlet.timed_out, timeout=job[14], correlation_id=id,
        )

    def left(self, greenlet):
        """A seat is free, and there is something to write."""
        del self.running[greenlet.number]
        self.bridge.wake()

    def kill(self, number):
        greenlet = self.running.get(number)
        if greenlet is None:
            return
        greenlet.doomed = True
        if greenlet.pid is not None:
            self.terminate(greenlet)

    def terminate(self, greenlet):
        # Not here: eventlet waits for the end.
        self.library.spawn(self.pool.terminate_job, greenlet.pid, None)

    def resize(self, seats):
        more = seats - self.seats
        self.seats = seats
        if more > 0:
            self.pool.grow(more)
        elif more < 0:
            self.pool.shrink(-more)

    def close(self):
        """Tells the pool, which waits for its greenlets then."""
        if self.closing is None:
            self.closing = self.library.answer()
            self.library.spawn(self.stop)

    def stop(self):
        try:
            self.pool.stop()
        finally:
            self.closing.set(None)

    def answered(self, number, error):
        answer = self.answers.pop(number, None)
        # A greenlet may have been killed while it waited.
        if answer is not None:
            answer.set(error)

    def lend_locals(self):
        own = self.app._local.__dict__
        # Not empty where the library has not patched threading: all greenlets have the same then.
        if self.locals and not own:
            own.update(self.locals.pop())

    def keep_locals(self):
        if len(self.locals) < self.seats:
            self.locals.append(dict(self.app._local.__dict__))

    # -- for those who run a job, in the place of the bridge

    def store(self, number, stored):
        """Has the parent store a result, and waits until it is safe: empty text, else the error."""
        answer = self.answers[number] = self.library.answer()
        try:
            self.bridge.ask(number, stored)
            return answer.get()
        finally:
            self.answers.pop(number, None)

    def done(self, number, ended, runtime, stored, rss):
        self.bridge.done(number, ended, runtime, stored, rss)


class Greenlet(Seat):
    """One job in a greenlet of its own."""

    def __init__(self, greenlets, job):
        self.greenlets = self.bridge = greenlets
        self.app = greenlets.app
        self.tasks = greenlets.tasks
        self.requests = greenlets.requests
        self.asks_rss = False
        self.successes = greenlets.successes
        self.tracing = 0
        self.job = job
        self.number = job[0]
        self.request = None
        #: The pool's name for it, once it runs.
        self.pid = None
        self.doomed = False

    def target(self, *_):
        """What the pool runs; None once everything is reported."""
        self.greenlets.lend_locals()
        try:
            self.execute(self.job, self.request)
            # Those of a greenlet that was killed may be in the middle of something.
            self.greenlets.keep_locals()
        except (WorkerShutdown, WorkerTerminate) as exc:
            # The pool would pass it on to the hub, which ends the process with all others that run.
            self.lost(exc)

    def accepted(self, pid, time_accepted):
        self.pid = pid
        if self.doomed:
            self.greenlets.terminate(self)

    def ended(self, returned):
        if isinstance(returned, ExceptionInfo):
            self.lost(outcome.exception_of(returned))
        elif returned is not None:
            self.greenlets.bridge.killed(self.number)
        self.greenlets.left(self)

    def timed_out(self, soft, timeout):
        self.greenlets.bridge.timed_out(self.number)
        self.greenlets.left(self)

    def is_lethal(self, exc):
        """What the pool knows what to do with: the ends of greenlets, timeouts, and what Celery takes for a lost worker."""
        return not isinstance(exc, Exception)
