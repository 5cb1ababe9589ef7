"""New Relic's agent, started by `newrelic-admin` in its developer mode, which sends nothing. Transactions are written down."""

from celery import Task
from newrelic.core.agent import Agent
from newrelic.core.application import Application

from record import new_app, record

app = new_app("newrelic_app")
record_transaction, shut_down = Application.record_transaction, Agent.shutdown_agent


def recorded(self, data):
    record(
        "transaction", name=data.name, group=data.group, active=self._active_session is not None,
        errors=[[error.type, error.message] for error in data.errors], trace=data.trace_id,
        parent=data.parent_type, children=[node.name for node in data.root.children if hasattr(node, "name")],
    )
    return record_transaction(self, data)


def shutting_down(self, *args, **kwargs):
    record("shutdown")
    return shut_down(self, *args, **kwargs)


Application.record_transaction, Agent.shutdown_agent = recorded, shutting_down


class Wrapped(Task):
    abstract = True

    def __call__(self, *args, **kwargs):
        return self.run(*args, **kwargs)


@app.task
def add(x, y):
    return x + y


@app.task(base=Wrapped)
def wrapped():
    return add(1, 2)


@app.task
def fails():
    raise ValueError("no")


@app.task
def sends():
    return add.delay(1, 1).id


def client():
    found = [repr(task.delay().get(propagate=False, timeout=60)) for task in (add.s(1, 2), wrapped.s(), fails.s())]
    found.append(app.AsyncResult(sends.delay().get(timeout=60)).get(timeout=60))
    return found
