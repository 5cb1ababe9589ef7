"""Tasks that call others, and that come again."""

import random
from datetime import datetime, timedelta, timezone

from celery import chain, chord, group
from celery.exceptions import Reject, Retry
from celery.result import allow_join_result

from project.celery import app
from project.record import record


def sig(name, *args, **options):
    return app.signature(name, args=args, **options)


@app.task(name="retry", bind=True, max_retries=3)
def retry(self, how, times=1):
    if self.request.retries >= times:
        return self.request.retries
    if how == "plain":
        raise self.retry(countdown=0)
    if how == "exc":
        raise self.retry(countdown=0, exc=KeyError("cause"))
    if how == "args":
        raise self.retry(("args", times), countdown=0)
    if how == "kwargs":
        raise self.retry((), {"how": "kwargs", "times": times}, countdown=0)
    if how == "in except":
        try:
            {}["missing"]
        except KeyError as exc:
            raise self.retry(countdown=0, exc=exc)
    if how == "in except without exc":
        try:
            {}["missing"]
        except KeyError:
            raise self.retry(countdown=0)
    if how == "no throw":
        self.retry(countdown=0, throw=False)
        return "went on"
    if how == "countdown":
        raise self.retry(countdown=0.2)
    if how == "queue":
        raise self.retry(countdown=0, queue=self.app.conf.task_default_queue, priority=3)
    raise ValueError(how)


@app.task(name="retry_exceeded", bind=True, max_retries=1)
def retry_exceeded(self, with_exc=True):
    if with_exc:
        raise self.retry(countdown=0, exc=KeyError("cause"))
    raise self.retry(countdown=0)


@app.task(name="autoretry", autoretry_for=(KeyError,), max_retries=2, retry_backoff=0.05, retry_jitter=False, bind=True)
def autoretry(self, succeeds):
    record("runs", retries=self.request.retries)
    if succeeds and self.request.retries == 2:
        return "at last"
    raise KeyError("again")


@app.task(
    name="autoretry_not",
    autoretry_for=(LookupError,),
    dont_autoretry_for=(IndexError,),
    max_retries=2,
    default_retry_delay=0,
)
def autoretry_not():
    raise IndexError("not again")


@app.task(name="replace", bind=True)
def replace(self, kind):
    if kind == "task":
        return self.replace(sig("add", 1, 2))
    if kind == "chain":
        return self.replace(chain(sig("add", 1, 2), sig("add", 3)))
    if kind == "group":
        return self.replace(group([sig("add", 1, 1), sig("add", 2, 2)]))
    if kind == "chord":
        return self.replace(chord([sig("add", 1, 1), sig("add", 2, 2)], sig("total"), app=app))
    raise ValueError(kind)


@app.task(name="more_parts", bind=True)
def more_parts(self):
    self.add_to_chord(sig("add", 1, 1))
    return 2


@app.task(name="calls", bind=True)
def calls(self, *names):
    """Sends others from inside a task; their order is the trail."""
    for name in names:
        app.send_task(name, args=(name,))
    group([sig("add", 1, 1), sig("add", 2, 2)]).apply_async()
    return len(names)


@app.task(name="waits_inside", bind=True)
def waits_inside(self):
    return sig("add", 1, 1).apply_async().get(timeout=1)


@app.task(name="sends_to", bind=True)
def sends_to(self, name, args=(), options=None):
    return app.tasks[name].apply_async(args, **options or {}).id


@app.task(name="errback")
def errback(request, exc, traceback):
    """New style: called in place, with the exception itself."""
    record("errback", id=request.id, exc=repr(exc), traceback=bool(traceback))


@app.task(name="errback_old")
def errback_old(task_id):
    record("errback_old", failed=task_id)


@app.task(name="errback_bound", bind=True)
def errback_bound(self, *args):
    record("errback_bound", args=[repr(arg) for arg in args], id=self.request.id)


@app.task(name="rejects_part", acks_late=True)
def rejects_part():
    raise Reject("part", requeue=False)


@app.task(name="runs_workflows")
def runs_workflows():
    """Each kind, and what it gives in place."""
    parts = [sig("add", 1, 1), sig("add", 2, 2)]
    results = [
        chain(sig("add", 1, 1), sig("add", 2)).apply_async(),
        group(parts).apply_async(),
        chord(parts, sig("total"), app=app).apply_async(),
        sig("add").chunks([(1, 1), (2, 2)], 1).apply_async() if hasattr(sig("add"), "chunks") else None,
    ]
    return [type(result).__name__ for result in results]


@app.task(
    name="autoretry_jitter", autoretry_for=(KeyError,), max_retries=3, retry_backoff=True, retry_backoff_max=1,
    retry_jitter=True, bind=True,
)
def autoretry_jitter(self):
    """Random, but the same on every run."""
    random.seed(self.request.retries)
    if self.request.retries == 3:
        return "at last"
    raise KeyError("again")


@app.task(name="autoretry_kwargs", autoretry_for=(ValueError,), retry_kwargs={"max_retries": 2, "countdown": 0})
def autoretry_kwargs():
    raise ValueError("each time")


@app.task(name="retry_forever", bind=True, max_retries=None, default_retry_delay=0)
def retry_forever(self, times):
    if self.request.retries < times:
        raise self.retry()
    return self.request.retries


@app.task(name="retry_options", bind=True)
def retry_options(self, options):
    """`options` of `retry`; those with a time are given in seconds from now."""
    if self.request.retries:
        return [self.request.retries, self.request.expires is not None]
    if "eta" in options:
        options["eta"] = datetime.now(timezone.utc) + timedelta(seconds=options["eta"])
    raise self.retry(**options)


@app.task(name="retry_by_hand", bind=True)
def retry_by_hand(self, how):
    """Nothing is sent again, but the task says that it is."""
    raise {
        "message": lambda: Retry("by hand"),
        "exc": lambda: Retry("by hand", exc=KeyError("k")),
        "when": lambda: Retry(exc=KeyError("k"), when=3),
        "eta": lambda: Retry(when=datetime(2030, 1, 1, tzinfo=timezone.utc)),
        "nothing": lambda: Retry(),
    }[how]()


@app.task(name="joins", bind=True)
def joins(self, id):
    """Waits for a result where that is allowed: one that is there."""
    with allow_join_result():
        return app.AsyncResult(id).get(timeout=10)


@app.task(name="nested_replace", bind=True)
def nested_replace(self, depth):
    if depth:
        return self.replace(sig("nested_replace", depth - 1))
    return self.request.replaced_task_nesting


@app.task(name="replace_with_error", bind=True)
def replace_with_error(self):
    return self.replace(sig("fail", "key").on_error(sig("errback_old")))


@app.task(name="adds_to_nothing", bind=True)
def adds_to_nothing(self):
    self.add_to_chord(sig("add", 1, 1))
