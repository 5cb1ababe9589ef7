"""The signals of Celery's main process, with Celery's senders and arguments."""
from celery import signals
from celery.exceptions import InvalidTaskError
from kombu.exceptions import ContentDisallowed, DecodeError

from celery_rs.errands import errand


# -- signals of the worker


@errand
def worker_ready(steward):
    signals.worker_ready.send(sender=steward.consumer)


@errand
def worker_shutting_down(steward, sig, how, exitcode):
    signals.worker_shutting_down.send(sender=steward.worker.hostname, sig=sig, how=how, exitcode=exitcode)


@errand
def worker_shutdown(steward):
    signals.worker_shutdown.send(sender=steward.worker)


# -- signals of tasks


@errand
def task_received(steward, job):
    try:
        request = steward.requests.request(job)
    except (InvalidTaskError, ContentDisallowed, DecodeError):
        # It is no task after all, which the child finds out as well; the parent tells of it then.
        return
    signals.task_received.send(sender=steward.consumer, request=request)


@errand
def task_rejected(steward, job, reason):
    message = steward.requests.message(job)
    exc = None if reason is None else refusal(steward, job, message) or InvalidTaskError(reason)
    signals.task_rejected.send(sender=steward.consumer, message=message, exc=exc)


def refusal(steward, job, message):
    """What Celery raises of it, which is seen by making a request of it; None if that is nothing."""
    name = (message.headers or {}).get('task')
    try:
        steward.requests.request((job[0], name, *job[2:]))
    except (InvalidTaskError, ContentDisallowed) as exc:
        return exc
    except Exception:
        return None


@errand
def heartbeat_sent(steward):
    signals.heartbeat_sent.send(sender=steward.consumer.heart)


@errand
def task_revoked(steward, job, terminated, signum, expired):
    request = steward.requests.request(job)
    signals.task_revoked.send(
        sender=request.task, request=request._context, terminated=terminated, signum=signum, expired=expired,
    )


@errand
def task_unknown(steward, job, name, id):
    signals.task_unknown.send(
        sender=steward.consumer, message=steward.requests.message(job), exc=KeyError(name), name=name, id=id,
    )
