"""Receivers of the signals of publishing, in the client and in whatever process of the worker sends a task."""

import os

from celery import chain, signals
from kombu import Queue

from record import new_app, record

app = new_app("publish_app", task_send_sent_event=True)
app.conf.task_queues = [Queue("celery"), Queue("other")]


def route(name, args, kwargs, options, task=None, **_):
    """A router that is code."""
    record("routed", task=name, kwargs=kwargs)
    return {"queue": "other"} if kwargs.get("other") else None


app.conf.task_routes = (route,)


@signals.before_task_publish.connect
def before(sender=None, headers=None, body=None, properties=None, declare=None, retry_policy=None, **kwargs):
    headers["seen_by"] = [*headers.get("seen_by", []), os.environ["ECO_ROLE"]]
    properties["priority"] = 3
    record(
        "before_task_publish", task=sender, kwargs={key: str(kwargs[key]) for key in sorted(kwargs) if key != "signal"},
        body=[body[0], body[1]], declare=[entity.name for entity in declare], retry_policy=retry_policy,
        retries=headers["retries"],
    )


@signals.after_task_publish.connect
def after(sender=None, headers=None, body=None, **kwargs):
    record("after_task_publish", task=sender, keys=sorted(key for key in kwargs if key != "signal"), seen=headers["seen_by"])


@signals.task_sent.connect
def sent(sender=None, **kwargs):
    record("task_sent", task=sender, keys=sorted(key for key in kwargs if key != "signal"))


@app.task(bind=True)
def told(self, *args, **kwargs):
    """What the receivers have put into its message."""
    return [self.request.seen_by, self.request.delivery_info["routing_key"], self.request.delivery_info["priority"]]


@app.task(bind=True)
def sends(self):
    return [told.delay().id, told.apply_async(kwargs={"other": True}).id]


@app.task(bind=True, max_retries=1)
def retries(self):
    if self.request.retries:
        return [self.request.seen_by, self.request.delivery_info["priority"]]
    raise self.retry(countdown=0)


def client():
    found = [told.delay().get(timeout=60)]
    found += [app.AsyncResult(id).get(timeout=60) for id in sends.delay().get(timeout=60)]
    found.append(retries.delay().get(timeout=60))
    found.append(chain(told.si(), told.si(other=True)).delay().get(timeout=60))
    linked = told.si(other=True).set(task_id="linked")
    told.apply_async(link=linked)
    found.append(app.AsyncResult("linked").get(timeout=60))
    return found
