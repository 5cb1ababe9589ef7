"""A forked child: Celery's own initialisation of a pool process, and the loop that runs jobs in its seats."""
import atexit
import gc
import itertools
import logging
import os
import queue
import signal
import sys
import threading

from billiard import common, context, pool, process
from billiard import util as billiard_util
from billiard.compat import mem_rss
from billiard.context import ForkProcess
from billiard.einfo import ExceptionInfo
from celery import platforms, signals
from celery._state import _set_task_join_will_block
from celery.app import trace
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger
from celery.worker import state
from kombu.exceptions import ContentDisallowed

from celery_rs import outcome, relay
from celery_rs._bridge import Child
from celery_rs.request import Requests

logger = get_logger('celery.pool')

#: Signals that a terminal or a service manager sends to the whole group; the parent decides what becomes of them.
OF_THE_GROUP = ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1')

EX_OK, EX_FAILURE, EX_RECYCLE = 0, 1, pool.EX_RECYCLE
#: Whether billiard's handler has ended this process, which has no public name before billiard 4.3.
TERMINATED = common._should_have_exited


class PoolProcess(ForkProcess):
    """What `billiard.current_process()` is in a prefork child."""

    def __init__(self, plan, index, serial, descriptors):
        super().__init__()
        self.name = f'ForkPoolWorker-{serial}'
        self._identity = (serial,)
        self.daemon = True
        self.index = index
        self.plan = plan
        self.descriptors = descriptors

    def run(self):
        PoolWorker(Child(*self.descriptors), self.plan)()

    def _bootstrap(self):
        """As billiard's, in fewer pages: the zygote has given away its stdin, and Python renews logging's locks itself.

        Each object that is merely looked at costs a copy of its page in every child, and there are many loggers.
        """
        context._force_start_method(self._start_method)
        process._process_counter = itertools.count(1)
        process._children = set()
        process._set_current_process(self)
        for handler in self.plan.own_locks:
            handler.createLock()
        billiard_util._finalizer_registry.clear()
        billiard_util._run_after_forkers()
        billiard_util.info('child process %s calling self.run()', self.pid)
        self.run()


class Plan:
    """What the zygote has found out about its children to be."""

    def __init__(self, app, worker, pool):
        self.app = app
        self.pool = pool
        self.hostname = worker.hostname
        self.pool_class = worker.pool_cls
        self.seats = 1 if pool in ('prefork', 'solo') else worker.concurrency
        self.statedb = worker.statedb
        self.max_memory = worker.max_memory_per_child or 0 if pool == 'prefork' else 0
        self.green = green_library(pool)
        self.fork = os.fork if self.green is None else self.green.fork
        #: Where Celery's tracer looks for duplicates first; a set that its pool of processes never fills.
        self.successes = None
        if pool != 'prefork' and app.conf.worker_deduplicate_successful_tasks:
            self.successes = state.successful_requests
        self.own_locks = handlers_with_own_locks()
        if pool == 'prefork':
            self.sender = pool_of_processes(app, worker)
            close_stdin()


def green_library(pool):
    from celery_rs.green import LIBRARIES
    library = LIBRARIES.get(pool)
    return library and library()


def pool_of_processes(app, worker):
    """The sender of `worker_before_create_process`, as far as it has no processes."""
    from celery.concurrency.asynpool import AsynPool
    sender = AsynPool.__new__(AsynPool)
    sender.__dict__.update(_processes=worker.concurrency, _initargs=(app, worker.hostname), app=app)
    return sender


def handlers_with_own_locks():
    """Log handlers whose locks Python does not know of."""
    loggers = [logging.root, *logging.Logger.manager.loggerDict.values()]
    handlers = {id(handler): handler for logger in loggers for handler in getattr(logger, 'handlers', ())}
    return [handler for handler in handlers.values() if has_own_lock(handler)]


def has_own_lock(handler):
    made_by = type(handler).createLock
    return made_by not in (logging.Handler.createLock, logging.NullHandler.createLock)


def close_stdin():
    """What billiard does in each child, once."""
    try:
        sys.stdin.close()
        sys.stdin = open(os.devnull)
    except (AttributeError, OSError, ValueError):
        pass


def serve(plan, index, serial, descriptors):
    """Never returns: the process ends here."""
    gc.enable()
    code = EX_FAILURE
    try:
        if plan.pool == 'prefork':
            PoolProcess(plan, index, serial, descriptors)._bootstrap()
        else:
            code = main_process(Child(*descriptors), plan)
    finally:
        os._exit(code)


# -- prefork: one seat, on the main thread


