"""celery-once and celery-singleton: locks that are taken by whoever sends a task, and released by the worker."""

import os
import time

import redis
from celery.result import AsyncResult
from celery_once import AlreadyQueued, QueueOnce
from celery_singleton import Singleton

from record import new_app

LOCKS = redis.Redis.from_url(os.environ["ECO_BROKER"])
app = new_app("locks_app", singleton_backend_url=os.environ["ECO_BROKER"])
app.conf.ONCE = {
    "backend": "celery_once.backends.Redis", "settings": {"url": os.environ["ECO_BROKER"], "default_timeout": 3600},
}
app.conf.task_track_started = True


def act(how, gate):
    """Waits until there is a key named `gate`, then ends as it is told."""
    eventually(lambda: not gate or LOCKS.exists(gate))
    if how == "fails":
        raise ValueError(how)
    if how == "dies":
        os._exit(3)
    return how


@app.task(base=QueueOnce, once={"keys": ["how"]})
def once(how, gate=None):
    return act(how, gate)


@app.task(base=QueueOnce, once={"unlock_before_run": True})
def once_early(how, gate=None):
    return act(how, gate)


@app.task(base=QueueOnce, bind=True, max_retries=1, once={"keys": ["how"]})
def once_retries(self, how, gate=None):
    raise self.retry(exc=OSError("again"), countdown=0)


@app.task(base=Singleton, unique_on=["how"])
def single(how, gate=None):
    return act(how, gate)


@app.task(base=QueueOnce, once={"keys": ["how"]}, time_limit=5)
def once_limited(how, gate=None):
    return act(how, gate)


@app.task(base=Singleton, unique_on=["how"], time_limit=5)
def single_limited(how, gate=None):
    return act(how, gate)


def locks():
    """Names of the keys that either library has set."""
    keys = [key.decode() for key in LOCKS.keys("*")]
    return sorted(
        key if key.startswith("qo_") else "singleton lock" for key in keys if key.startswith(("qo_", "SINGLETONLOCK"))
    )


def duplicate(task, first, *args):
    """What a second one comes to."""
    try:
        return "the first" if task.delay(*args).id == first.id else "another"
    except AlreadyQueued:
        return "refused"


def run(task, how):
    """One task, the state of the locks while it runs and when it has ended, and what becomes of a second one."""
    gate = f"gate-{task.name}-{how}"
    found = {"task": task.name, "how": how}
    result = task.delay(how, gate)
    if how != "retries":
        eventually(lambda: result.state == "STARTED" and (task is not once_early or not locks()))
        found["duplicate"] = duplicate(task, result, how, gate)
        found["running"] = locks()
    if how != "hangs":
        LOCKS.set(gate, 1)
    result.get(propagate=False, timeout=60)
    # A lock is released after the result has been stored.
    found["after"] = settled()
    found["state"] = AsyncResult(result.id, app=app).state
    LOCKS.delete(*[key for key in LOCKS.keys("*") if key.startswith((b"qo_", b"SINGLETONLOCK"))] or ["none"])
    return found


def eventually(fact):
    deadline = time.monotonic() + 60
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.01)


def settled():
    """The locks once the worker has run another task: it runs one at a time."""
    once.delay("fence", None).get(timeout=60)
    eventually(lambda: "qo_locks_app.once_how-fence" not in locks())
    return locks()


def client():
    return [
        run(task, how)
        for task, hows in (
            (once, ("works", "fails", "dies")),
            (once_early, ("works",)),
            (single, ("works", "fails", "dies")),
            (once_retries, ("retries",)),
        )
        for how in hows
    ]


def limited():
    return [run(task, "hangs") for task in (once_limited, single_limited)]
