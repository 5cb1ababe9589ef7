"""Result backends that are Python's alone: `ECO_RESULTS` names one."""

import glob
import os
import sqlite3
import time

from celery import chain, chord, group
from celery.backends.base import DisabledBackend, KeyValueStoreBackend
from celery.exceptions import Ignore
from celery.result import AsyncResult

from record import new_app, record

DIRECTORY = os.environ["ECO_DIR"]


class Own(KeyValueStoreBackend):
    """An app's own backend: a file for each key."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.directory = f"{DIRECTORY}/own"

    def name(self, key):
        return f"{self.directory}/{key.decode() if isinstance(key, bytes) else key}"

    def get(self, key):
        try:
            with open(self.name(key)) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def mget(self, keys):
        return [self.get(key) for key in keys]

    def set(self, key, value):
        os.makedirs(self.directory, exist_ok=True)
        with open(f"{self.name(key)}.new", "w") as file:
            file.write(value.decode() if isinstance(value, bytes) else value)
        os.rename(f"{self.name(key)}.new", self.name(key))

    def delete(self, key):
        os.unlink(self.name(key))


URL = os.environ["ECO_RESULTS"] if os.environ["ECO_RESULTS"] != "redis" else os.environ["ECO_BACKEND"]
app = new_app(
    "backend_app", result_backend=URL.format(DIRECTORY), result_extended=True,
    task_track_started=True, result_chord_retry_interval=0.1,
)


@app.task
def add(x, y):
    return x + y


@app.task
def fails(x):
    raise ValueError(x)


@app.task(bind=True, max_retries=1)
def retries(self):
    raise self.retry(exc=OSError("again"), countdown=0)


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def unencodable():
    return object


@app.task
def ignored():
    raise Ignore


@app.task(ignore_result=True)
def unkept():
    return 1


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 50})
    return self.AsyncResult(self.request.id).state


@app.task(backend=DisabledBackend(app))
def no_backend():
    return 1


@app.task(backend=Own(app=app))
def elsewhere():
    """Its results go to a backend of its own."""
    return "there"


def workflows():
    return (
        add.s(1, 2), fails.s("no"), retries.s(), progress.s(), chain(add.s(1, 1), add.s(3)),
        group(add.s(1, 1), add.s(2, 2)),
        chord([add.s(1, 2), add.s(3, 4)], total.s()),
        chord([add.s(1, 2), fails.s("part")], total.s()),
        chain(chord([add.s(1, 2), add.s(3, 4)], total.s()), add.s(5)),
    )


def client():
    ids, got = [], []
    for signature in workflows():
        result = signature.apply_async()
        # A get that propagates looks at the parents in between, and raises what it meets first.
        got.append(repr(result.get(timeout=60, propagate=False)))
        ids += names(result)
    for task in ignored, unkept, no_backend, elsewhere, unencodable:
        ids.append(task.delay().id)
    add.delay(0, 0).get(timeout=60)
    (there,) = glob.glob(f"{DIRECTORY}/own/celery-task-meta-{ids[-2]}")
    return {
        "ids": ids, "got": got, "states": [state(id) for id in ids], "rows": rows(),
        "elsewhere": Own(app=app).get_task_meta(os.path.basename(there).removeprefix("celery-task-meta-"))["result"],
    }


def names(result):
    found = names(result.parent) if result.parent is not None else []
    for part in getattr(result, "results", None) or ():
        found += names(part)
    return [*found, result.id]


def state(id):
    meta = app.backend.get_task_meta(id)
    return [
        meta["status"], repr(meta["result"]), bool(meta.get("traceback")), meta.get("name"), meta.get("worker"),
        meta.get("args"), meta.get("retries"), meta.get("queue"),
    ]


def rows():
    """What the backend has written, without its own words."""
    (database,) = glob.glob(f"{DIRECTORY}/results.sqlite") or [None]
    if database is None:
        return None
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        tables = ("celery_taskmeta", "celery_tasksetmeta")
        return {
            table: [
                {key: value.decode(errors="replace") if isinstance(value, bytes) else value for key, value in dict(row).items()}
                for row in connection.execute(f"select * from {table} order by id")
            ]
            for table in tables
        }


# -- a backend in the memory of the only child


@app.task
def chords_in_memory():
    """Sends a chord; its parts, their counter and its body are all in this process."""
    found = chord([add.s(1, 2), add.s(3, 4)], total_in_memory.s()).apply_async()
    failing = chord([add.s(1, 2), fails.s("part")], total.s()).apply_async()
    return [found.id, failing.id]


@app.task
def total_in_memory(numbers):
    return sum(numbers)


@app.task
def look(ids):
    record("seen", states=[state(id)[:2] for id in ids])


@app.task
def look_when_ready(ids):
    if all(AsyncResult(id, app=app).state in ("SUCCESS", "FAILURE") for id in ids):
        record("seen", states=[state(id)[:2] for id in ids])
    else:
        look_when_ready.delay(ids)


@app.task
def begin():
    look_when_ready.delay(chords_in_memory())


def client_of_memory():
    begin.delay()
    deadline = time.monotonic() + 60
    while '"seen"' not in open(os.environ["ECO_RECORDS"]).read() and time.monotonic() < deadline:
        time.sleep(0.02)
