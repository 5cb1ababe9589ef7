"""The steward: runs what an app hangs on Celery's main process once the pool has started, errand by errand."""
import atexit
import gc
import os
import signal
import sys

from billiard import util as billiard_util
from celery import platforms
from celery._state import _set_task_join_will_block
from celery.utils.log import get_logger
from kombu.utils.json import dumps

from celery_rs import child, credentials, endings, facade, main_signals, steps  # noqa: F401: errands are there once imported
from celery_rs._bridge import Steward as Bridge
from celery_rs.errands import ERRANDS
from celery_rs.request import loads

logger = get_logger('celery.worker')

def serve(worker, pool, descriptor):
    """Never returns: the process ends here."""
    gc.enable()
    code = child.EX_FAILURE
    if pool != 'prefork':
        # What was registered before runs at the end of the child that runs the tasks, as in Celery's one process.
        atexit._clear()
    try:
        code = Steward(worker, Bridge(descriptor)).work()
    except BaseException as exc:
        logger.critical('Steward: %r', exc, exc_info=True)
    finally:
        os._exit(code)


class Steward:
    """The place of Celery's main process."""

    def __init__(self, worker, bridge):
        for name in child.OF_THE_GROUP:
            # Handled, not ignored: what an errand starts shall not inherit it.
            signal.signal(getattr(signal, name), the_parent_decides)
        billiard_util._run_after_forkers()
        self.worker = worker
        self.app = worker.app
        self.bridge = bridge
        platforms.set_process_title('celeryd', info=f'{worker.hostname}:steward')
        self.app.set_current()
        self.consumer = facade.complete(worker)
        #: Waits for what the consumer's own steps consume; None until they have started.
        self.drain = None
        self.requests = facade.Requests(self.consumer)
        _set_task_join_will_block(worker.pool.task_join_will_block)

    def work(self):
        """Until the parent says stop."""
        self.bridge.up()
        while True:
            order = self.bridge.next()
            if order is None:
                break
            self.run(*order)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            child.flush(stream)
        return child.EX_OK

    def run(self, number, name, arguments, job):
        try:
            arguments = loads(arguments) if arguments else {}
            if job is not None:
                arguments['job'] = job
            answer = dumps(ERRANDS[name](self, **arguments))
        except BaseException as exc:
            # Where the parent is gone, telling it raises.
            logger.error('Steward: %s raised: %r', name, exc, exc_info=True)
            return self.bridge.failed(number, repr(exc))
        self.bridge.done(number, answer)


def the_parent_decides(signum, frame):
    """A terminal or a service manager signals the whole group."""
