"""celery-batches: a task whose Strategy collects requests in Celery's main process. Beside it, one with a Request."""

import os

from celery import Task
from celery.worker.request import Request
from celery_batches import Batches

from record import new_app

app = new_app("batches_app")

if os.environ.get("ECO_BATCHES"):

    @app.task(base=Batches, flush_every=10, flush_interval=1)
    def collect(requests):
        return len(requests)


class Watched(Request):
    def on_success(self, *args, **kwargs):
        return super().on_success(*args, **kwargs)


class WatchedTask(Task):
    abstract = True
    Request = Watched


@app.task(base=WatchedTask)
def add(x, y):
    return x + y


def client():
    return add.delay(1, 2).get(timeout=60)
