"""Tasks that call others, and that come again."""

from celery import chain, chord, group
from celery.exceptions import Reject

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
