"""Receivers that raise, and one after each that does not."""

from celery import signals

from project.record import record

for known in ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure", "worker_process_init"):

    def bad(known=known, **kwargs):
        raise RuntimeError(f"receiver of {known}")

    def good(known=known, **kwargs):
        record("good", signal=known)

    getattr(signals, known).connect(bad, weak=False)
    getattr(signals, known).connect(good, weak=False)
