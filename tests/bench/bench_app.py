"""The Celery app that the benchmark's workers run, and that its messages are captured from."""

import os

from celery import Celery

app = Celery("bench_app", broker=os.environ.get("BENCH_BROKER"), backend=os.environ.get("BENCH_BACKEND"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH_MULTIPLIER", "4")),
    task_default_queue="bench",
)


@app.task(name="bench.add")
def add(x, y):
    return x + y
