"""The Celery app that the benchmark's workers run, and that its messages are captured from."""

import datetime
import os
import time

from celery import Celery

app = Celery("bench_app", broker=os.environ.get("BENCH_BROKER"), backend=os.environ.get("BENCH_BACKEND"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH_MULTIPLIER", "4")),
    task_default_queue="bench",
    broker_transport_options={"visibility_timeout": int(os.environ.get("BENCH_VISIBILITY", "3600"))},
)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.late", bind=True)
def late(self):
    """How many seconds after its ETA it runs."""
    return time.time() - datetime.datetime.fromisoformat(self.request.eta).timestamp()
