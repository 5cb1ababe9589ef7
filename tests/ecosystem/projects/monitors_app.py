"""Tasks that end in every way, and a camera that writes down what it sees of them."""

import json
import os
import time

from celery import Celery
from celery.app.control import Control
from celery.events.snapshot import Polaroid


class Patient(Control):
    """Waits longer than a second for a worker that it asks by its name, which a busy machine may need."""

    def broadcast(self, command, arguments=None, destination=None, **options):
        if destination:
            options["timeout"] = 60
        return super().broadcast(command, arguments, destination, **options)


app = Celery("monitors", broker=os.environ["ECO_BROKER"], backend=os.environ["ECO_BACKEND"], control=Patient)
app.conf.update(task_default_queue="unused", broker_connection_retry_on_startup=True)


@app.task(name="shop.add")
def add(x, y):
    return x + y


@app.task(name="shop.fail")
def fail(text):
    raise KeyError(text)


@app.task(name="shop.retry", bind=True, max_retries=1)
def retry(self):
    raise self.retry(countdown=0.01, exc=ValueError("again"))


@app.task(name="shop.sleep")
def sleep(seconds):
    time.sleep(seconds)


class Camera(Polaroid):
    """`celery events --camera`: what it has seen, by node."""

    clear_after = False

    def on_shutter(self, state):
        tasks = [(task.worker.hostname, task.name, task.state) for task in state.tasks.values() if task.worker and task.name]
        workers = [(worker.hostname, worker.alive) for worker in state.workers.values()]
        path = os.environ["ECO_RECORDS"]
        with open(f"{path}.new", "w") as file:
            json.dump({"tasks": sorted(tasks), "workers": sorted(workers)}, file)
        os.replace(f"{path}.new", path)