class PoolWorker(pool.Worker):
    """What runs in a pool process, to those who patch billiard's class in order to be there when one ends.

    billiard's own loop waits for its first job, which is where ours runs until there are no more.
    """

    maxtasks = None
    max_memory_per_child = None
    on_ready_counter = None
    inqW_fd = synqW_fd = None
    wait_for_syn = None

    def __init__(self, bridge, plan):
        self.bridge = bridge
        self.plan = plan
        self.works = False
        #: Nobody reads what billiard's loop would put there.
        self.outq = queue.SimpleQueue()

    def __call__(self):
        code = [None]

        def leave(status=None):
            code[0] = status
            raise SystemExit(status)

        sys.exit = leave
        pid = os.getpid()
        try:
            initialize(self.bridge, self.plan)
            self.workloop(pid=pid)
            self._do_exit(pid, EX_OK)
        except (SystemExit, KeyboardInterrupt) as exc:
            # Billiard does not see the code of a task's exit that is not `sys.exit`'s.
            self._do_exit(pid, exit_code(code[0] if self.works else getattr(exc, 'code', EX_FAILURE)))
        except ConnectionError as exc:
            self._do_exit(pid, EX_FAILURE, exc)
        except BaseException as exc:
            logger.error('Pool process %r error: %r', process.current_process(), exc, exc_info=True)
            self._do_exit(pid, EX_FAILURE, exc)

    def wait_for_job(self):
        self.works = True
        Seat(self.bridge, self.plan).work()
        self.works = False
        if not self.bridge.recycled():
            raise SystemExit(EX_OK)
        tell_memory(self.plan)
        raise SystemExit(EX_RECYCLE)

    def on_exit(self, pid, code):
        """The first that `_do_exit` does, and here the last."""
        finish(code)


def initialize(bridge, plan):
    from celery.concurrency import prefork
    TERMINATED[0] = False
    # It would be undone below, and costs much: with cffi a C compiler's parser is run for it.
    set_pdeathsig, platforms._set_pdeathsig = platforms._set_pdeathsig, int
    try:
        prefork.process_initializer(plan.app, plan.hostname)
    except BaseException as exc:
        bridge.failed(ExceptionInfo().traceback if isinstance(exc, Exception) else repr(exc))
        raise
    finally:
        platforms._set_pdeathsig = set_pdeathsig
    bridge.survive_zygote()
    common.reset_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell_memory(plan):
    """Why it leaves, if that is why, in billiard's words."""
    used = mem_rss() if plan.max_memory else 0
    if used > plan.max_memory:
        billiard_util.warning(pool.MAXMEM_USED_FMT.format(used, plan.max_memory))


def finish(code):
    """As billiard's pool processes do: no `atexit`, no finalizers, but Celery's signal."""
    from celery.concurrency import prefork
    try:
        prefork.process_destructor(os.getpid(), code)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            flush(stream)
        os._exit(code & 0xff)


def exit_code(status):
    if status is None:
        return EX_OK
    return status if isinstance(status, int) else EX_FAILURE


def flush(stream):
    try:
        stream.flush()
    except (AttributeError, OSError, ValueError):
        pass


# -- threads, greenlets and solo: Celery runs these in its main process


def main_process(bridge, plan):
    for name in OF_THE_GROUP:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    billiard_util._run_after_forkers()
    outcome.in_main = True
    _set_task_join_will_block(plan.pool_class.task_join_will_block)
    app = plan.app
    app.set_current()
    try:
        for name, task in app.tasks.items():
            task.__trace__ = trace.build_tracer(name, task, app.loader, plan.hostname, app=app)
        if plan.pool == 'solo':
            signals.worker_process_init.send(sender=plan.hostname if outcome.REJECT_FAILS else None)
    except Exception:
        bridge.failed(ExceptionInfo().traceback)
        return EX_FAILURE
    if plan.pool == 'threads':
        code = work_threads(bridge, plan)
    elif plan.green:
        code = work_greenlets(green_seats(bridge, plan))
    else:
        code = work_on(Seat(bridge, plan, is_process=False))
    atexit._run_exitfuncs()
    for stream in (sys.__stdout__, sys.__stderr__):
        flush(stream)
    return code


def green_seats(bridge, plan):
    from celery_rs.green import Greenlets
    return Greenlets(bridge, plan)


def work_greenlets(seats):
    try:
        seats.work()
    except SystemExit as exc:
        return exit_code(exc.code)
    except (ConnectionError, KeyboardInterrupt):
        return EX_FAILURE
    return EX_OK


