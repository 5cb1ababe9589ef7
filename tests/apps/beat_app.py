"""A project with a schedule, for beat: Celery's and ours, by itself and inside a worker."""

import os

from celery import Celery, schedules
from kombu import Queue

app = Celery("proj", broker=os.environ.get("PROJ_BROKER"), backend=os.environ.get("PROJ_BACKEND") or None)
queue = os.environ.get("PROJ_QUEUE", "proj")
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=queue,
    timezone="Europe/Vienna",
    result_expires=3600,
    beat_max_loop_interval=1,
    beat_sync_every=1,
    beat_scheduler=os.environ.get("PROJ_SCHEDULER") or "celery.beat:PersistentScheduler",
)


@app.task(name="proj.mark", priority=3)
def mark(path, *rest, **more):
    """Writes one line each time: what was sent and how often can be counted."""
    with open(path, "a") as log:
        log.write(f"{rest} {more}\n")
    return mark.request.headers


@app.task(name="proj.quiet", ignore_result=True, expires=4000, queue=f"{queue}-own")
def quiet():
    """Has options of its own."""


marks = os.environ.get("PROJ_MARKS", "")
if os.environ.get("PROJ_SCHEDULE") == "messages":
    app.conf.task_queues = [Queue(queue), Queue(f"{queue}-own"), Queue(f"{queue}-routed"), Queue(f"{queue}-said")]
    app.conf.task_routes = {"proj.routed.*": {"queue": f"{queue}-routed", "priority": 1}}
    app.conf.beat_schedule = {
        "known": {"task": "proj.mark", "schedule": 0.2, "args": (marks, (1, 2)), "kwargs": {"a": [None, "x", {"b": 1.5}]}},
        "own": {"task": "proj.quiet", "schedule": schedules.schedule(0.2)},
        "unknown": {"task": "other.task", "schedule": 0.2, "args": [1], "options": {"headers": {"mine": "x"}}},
        "routed": {"task": "proj.routed.task", "schedule": 0.2, "options": {"countdown": 6000, "shadow": "a shadow"}},
        "said": {
            "task": "proj.mark", "schedule": 0.2, "args": (marks,),
            "options": {"queue": f"{queue}-said", "expires": 3000, "serializer": "yaml", "time_limit": 7, "priority": 9},
        },
        "never": {"task": "proj.quiet", "schedule": schedules.crontab(0, 0, day_of_month="29", month_of_year="feb")},
    }
elif os.environ.get("PROJ_SCHEDULE") == "solar":
    sunset = schedules.solar("sunset", 48.2, 16.4)
    app.conf.beat_schedule = {"sun": {"task": "proj.mark", "schedule": sunset, "args": (marks, "sun")}}
elif marks:
    app.conf.beat_schedule = {
        "often": {"task": "proj.mark", "schedule": float(os.environ.get("PROJ_EVERY", "0.5")), "args": (marks, "often")},
        "seldom": {"task": "proj.mark", "schedule": 86_400, "args": (marks, "seldom")},
    }

    @app.on_after_configure.connect
    def add(sender, **kwargs):
        sender.add_periodic_task(0.5, mark.s(marks, "added"), name="added")
