"""A Flask application with Celery as Flask's documentation sets it up: each task in an application context."""

import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app, g, has_app_context

from record import record


def celery_init_app(flask):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with flask.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(flask.name, task_cls=FlaskTask)
    celery.config_from_object(flask.config["CELERY"])
    celery.set_default()
    flask.extensions["celery"] = celery
    return celery


def create_app():
    flask = Flask("flask_app")
    flask.config.from_mapping(
        SHOP="books",
        CELERY={
            "broker_url": os.environ["ECO_BROKER"], "result_backend": os.environ["ECO_BACKEND"],
            "broker_connection_retry_on_startup": True,
        },
    )
    celery_init_app(flask)

    @flask.teardown_appcontext
    def torn_down(error):
        record("torn down", error=repr(error), seen=g.get("seen"))

    return flask


@shared_task
def shop(seen):
    before = g.get("seen")
    g.seen = seen
    return [current_app.config["SHOP"], before]


@shared_task
def fails():
    g.seen = "failing"
    raise ValueError(current_app.name)


@shared_task(bind=True, max_retries=1)
def retries(self):
    g.seen = self.request.retries
    if self.request.retries:
        return current_app.name
    raise self.retry(countdown=0)


@shared_task
def sends():
    return shop.delay("sent").id


def client():
    found = [shop.delay(number).get(timeout=60) for number in (1, 2)]
    found.append(repr(fails.delay().get(propagate=False, timeout=60)))
    found.append(retries.delay().get(timeout=60))
    found.append(app.AsyncResult(sends.delay().get(timeout=60)).get(timeout=60))
    return [*found, has_app_context()]


app = create_app().extensions["celery"]