def work_threads(bridge, plan):
    bridge.up()
    threads = [
        threading.Thread(target=seat_thread, args=(bridge, plan), name=f'ThreadPoolExecutor-0_{seat}', daemon=True)
        for seat in range(plan.seats)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return EX_OK


def seat_thread(bridge, plan):
    if work_on(Seat(bridge.for_thread(), plan, is_process=False, announce=False)) != EX_OK:
        os._exit(EX_FAILURE)


def work_on(seat):
    """Works until there is nothing left to do, also after tasks that want to end the process."""
    while True:
        try:
            seat.work()
            return EX_OK
        except (SystemExit, KeyboardInterrupt) as exc:
            # Of a task: Celery reports the worker as lost and goes on.
            seat.lost(exc)
        except ConnectionError:
            return EX_FAILURE


# -- a seat


class Seat:
    """Runs one job after the other."""

    def __init__(self, bridge, plan, is_process=True, announce=True):
        self.bridge = bridge
        self.app = plan.app
        self.asks_rss = bool(plan.max_memory)
        self.announce = announce
        self.requests = Requests(plan.app, plan.hostname)
        self.tasks = plan.app._tasks
        #: Number of the job whose task is being traced; 0 between jobs.
        self.tracing = 0
        self.job = None
        self.successes = plan.successes
        #: Whether a task that wants to end its process is told of as lost, and nothing else happens.
        self.outlives_exits = not is_process
        if is_process:
            signal.signal(pool.SIG_SOFT_TIMEOUT, self.on_soft_limit)

    def work(self):
        """Until the parent says stop."""
        if self.announce:
            self.bridge.up()
            self.announce = False
        next_job, run = self.bridge.next_job, self.run
        while True:
            job = next_job()
            if job is None:
                return
            self.job = job
            run(job)

    def on_soft_limit(self, signum, frame):
        """Only a task that runs can exceed a limit; a signal that comes too late is nobody's."""
        named = self.bridge.soft_limited()
        if self.tracing and named in (0, self.tracing):
            raise SoftTimeLimitExceeded()

    def run(self, job):
        self.execute(job, self.requests.request(job))

    def execute(self, job, request):
        number, name, id = job[0], job[1], job[2]
        try:
            body = self.requests.body(job, request)
        except Exception as exc:
            return self.report(number, outcome.undecodable(exc, isinstance(exc, ContentDisallowed)), None)
        task = self.tasks.get(name)
        execution = relay.running.current = relay.Execution(self.bridge, number, id, task)
        traced = None
        try:
            self.tracing = number
            # By attribute, as Celery's pool finds it: what has been patched is what runs.
            traced = trace.fast_trace_task(name, id, request, body, None, None)
            self.tracing = 0
        except BaseException as exc:
            self.tracing = 0
            if traced is None:
                return self.escaped(execution, request, exc)
        self.finished(execution, request, traced)

    def finished(self, execution, request, traced):
        failed, result, runtime = traced
        if failed:
            ended = outcome.failure(result, execution.task, request)
        else:
            ended = outcome.success(result)
            if self.successes is not None:
                self.successes.add(execution.id)
        relay.running.current = None
        self.report(execution.number, ended, execution.stored, runtime or 0.0)

    def escaped(self, execution, request, exc):
        if self.is_lethal(exc):
            raise exc
        leaves = isinstance(exc, (SystemExit, KeyboardInterrupt))
        if leaves and outcome.EXIT_IS_LOSS:
            ended = outcome.exits(exc)
        else:
            ended = outcome.raised(ExceptionInfo(), execution.task, request)
        relay.running.current = None
        self.report(execution.number, ended, execution.stored)
        if leaves:
            self.bridge.flush()
            raise exc

    def is_lethal(self, exc):
        """Whether the job is lost with its process, which is what the parent will see, or is told of as lost by its thread."""
        return TERMINATED[0] or (
            self.outlives_exits and isinstance(exc, (SystemExit, KeyboardInterrupt))
        )

    def report(self, number, ended, stored, runtime=0.0):
        rss = mem_rss() if self.asks_rss else 0
        self.job = None
        self.bridge.done(number, ended, runtime, stored, rss)

    def lost(self, exc):
        """A thread cannot end with its task: what `apply_target` reports in its place."""
        job, self.job = self.job, None
        if job is None:
            return
        from billiard.exceptions import WorkerLostError
        lost = exc if isinstance(exc, WorkerLostError) else WorkerLostError(repr(exc))
        request = self.requests.request(job)
        args, kwargs, embed = self.requests.body(job, request)
        request.update({'args': args, 'kwargs': kwargs}, **embed or {})
        execution = relay.running.current = relay.Execution(self.bridge, job[0], job[2], self.tasks.get(job[1]))
        try:
            raise lost
        except WorkerLostError:
            self.escaped(execution, request, lost)
