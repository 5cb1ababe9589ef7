"""Capture which messages Celery's canvas really sends for a workflow.

Run with the Python of an environment that has Celery:

    python protocol-fixtures/capture_canvas.py

and it writes ``protocol-fixtures/<celery minor>/canvas.json``: for each workflow its signature as it travels, the
arguments it is called with, what is sent in order (messages, and the sizes of chords told to the backend), and the
tuple of its result. Nothing leaves the process; ids are numbered.
"""

import json
import pathlib
import uuid
from unittest import mock

import celery
from celery import Celery, chain, chord, group, signature

NUMBER = iter(range(1, 10**6))


def fixed_uuid():
    return str(uuid.UUID(int=next(NUMBER)))


for module in ("celery.canvas", "celery.app.base", "celery.app.task"):
    module = __import__(module, fromlist=["uuid"])
    if hasattr(module, "uuid"):
        module.uuid = fixed_uuid

app = Celery("canvas", broker="memory://", backend="cache+memory://")
app._local.oid = fixed_uuid()


@app.task(name="add")
def add(x, y):
    return x + y


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="errback")
def errback(task_id):
    pass


def workflows():
    yield "task", add.s(1), (7,)
    yield "immutable task", add.si(1, 2), (7,)
    yield "task with links", add.s(1, 2).set(link=[add.s(5)], link_error=[errback.s()], queue="q"), ()
    yield "chain", chain(add.s(1, 2), add.s(10), add.s(20)), ()
    yield "chain with arguments", chain(add.s(1), add.s(10)), (7,)
    yield "group in a chain", chain(add.s(1, 1), group(add.s(10), add.s(20)), total.s(), add.s(100)), ()
    yield "group at a chain's end", chain(add.s(1, 2), group(add.s(1), add.s(2))), ()
    yield "group at a chain's beginning", chain(group(add.s(1), add.s(2)), total.s()), (7,)
    yield "two groups in a chain", chain(group(add.s(1, 1), add.s(2, 2)), group(add.s(1), add.s(2)), total.s()), ()
    yield "chain with errback", chain(add.s(1, 2), group(add.s(1), add.s(2)), total.s()).on_error(errback.s()), ()
    yield "group", group(add.s(1), add.s(2)), (7,)
    yield "nested group", group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)), chain(add.s(4, 4), add.s(4))), ()
    yield "chord", chord([add.s(1, 1), add.s(2, 2)], total.s()), ()
    yield "chord with arguments", chord([add.s(1), add.s(2)], total.s()), (7,)
    yield "chord with links", chord([add.s(1, 1), add.s(2, 2)], total.s()).set(
        link=[add.s(5)], link_error=[errback.s()]
    ), ()
    yield "chord of chains", chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2)], chain(total.s(), add.s(1000))), ()
    yield "chord in a chord", chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(5, 5)], total.s()), ()
    yield "chord with a group body", chord([add.s(1, 1)], group(add.s(1), add.s(2))), ()
    yield "chord with an empty header", chord([], total.s()), ()


def capture(workflow, args):
    sent = []

    def send_task_message(producer, name, message, **options):
        headers, _, body, _ = message
        named = {key: headers[key] for key in ("id", "group", "group_index", "root_id", "parent_id")}
        sent.append({"task": name, "headers": named, "body": body})

    def set_chord_size(group_id, size):
        sent.append({"chord": group_id, "size": size})

    travelled = json.loads(json.dumps(workflow))
    with (
        mock.patch.object(app.amqp, "send_task_message", send_task_message),
        mock.patch.object(app.backend, "set_chord_size", set_chord_size),
        mock.patch.object(app.backend, "apply_chord", lambda *args, **kwargs: None),
    ):
        result = signature(json.loads(json.dumps(travelled)), app=app).apply_async(args, parent_id="P", root_id="R")
    return {"signature": travelled, "args": args, "sent": sent, "result": result.as_tuple()}


def main():
    captured = {name: capture(workflow, args) for name, workflow, args in workflows()}
    minor = ".".join(celery.__version__.split(".")[:2])
    path = pathlib.Path(__file__).parent / minor / "canvas.json"
    path.write_text(json.dumps(captured, indent=1) + "\n")
    print(f"{path.name}: {len(captured)} workflows of Celery {celery.__version__}")


if __name__ == "__main__":
    main()
