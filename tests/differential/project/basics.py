"""Tasks that end well."""

import logging
import os
import sys
import time

from billiard import current_process
from celery.utils.log import get_task_logger

from project.celery import app
from project.record import record

logger = get_task_logger(__name__)
#: Whatever limits the worker has for other tasks.
UNLIMITED = {"time_limit": 600, "soft_time_limit": 500}


@app.task(name="fence", **UNLIMITED)
def fence():
    """What came before it has ended: the worker runs one task at a time."""


@app.task(name="gate", **UNLIMITED)
def gate(path):
    """Keeps the child busy until there is such a file."""
    deadline = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.01)


@app.task(name="echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(name="add")
def add(x, y=1):
    return x + y


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="mark")
def mark(text):
    """That it ran, and when it ran among others, is in the ledger."""
    record("mark", text=text)
    return text


@app.task(name="returns")
def returns(expression):
    """A value that no message can carry."""
    return eval(expression, {"nested": nested})


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@app.task(name="tracked", track_started=True)
def tracked():
    meta = app.backend.get_task_meta(tracked.request.id, cache=False)
    result = meta["result"]
    record("stored", status=meta["status"], own_pid=result["pid"] == os.getpid(), hostname=result["hostname"])
    return "done"


@app.task(name="progress", bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    meta = self.backend.get_task_meta(self.request.id, cache=False)
    record("stored", status=meta["status"], result=meta["result"])
    return "done"


@app.task(name="overwrites", bind=True)
def overwrites(self, state):
    self.update_state(state=state, meta={"by": "hand"})
    return "done"


@app.task(name="ignored", ignore_result=True)
def ignored():
    return "nobody asks"


@app.task(name="silent", send_events=False)
def silent():
    return "no events"


@app.task(name="short_repr", resultrepr_maxsize=20)
def short_repr():
    return "x" * 100


@app.task(name="wait_for")
def wait_for(path, patience=60.0):
    """Runs until there is such a file."""
    record("waits", id=wait_for.request.id)
    deadline = time.monotonic() + patience
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.path.exists(path)


@app.task(name="speaks")
def speaks():
    print("to standard output")
    print("to standard error", file=sys.stderr)
    logger.info("by the task's logger")
    logger.warning("with %s", "arguments")
    logging.getLogger("own").error("by a logger of its own")
    app.log.get_default_logger().info("by celery's logger")


@app.task(name="announces", bind=True)
def announces(self):
    self.send_event("task-progress", done=1, of="two")
    return "announced"


@app.task(name="place")
def place():
    """In which place of the pool it runs, and in which process."""
    return [current_process().index, os.getpid()]
