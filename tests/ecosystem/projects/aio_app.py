"""celery-aio-pool puts a tracer of its own in the place of Celery's."""

import asyncio

import celery_aio_pool
from celery import chain, signals

from record import new_app, record

celery_aio_pool.patch_celery_tracer()
app = new_app("aio_app")


@app.task
async def add(x, y):
    await asyncio.sleep(0)
    return x + y


@app.task(bind=True)
async def fails(self):
    await asyncio.sleep(0)
    raise ValueError(self.request.id is not None)


@app.task
def plain(x):
    return x * 2


@signals.task_postrun.connect
def on_postrun(sender=None, state=None, **_):
    record("postrun", task=sender.name, state=state)


def client():
    found = [repr(task.delay().get(propagate=False, timeout=60)) for task in (add.s(1, 2), fails.s(), plain.s(4))]
    found.append(chain(add.s(1, 2), plain.s(), add.s(1)).delay().get(timeout=60))
    return found
