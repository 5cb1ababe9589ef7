"""Tasks that tell what they see of their request."""

import os

from billiard import current_process

from celery import current_task
from project.celery import app

#: Attributes that are objects of this process.
OBJECTS = {"_children", "_protected"}


@app.task(name="request", bind=True)
def request(self, *args, **kwargs):
    seen = {key: value for key, value in vars(self.request).items() if key not in OBJECTS}
    return {key: repr(ordered(value)) for key, value in sorted(seen.items())}


def ordered(value):
    return dict(sorted(value.items())) if isinstance(value, dict) else value


@app.task(name="stamps", bind=True)
def stamps(self, *args):
    return [self.request.stamped_headers, self.request.stamps]


@app.task(name="context", bind=True)
def context(self):
    found = current_process()
    return {
        "current": current_task.name,
        "name": found.name.partition("-")[0],
        "index": getattr(found, "index", None),
        "daemon": found.daemon,
        "called_directly": self.request.called_directly,
        "is_eager": self.request.is_eager,
        "same_pid": found.pid == os.getpid(),
        "properties": sorted(self.request.properties),
        "as_execution_options": repr(self.request.as_execution_options()),
        "worker_task": app.current_worker_task.name,
        "depth": len(self.request_stack),
    }
