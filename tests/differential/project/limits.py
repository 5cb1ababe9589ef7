"""Tasks that take too long."""

import time

from celery.exceptions import SoftTimeLimitExceeded

from project.celery import app
from project.classes import Hooked


def idle(seconds):
    """In one line: where an exception meets it is the same on every run."""
    time.sleep(seconds)
    return seconds


@app.task(name="sleep")
def sleep(seconds):
    return idle(seconds)


@app.task(name="sleep_late", acks_late=True)
def sleep_late(seconds):
    return idle(seconds)


@app.task(name="sleep_late_unacked", acks_late=True, acks_on_failure_or_timeout=False, bind=True)
def sleep_late_unacked(self, seconds):
    if self.request.delivery_info["redelivered"]:
        return "came back"
    return idle(seconds)


@app.task(name="sleep_hooked", base=Hooked)
def sleep_hooked(seconds):
    return idle(seconds)


@app.task(name="limited", time_limit=1.5)
def limited(seconds):
    return idle(seconds)


@app.task(name="limited_softly", soft_time_limit=1)
def limited_softly(seconds, catch=False):
    try:
        return idle(seconds)
    except SoftTimeLimitExceeded:
        if catch:
            return "caught"
        raise


@app.task(name="rated", rate_limit="4/s")
def rated(n):
    return n
