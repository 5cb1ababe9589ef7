"""The app, as the environment wants it: `DIFF_BROKER`, `DIFF_BACKEND`, `DIFF_QUEUE`, and settings as JSON in `DIFF_CONF`.
A loader of its own in `DIFF_LOADER`."""

import json
import os

from celery import Celery

app = Celery(
    "project",
    broker=os.environ["DIFF_BROKER"],
    backend=os.environ.get("DIFF_BACKEND") or None,
    loader=os.environ.get("DIFF_LOADER") or None,
)
app.conf.update(
    task_default_queue=os.environ["DIFF_QUEUE"],
    accept_content=["json", "msgpack", "yaml", "pickle"],
    result_accept_content=["json", "msgpack", "yaml", "pickle"],
    broker_connection_retry_on_startup=True,
    # A busy machine may take longer than the usual four seconds for a fork.
    worker_proc_alive_timeout=120,
    **json.loads(os.environ.get("DIFF_CONF") or "{}"),
)
modules = ["acks", "basics", "classes", "failures", "flow", "limits", "requests"]
app.conf.include = [f"project.{name}" for name in modules]
if os.environ.get("DIFF_RECEIVERS"):
    app.conf.include.append("project.receivers")
if os.environ.get("DIFF_BAD_RECEIVERS"):
    app.conf.include.append("project.bad_receivers")
if os.environ.get("DIFF_AUTODISCOVER"):
    app.autodiscover_tasks(["project"], related_name="found")
