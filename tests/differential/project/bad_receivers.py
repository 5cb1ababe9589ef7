"""Receivers that raise, and one after each that does not."""

from celery import signals

from project.record import record

#: Tasks that only hold the worker or wait for it, as often as they are needed.
UNSEEN = {"fence", "gate"}

for known in ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure", "worker_process_init"):

    def bad(sender=None, known=known, **kwargs):
        if getattr(sender, "name", None) not in UNSEEN:
            raise RuntimeError(f"receiver of {known}")

    def good(sender=None, known=known, **kwargs):
        if getattr(sender, "name", None) not in UNSEEN:
            record("good", signal=known)

    getattr(signals, known).connect(bad, weak=False)
    getattr(signals, known).connect(good, weak=False)
