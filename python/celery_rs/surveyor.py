"""`celery-rs doctor`: the app is loaded as for a worker, and nothing is written or changed on the way."""
import sys

from celery.app.log import Logging

#: `celery.bin.celery` has imported it, and shows the command of that name instead.
worker = sys.modules['celery.bin.worker']


def install():
    """To be called before Celery reads the command line."""
    worker.maybe_drop_privileges = stay
    setup_handlers = Logging.setup_handlers

    def to_stderr(self, logger, logfile, *args, **kwargs):
        return setup_handlers(self, logger, None, *args, **kwargs)

    Logging.setup_handlers = to_stderr


def stay(uid=None, gid=None):
    """As whoever asks."""
