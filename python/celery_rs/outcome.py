"""What a tracer's return means to Celery's main process (`celery/worker/request.py`), as plain data."""
import pickle

import celery
from billiard.common import human_status
from billiard.einfo import ExceptionWithTraceback
from celery import signals
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, Retry, TimeLimitExceeded
from celery.utils.serialization import get_pickled_exception
from celery.utils.log import get_logger
from kombu.utils.encoding import safe_repr, safe_str

logger = get_logger('multiprocessing')

#: Numbers of the kinds, as `src/python/outcome.rs` has them.
SUCCESS, FAILURE, RETRY, IGNORED, REJECTED, OUT_OF_MEMORY, INTERNAL, UNDECODABLE, ALREADY_SUCCEEDED, EXITS = range(10)

#: Since 5.7 a task that ends its process counts as lost with it; before, as failed with its `SystemExit`.
EXIT_IS_LOSS = tuple(celery.VERSION[:2]) >= (5, 7)

#: Since 5.7 a rejected task that will not come back counts as failed.
REJECT_FAILS = tuple(celery.VERSION[:2]) >= (5, 7)

#: Whether outcomes come from a process that is Celery's main one: what it is told is then not pickled on the way.
in_main = False

IGNORED_OUTCOME = (IGNORED, '', '', False, False)
ALREADY_SUCCEEDED_OUTCOME = (ALREADY_SUCCEEDED, '', '', False, False)


def success(result):
    """`result` is the text of the result; the tracer has none for a duplicate that it has not run."""
    if result is None:
        return ALREADY_SUCCEEDED_OUTCOME
    return SUCCESS, result if type(result) is str else str(result), '', False, False


def failure(result, task, request):
    """What the tracer returned in place of a result, as `(failed, result, runtime)` has it."""
    exc = exception_of(result)
    if isinstance(exc, MemoryError):
        return out_of_memory(exc, result)
    if isinstance(exc, Reject):
        return rejected(exc, result, task, request)
    if isinstance(exc, Ignore):
        return IGNORED_OUTCOME
    if isinstance(exc, Retry):
        return RETRY, safe_repr(exc if in_main else exc.exc), safe_str(result.traceback), False, False
    return FAILURE, represent(exc), safe_str(result.traceback), isinstance(exc, TimeLimitExceeded), False


def raised(einfo, task, request):
    """The tracer let an exception through: the main process records the failure, here in its place."""
    exc = exception_of(einfo)
    if isinstance(exc, MemoryError):
        return out_of_memory(exc, einfo)
    if isinstance(exc, Reject):
        return rejected(exc, einfo, task, request)
    if isinstance(exc, Ignore):
        return IGNORED_OUTCOME
    try:
        if task is not None:
            record_failure(exc, einfo, task, request)
    except Exception as failure:
        # As from billiard's pool, whose callback has raised: nothing more is told of the task.
        logger.error('Pool callback raised exception: %r', failure, exc_info=True)
        return IGNORED_OUTCOME
    return INTERNAL, represent(exc), safe_str(einfo.traceback), False, False


def out_of_memory(exc, einfo):
    return OUT_OF_MEMORY, represent(exc), safe_str(einfo.traceback), False, False


def exits(exc):
    """The words for how the process will have ended."""
    if not isinstance(exc, SystemExit):
        return EXITS, type(exc).__name__, '', False, False
    code = 0 if exc.code is None else exc.code
    return EXITS, human_status(code if isinstance(code, int) else 1), '', False, False


def undecodable(exc, disallowed):
    return UNDECODABLE, safe_repr(exc), '', disallowed, False


def rejected(exc, einfo, task, request):
    fails = REJECT_FAILS and not exc.requeue and task is not None
    if fails:
        record_failure(exc, einfo, task, request)
    return REJECTED, represent(exc), safe_str(einfo.traceback), bool(exc.requeue), fails


def record_failure(exc, einfo, task, request):
    """Stores the failure and tells the receivers, with the request on the task's stack."""
    context = Context(request)
    ignored = request.get('ignore_result')
    ignored = task.ignore_result if ignored is None else ignored
    task.backend.mark_as_failure(
        request['id'], exc, request=context,
        store_result=not ignored or task.store_errors_even_if_ignored,
    )
    task.request_stack.push(context)
    try:
        signals.task_failure.send(
            sender=task, task_id=request['id'], exception=exc, args=request.get('args'), kwargs=request.get('kwargs'),
            traceback=einfo.traceback, einfo=einfo,
        )
    finally:
        task.request_stack.pop()


def exception_of(einfo):
    exc = einfo.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc


def represent(exc):
    """As the main process shows what the child has pickled: some exceptions make something else of themselves."""
    exc = get_pickled_exception(exc)
    if not in_main and type(exc).__reduce__ is not BaseException.__reduce__:
        try:
            exc = pickle.loads(pickle.dumps(exc))
        except Exception:
            pass
    return safe_repr(exc)
