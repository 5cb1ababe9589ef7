"""Tasks that do not end well."""

import ctypes
import json
import os
import signal
import sys

from celery.exceptions import Ignore, Reject

from project.basics import nested
from project.celery import app
from project.record import record


class Odd(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first, *, second):
        super().__init__(first)
        self.second = second


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.closure = lambda: text


class Silent(Exception):
    """Has no representation."""

    def __repr__(self):
        raise RuntimeError("no repr")


EXCEPTIONS = {
    "value": lambda: ValueError("no luck", {"n": 1}),
    "key": lambda: KeyError("k"),
    "odd": lambda: Odd("one", second="two"),
    "unpicklable": lambda: Unpicklable("lambda inside"),
    "silent": lambda: Silent("hush"),
    "unicode": lambda: ValueError("Grüße \u2603 \U0001f40c"),
    "bytes": lambda: ValueError(b"\xff\x00"),
    "object": lambda: ValueError(object),
    "no args": lambda: ValueError(),
    "oserror": lambda: FileNotFoundError(2, "No such file", "/nowhere"),
    "assertion": lambda: AssertionError(),
    "stop": lambda: StopIteration(3),
    "group": lambda: ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
}


@app.task(name="fail")
def fail(kind="value"):
    raise EXCEPTIONS[kind]()


@app.task(name="fail_plainly")
def fail_plainly(text):
    raise ValueError(text)


@app.task(name="fail_chained")
def fail_chained(explicit=True):
    try:
        {}["missing"]
    except KeyError as exc:
        if explicit:
            raise ValueError("because") from exc
        raise ValueError("while")


@app.task(name="fail_expected", throws=(KeyError,))
def fail_expected(kind):
    raise EXCEPTIONS[kind]()


@app.task(name="fail_ignored", ignore_result=True)
def fail_ignored():
    raise ValueError("ignored")


@app.task(name="fail_kept", ignore_result=True, store_errors_even_if_ignored=True)
def fail_kept():
    raise ValueError("kept")


@app.task(name="fail_late", acks_late=True)
def fail_late():
    raise ValueError("late")


@app.task(name="fail_late_unacked", acks_late=True, acks_on_failure_or_timeout=False)
def fail_late_unacked():
    raise ValueError("not acknowledged")


@app.task(name="ignore")
def ignore():
    raise Ignore()


@app.task(name="ignore_with_state", bind=True)
def ignore_with_state(self):
    self.update_state(state="OWN", meta="state")
    raise Ignore("has its own state")


@app.task(name="reject", acks_late=True, bind=True)
def reject(self, requeue):
    redelivered = self.request.delivery_info["redelivered"]
    record("reject", redelivered=redelivered)
    if redelivered:
        return "came back"
    raise Reject("no", requeue=requeue)


@app.task(name="reject_early")
def reject_early(requeue):
    raise Reject("too late", requeue=requeue)


def end(how):
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "abort":
        os.abort()
    if how == "fault":
        ctypes.string_at(0)
    if how == "stack":
        sys.setrecursionlimit(10**8)
        # Deep in C, where no limit of Python's helps.
        json.dumps(nested(10**6))
    if how == "sys.exit":
        sys.exit(3)
    if how == "SystemExit":
        raise SystemExit(5)
    if how == "SystemExit text":
        raise SystemExit("because")
    if how == "KeyboardInterrupt":
        raise KeyboardInterrupt("key")
    if how == "MemoryError":
        raise MemoryError("none left")


@app.task(name="die")
def die(how):
    record("dies", id=die.request.id)
    end(how)


@app.task(name="die_late", acks_late=True)
def die_late(how):
    record("dies", id=die_late.request.id)
    end(how)


@app.task(name="die_once", acks_late=True, reject_on_worker_lost=True, bind=True)
def die_once(self, how):
    record("dies", redelivered=self.request.delivery_info["redelivered"])
    if self.request.delivery_info["redelivered"]:
        return "came back"
    end(how)


@app.task(name="retry_lost", acks_late=True, retry_on_worker_lost=True, default_retry_delay=0, max_retries=1, bind=True)
def retry_lost(self):
    record("dies", retries=self.request.retries)
    end("kill")


@app.task(name="raises_base")
def raises_base():
    raise GeneratorExit("base")


class BadReduce(Exception):
    def __reduce__(self):
        raise RuntimeError("no reduce")


class OddReduce(Exception):
    """Is made again as something else."""

    def __reduce__(self):
        return (ValueError, ("something else",))


class BadText(Exception):
    def __str__(self):
        raise RuntimeError("no str")


class BadArguments(Exception):
    """Its arguments are not what it was made of, and cannot be written by anyone."""

    def __init__(self, text):
        super().__init__(text)
        self.args = (object(), {1, 2}, lambda: text)


def local_class():
    class Local(Exception):
        """Nobody can import it."""

    return Local("here")


def deep():
    return deep()


def raised_by(expression):
    def make():
        eval(expression)

    return make


EXCEPTIONS.update({
    "bad reduce": lambda: BadReduce("r"),
    "odd reduce": lambda: OddReduce("r"),
    "bad text": lambda: BadText("t"),
    "bad arguments": lambda: BadArguments("a"),
    "local": local_class,
    "recursion": deep,
    "no exception": lambda: None,
    "import": raised_by("__import__('no.such.module')"),
    "decode": raised_by("b'\\xff'.decode()"),
    "huge": lambda: ValueError("x" * 300_000),
    "nested": lambda: ValueError(nested(300)),
    "timeout": lambda: TimeoutError("late"),
    "celery": lambda: app.AsyncResult("x").get(timeout=0),
})
