"""`--log-format json`: Celery's own set-up of logging, with a formatter that writes one JSON object per line.

The same objects as the parent's (`src/cli/logging/json.rs`). What receivers of `setup_logging` make is theirs.
"""
import datetime
import json
import logging
import os

from celery._state import get_current_task
from celery.app.log import Logging

VARIABLE = 'CELERY_WORKER_LOG_FORMAT'


class JsonFormatter(logging.Formatter):
    """Takes the arguments of Celery's formatters, and none of their formats."""

    def __init__(self, fmt=None, datefmt=None, use_color=None):
        super().__init__()

    def format(self, record):
        line = {
            'time': datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec='microseconds'),
            'level': record.levelname,
            'logger': record.name,
            'process': record.processName,
            'message': record.getMessage(),
        }
        line.update(task_of(record))
        if record.exc_info:
            line['exception'] = self.formatException(record.exc_info)
        if record.stack_info:
            line['stack'] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def task_of(record):
    """The task that runs, or that a line of Celery's tracer is about."""
    task = get_current_task()
    if task and task.request and task.request.id:
        return {'task_id': task.request.id, 'task_name': task.name}
    about = record.args
    if isinstance(about, dict) and {'id', 'name'} <= about.keys():
        return {'task_id': about['id'], 'task_name': about['name']}
    return {}


def install():
    """To be called before Celery sets its logging up, if lines are to be JSON."""
    if os.environ.get(VARIABLE) != 'json':
        return
    setup_handlers = Logging.setup_handlers

    def with_json(self, logger, logfile, format, colorize, formatter=None, **kwargs):
        return setup_handlers(self, logger, logfile, format, False, formatter=JsonFormatter, **kwargs)

    Logging.setup_handlers = with_json
