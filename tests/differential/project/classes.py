"""Tasks with hooks and classes of their own."""

from celery import Task

from project.celery import app
from project.record import record


class Hooked(Task):
    """Every hook writes to the ledger."""

    def before_start(self, task_id, args, kwargs):
        record("before_start", id=task_id, args=args, kwargs=kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        record("on_success", id=task_id, retval=retval, args=args, kwargs=kwargs, stored=self.stored(task_id))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        record("on_failure", id=task_id, exc=repr(exc), args=args, einfo=type(einfo).__name__, stored=self.stored(task_id))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        record("on_retry", id=task_id, exc=repr(exc), args=args, einfo=type(einfo).__name__, stored=self.stored(task_id))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        record("after_return", id=task_id, status=status, retval=repr(retval), args=args, einfo=type(einfo).__name__)

    def stored(self, task_id):
        """What a client would read at this moment."""
        return self.backend.get_task_meta(task_id, cache=False)["status"]


class Wrapped(Task):
    def __call__(self, *args, **kwargs):
        record("__call__", id=self.request.id, args=args)
        return ["wrapped", super().__call__(*args, **kwargs)]


@app.task(name="hooked", base=Hooked, bind=True, max_retries=1)
def hooked(self, how="success"):
    if how == "failure":
        raise ValueError("hooked")
    if how == "retry":
        raise self.retry(countdown=0, exc=KeyError("again"), max_retries=1)
    return how


@app.task(name="hooked_late", base=Hooked, acks_late=True)
def hooked_late():
    return "late"


class BadHooks(Task):
    def on_success(self, *args):
        raise RuntimeError("on_success")

    def on_failure(self, *args):
        raise RuntimeError("on_failure")

    def after_return(self, *args):
        raise RuntimeError("after_return")


@app.task(name="bad_hooks", base=BadHooks)
def bad_hooks(fails=False):
    if fails:
        raise ValueError("itself")
    return "fine"


class BadStart(Task):
    def before_start(self, *args):
        raise RuntimeError("before_start")


@app.task(name="bad_start", base=BadStart)
def bad_start():
    return "never"


@app.task(name="wrapped", base=Wrapped)
def wrapped(x):
    return x


class Counter(Task):
    """A class task with state."""

    name = "counter"
    ignore_result = False

    def __init__(self):
        self.calls = 0

    def run(self, step=1):
        self.calls += step
        return type(self).__name__


app.register_task(Counter())
