"""Sentry's SDK, initialised where `ECO_INIT` says. What it captures is written when it is flushed, and not before."""

import logging
import os

import sentry_sdk
from celery import Task, signals
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from record import new_app, record

app = new_app("sentry_app", task_soft_time_limit=None)


class Flushed(Transport):
    """Loses what nobody flushes, as a transport does whose thread has had no time."""

    def __init__(self, options=None):
        super().__init__(options)
        self.waiting = []

    def capture_envelope(self, envelope):
        self.waiting.append(envelope)

    def flush(self, timeout, callback=None):
        waiting, self.waiting = self.waiting, []
        for envelope in waiting:
            for item in envelope.items:
                if item.type in ("event", "transaction"):
                    record(item.type, payload=item.payload.json)


def init(**_):
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1", transport=Flushed, traces_sample_rate=1.0, send_default_pii=True,
        integrations=[CeleryIntegration()], auto_enabling_integrations=False, send_client_reports=False,
        auto_session_tracking=False,
    )
    # Of the process in which it has been initialised: children inherit it.
    sentry_sdk.set_tag("initialised", os.environ.get("ECO_INIT"))


where = os.environ.get("ECO_INIT")
if where == "module" or os.environ["ECO_ROLE"] == "client":
    init()
else:
    getattr(signals, where).connect(init, weak=False)


class Wrapped(Task):
    abstract = True

    def __call__(self, *args, **kwargs):
        sentry_sdk.add_breadcrumb(category="call", message="in __call__")
        return self.run(*args, **kwargs)


@app.task
def fails(x):
    sentry_sdk.set_tag("shop", "books")
    sentry_sdk.set_context("basket", {"size": x})
    sentry_sdk.add_breadcrumb(category="basket", message=f"has {x}")
    logging.getLogger("shop").warning("almost")
    raise ValueError(x)


@app.task(base=Wrapped)
def fails_when_called():
    raise KeyError("called")


@app.task
def works():
    with sentry_sdk.start_span(op="shop", name="count"):
        pass
    logging.getLogger("shop").error("one is missing")
    return "worked"


@app.task
def sends():
    works.delay()


@app.task(bind=True, max_retries=1)
def retries(self):
    raise self.retry(exc=OSError("again"), countdown=0)


@app.task(throws=(LookupError,))
def throws():
    raise LookupError("expected")


@app.task
def ignored():
    raise Ignore


@app.task
def slow():
    raise SoftTimeLimitExceeded


def client():
    ids = []
    with sentry_sdk.start_transaction(op="web", name="order"):
        for task in (fails.s(3), fails_when_called.s(), works.s(), sends.s(), retries.s(), throws.s(), slow.s()):
            result = task.delay()
            result.get(propagate=False, timeout=60)
            ids.append(result.id)
        ignored.delay()
        works.delay().get(timeout=60)
    sentry_sdk.flush()
    return ids
