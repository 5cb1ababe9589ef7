"""A loader that writes to the ledger what it is asked for, and when."""

import atexit

from celery.backends.redis import RedisBackend
from celery.loaders.app import AppLoader

from project.record import record


class Loader(AppLoader):
    def on_task_init(self, task_id, task):
        record("on_task_init", task=task.name)

    def on_process_cleanup(self):
        record("on_process_cleanup")

    def on_worker_init(self):
        record("on_worker_init")

    def on_worker_process_init(self):
        record("on_worker_process_init")

    def on_worker_shutdown(self):
        record("on_worker_shutdown")

    def shutdown_worker(self):
        record("shutdown_worker")
        super().shutdown_worker()


def process_cleanup(self):
    record("process_cleanup")


RedisBackend.process_cleanup = process_cleanup
atexit.register(record, "atexit")
