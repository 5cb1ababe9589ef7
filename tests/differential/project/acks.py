"""Tasks whose messages are settled in all the ways that there are."""

import os
import time

from celery.exceptions import Ignore, Reject

from project.celery import app
from project.failures import end
from project.record import record

#: Options of the tasks, by what stands in their names.
OPTIONS = {
    "early": {},
    "late": {"acks_late": True},
    "late, failures": {"acks_late": True, "acks_on_failure": False},
    "late, timeouts": {"acks_late": True, "acks_on_timeout": False},
    "late, both": {"acks_late": True, "acks_on_failure_or_timeout": False},
    "late, both and one": {"acks_late": True, "acks_on_failure_or_timeout": False, "acks_on_failure": True},
    "late, lost": {"acks_late": True, "reject_on_worker_lost": True},
    "early, lost": {"reject_on_worker_lost": True},
    "late, lost, both": {"acks_late": True, "reject_on_worker_lost": True, "acks_on_failure_or_timeout": False},
    "late, retry": {
        "acks_late": True, "reject_on_worker_lost": True, "retry_on_worker_lost": True, "max_retries": 1,
        "default_retry_delay": 0,
    },
}


def ends(self, how):
    redelivered = self.request.delivery_info["redelivered"]
    record("ends", how=how, redelivered=redelivered, retries=self.request.retries)
    if redelivered:
        return "came back"
    if how == "failure":
        raise ValueError("no luck")
    if how == "ignore":
        raise Ignore()
    if how == "reject":
        raise Reject("no", requeue=False)
    if how == "requeue":
        raise Reject("later", requeue=True)
    if how == "retry":
        if self.request.retries:
            return "again"
        raise self.retry(countdown=0)
    if how == "too long":
        time.sleep(60)
    end(how)
    return how


for name, options in OPTIONS.items():
    app.task(ends, name=f"ends {name}", bind=True, **options)


@app.task(name="dies_often", acks_late=True, reject_on_worker_lost=True)
def dies_often(path, times):
    """Dies so often, and then does not; how often it has is in a file."""
    with open(path, "a+") as file:
        file.write("x")
        count = file.tell()
    record("dies_often", count=count, redelivered=dies_often.request.delivery_info["redelivered"])
    if count <= times:
        os._exit(9)
    return count


@app.task(name="late", acks_late=True)
def late(text):
    record("late", text=text)
    return text
