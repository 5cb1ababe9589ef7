"""Receivers of every signal that a worker sends, each of which writes to the ledger."""

from celery import signals

from project.record import record


def name(sender):
    return getattr(sender, "name", None) or type(sender).__name__


def summary(value):
    """Of exceptions and requests what does not depend on the process."""
    if value is None or isinstance(value, (bool, int, str, list, dict)):
        return value
    if isinstance(value, BaseException):
        return repr(value)
    return getattr(value, "id", None) or type(value).__name__


def receiver_of(signal):
    def receive(sender=None, signal=signal, **kwargs):
        fields = {key: summary(kwargs[key]) for key in sorted(kwargs) if key != "runtime"}
        record(signal.name, sender=name(sender), fields=fields)

    return receive


OF_TASKS = (
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_retry",
    "task_failure",
    "task_internal_error",
    "task_received",
    "task_revoked",
    "task_rejected",
    "task_unknown",
)
OF_PROCESSES = (
    "celeryd_init",
    "celeryd_after_setup",
    "worker_init",
    "worker_before_create_process",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
)
for known in OF_TASKS + OF_PROCESSES:
    found = getattr(signals, known)
    found.connect(receiver_of(found), weak=False)
