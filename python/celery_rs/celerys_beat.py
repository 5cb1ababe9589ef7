"""Celery's own beat beside a worker, in a process like the one in which Celery's worker embeds it."""
import gc
import os
import signal
import sys
import threading

from billiard import process as billiard_process
from billiard import util as billiard_util
from celery import beat
from celery.utils.log import get_logger

from celery_rs import child

logger = get_logger('celery.beat')


def serve(worker, descriptor):
    """Never returns: the process ends here, with its parent at the latest."""
    gc.enable()
    code = child.EX_FAILURE
    try:
        for name in child.OF_THE_GROUP:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.signal(signal.SIGTERM, leave)
        run(worker, descriptor)
        code = child.EX_OK
    except BaseException as exc:
        logger.critical('beat raised exception %s: %r', exc.__class__, exc, exc_info=True)
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            child.flush(stream)
        os._exit(code)


def run(worker, descriptor):
    billiard_util._run_after_forkers()
    app = worker.app
    app.set_default()
    app.set_current()
    process = beat.EmbeddedService(app, schedule_filename=worker.schedule_filename, scheduler_cls=worker.scheduler)
    # By this name log lines are known.
    billiard_process._set_current_process(process)
    threading.Thread(target=wait, args=(descriptor,), daemon=True).start()
    process.service.start(embedded_process=True)


def wait(descriptor):
    """Until the parent closes its end."""
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def leave(signum, frame):
    """At which Celery's service keeps its schedule."""
    raise SystemExit
