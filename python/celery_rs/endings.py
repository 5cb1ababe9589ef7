"""Ends that no child has seen, and results of native tasks: what Celery's main process makes of them.

The requests are Celery's own, with the app's own classes; what they would say to the broker and to the event listeners is
given back to the parent, which says it.
"""
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import states
from celery.app.task import Context
from celery.result import result_from_tuple
from celery.utils.log import get_logger
from celery.worker import request as celery_request

from celery_rs.errands import errand
from celery_rs.request import loads

logger = get_logger('celery.worker.request')

#: Since 5.7 a hard time limit calls the hooks, in the callback that earlier ones leave to the failure.
TIMEOUT_HAS_HOOKS = hasattr(celery_request, 'task_has_custom')


class Record:
    """What a request has said: an event dispatcher to it, and both ways to settle its message."""

    def __init__(self, enabled):
        self.enabled = enabled
        self.events = []
        self.settled = None

    def send(self, type, **fields):
        self.events.append([type, fields])

    def ack(self, logger, errors):
        self.settled = 'ack'

    def reject(self, logger, errors, requeue=False):
        self.settled = 'requeue' if requeue else 'drop'

    def told(self):
        return {'events': self.events, 'settled': self.settled}


def recorded(steward, job, events, held):
    record = Record(events)
    request = steward.requests.request(job, record, record.ack, record.reject)
    request.acknowledged = not held
    return record, request


@errand
def worker_lost(steward, job, text, events, held):
    """The child died under the task."""
    record, request = recorded(steward, job, events, held)
    try:
        raise WorkerLostError(text)
    except WorkerLostError:
        einfo = ExceptionInfo()
    request.on_failure(einfo)
    return record.told()


@errand
def time_limit_exceeded(steward, job, limit, events, held):
    """The hard time limit has passed. Once: that Celery stores and tells it twice helps nobody."""
    record, request = recorded(steward, job, events, held)
    try:
        raise TimeLimitExceeded(limit)
    except TimeLimitExceeded as exc:
        einfo = ExceptionInfo()
        shown = repr(exc)
    if TIMEOUT_HAS_HOOKS:
        logger.error('Task handler raised error: %s', shown)
        if request.task.acks_late and not request.task.acks_on_timeout:
            # Celery's `on_failure`, which comes first, does so.
            request.reject(requeue=True)
        request.on_timeout(False, limit)
        return record.told()
    request.on_failure(einfo)
    if record.settled == 'requeue':
        request.task.backend.mark_as_failure(
            request.id, TimeLimitExceeded(limit), request=request._context, store_result=request.store_errors,
        )
    logger.error('Hard time limit (%ss) exceeded for %s[%s]', limit, request.name, request.id)
    return record.told()


@errand
def cancelled(steward, job, events):
    """Ended by the worker though its message is acknowledged already: told to be in retry."""
    record, request = recorded(steward, job, events, False)
    request._announce_cancelled()
    return record.told()


@errand
def announce_revoked(steward, job, reason, terminated, signum, expired, events, held):
    """Revoked, expired or terminated, where only Python can read what hangs on it."""
    record, request = recorded(steward, job, events, held)
    request._announce_revoked(reason, terminated, signum, expired)
    return record.told()


# -- the app's result backend, for those that only Python has


@errand
def store_result(steward, document, reply_to, correlation_id):
    """Stores what a document says that was made for another backend."""
    meta = loads(document)
    backend = steward.app.backend
    result, task_state = meta['result'], meta['status']
    if task_state in states.EXCEPTION_STATES:
        result = backend.exception_to_python(result)
    backend.store_result(
        meta['task_id'], result, task_state, traceback=meta.get('traceback'),
        request=context(steward, meta, reply_to, correlation_id),
    )


def context(steward, meta, reply_to, correlation_id):
    children = meta.get('children')
    if children is None and 'name' not in meta and not meta.get('parent_id'):
        return None
    found = Context({
        'id': meta['task_id'],
        'task': meta.get('name'),
        'args': meta.get('args'),
        'kwargs': meta.get('kwargs'),
        'hostname': meta.get('worker'),
        'retries': meta.get('retries', 0),
        'delivery_info': {'routing_key': meta.get('queue')},
        'group': meta.get('group_id'),
        'parent_id': meta.get('parent_id'),
        'reply_to': reply_to,
        'correlation_id': correlation_id or meta['task_id'],
    })
    # It takes none from what it is made of.
    found.children.extend(result_from_tuple(child, app=steward.app) for child in children or ())
    return found


@errand
def task_meta(steward, task_id):
    """What the backend knows of a task, in the form of a document; None if that is nothing."""
    backend = steward.app.backend
    meta = backend.get_task_meta(task_id, cache=False)
    if meta['status'] == states.PENDING:
        return None
    result = meta.get('result')
    if isinstance(result, BaseException):
        result = backend.prepare_exception(result, 'json')
    elif meta['status'] not in states.EXCEPTION_STATES:
        result = None
    return {
        'task_id': task_id, 'status': meta['status'], 'result': result, 'traceback': meta.get('traceback'),
        'children': None, 'date_done': None,
    }


@errand
def chord_part(steward, group_id, task_id, group_index, state, result, body):
    """A part of a chord's header has ended."""
    backend = steward.app.backend
    if state in states.EXCEPTION_STATES:
        result = backend.exception_to_python(result)
    request = Context({
        'id': task_id, 'group': group_id, 'group_index': group_index, 'chord': body, 'root_id': task_id,
    })
    backend.on_chord_part_return(request, state, result)


@errand
def call_errbacks(steward, task_id, headers, exception, traceback, errbacks):
    """Those of a task that has failed outside Python."""
    backend = steward.app.backend
    exc = backend.exception_to_python(exception)
    request = Context({'delivery_info': {}, **headers, 'id': task_id, 'errbacks': errbacks})
    backend._call_task_errbacks(request, exc, traceback)
