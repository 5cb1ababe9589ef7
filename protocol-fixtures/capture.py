"""Capture what the installed Celery really sends and stores.

Run with the Python of any environment that has Celery >= 5.5 (msgpack and PyYAML beside it):

    python protocol-fixtures/capture.py

and it writes ``protocol-fixtures/<celery minor>/{messages,values,results,compression}.json``. Nothing leaves the
process: messages go through kombu's memory transport, results into the memory cache backend. What would differ from
run to run (clock, host, random ids) is pinned.
"""

import base64
import datetime
import decimal
import json
import pathlib
import pickle
import uuid
from datetime import timezone

import celery
import kombu
from celery import Celery, chain, chord, group, signature
from celery.app.task import Context
from celery.exceptions import Retry
from celery.utils.saferepr import saferepr
from celery.worker.strategy import proto1_to_proto2
from kombu import compression, serialization
from kombu.utils.json import dumps, loads

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 11, 20, 17, 41, 23, 655378, tzinfo=timezone.utc)
BODY_KEYS = {"args", "kwargs", "callbacks", "errbacks", "chord"}
SERIALIZERS = ["json", "msgpack", "yaml", "pickle"]
NUMBER = iter(range(1, 10**6))


def fixed_uuid():
    return str(uuid.UUID(int=next(NUMBER)))


app = Celery("fixtures", broker="memory://", backend="cache+memory://")
app.conf.update(accept_content=SERIALIZERS, result_extended=False, task_create_missing_queues=True)
app.now = lambda: NOW
app._local.oid = "a-client"  # what thread_oid gives: the reply_to of the tasks in a workflow
for module in ("celery.canvas", "celery.app.base", "celery.app.task"):
    module = __import__(module, fromlist=["uuid"])
    if hasattr(module, "uuid"):
        module.uuid = fixed_uuid


@app.task(name="fixtures.add")
def add(x, y=0):
    return x + y


@app.task(name="fixtures.total")
def total(numbers):
    return sum(numbers)


@app.task(name="fixtures.report")
def report(*args):
    return None


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def drain():
    """Everything that has been published, as kombu's virtual transports write it."""
    found = []
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        for name in list(channel.queues):
            queue = channel.queues[name]
            while queue.qsize():
                found.append(queue.get_nowait())
    return found


def pinned(envelope):
    headers, properties = envelope["headers"], envelope["properties"]
    if headers.get("origin"):
        headers["origin"] = "gen1@host"
    if properties.get("reply_to"):
        properties["reply_to"] = "a-client"
    properties["delivery_tag"] = "a-tag"
    return envelope


def published(name, send, **conf):
    before = {key: app.conf[key] for key in conf}
    app.conf.update(conf)
    app.amqp.__dict__.pop("send_task_message", None)
    app.amqp.task_protocol = app.conf.task_protocol
    try:
        send()
    finally:
        app.conf.update(before)
    for index, envelope in enumerate(drain()):
        yield described(f"{name}-{index}" if index else name, pinned(envelope))


def described(name, envelope):
    headers, properties = envelope["headers"], envelope["properties"]
    body = base64.b64decode(envelope["body"])
    if headers.get("compression"):
        plain = compression.decompress(body, headers["compression"])
    else:
        plain = body
    content = serialization.loads(plain, envelope["content-type"], envelope["content-encoding"], accept=None, force=True)
    lifted = None
    if "task" not in headers:
        class Message:
            pass
        Message.headers = headers
        content, lifted, _, _ = proto1_to_proto2(Message, dict(content))
        lifted = dumps({key: value for key, value in lifted.items() if key not in BODY_KEYS})
    decoded = dumps(content)
    return {
        "name": name,
        "envelope": json.dumps(envelope),
        "decoded": None if decoded.encode() == body else decoded,  # null: the body itself
        "lifted": lifted,
    }


def messages():
    eta = datetime.datetime(2026, 12, 1, 8, 0, tzinfo=timezone(datetime.timedelta(hours=1)))
    plain = dict(task_id=fixed_uuid())
    cases = {
        "plain": lambda: add.apply_async((1, 2), **plain),
        "keywords": lambda: add.apply_async((1,), {"y": 2}, **plain),
        "empty": lambda: report.apply_async(**plain),
        "eta": lambda: add.apply_async((1, 2), eta=eta, **plain),
        "countdown": lambda: add.apply_async((1, 2), countdown=10, **plain),
        "expires-seconds": lambda: add.apply_async((1, 2), expires=60, **plain),
        "expires-time": lambda: add.apply_async((1, 2), expires=eta, **plain),
        "limits": lambda: add.apply_async((1, 2), time_limit=30, soft_time_limit=20.5, **plain),
        "retries": lambda: add.apply_async((1, 2), retries=3, **plain),
        "shadow": lambda: add.apply_async((1, 2), shadow="somebody", **plain),
        "priority": lambda: add.apply_async((1, 2), priority=5, **plain),
        "ignore-result": lambda: add.apply_async((1, 2), ignore_result=True, **plain),
        "custom-headers": lambda: add.apply_async((1, 2), headers={"tenant": "t", "list": [1, {"a": None}]}, **plain),
        "stamps": lambda: add.signature((1, 2)).stamp(tenant="t", tags=["a", "b"]).apply_async(**plain),
        "links": lambda: add.apply_async((1, 2), link=add.s(3), link_error=report.si("x"), **plain),
        "many-links": lambda: add.apply_async(
            (1, 2), link=[add.s(3), add.si(1, y=2).set(queue="other")], link_error=[report.s(), report.s()], **plain),
        "group": lambda: group(add.s(1, 1), add.s(2, 2)).apply_async(),
        "chain": lambda: chain(add.s(1, 1), add.s(2), add.s(3).set(queue="other")).apply_async(),
        "chain-of-group": lambda: chain(add.s(1, 1), group(add.s(2), add.s(3))).apply_async(),
        "chord": lambda: chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
        "xmap": lambda: total.map([[1], [2]]).apply_async(**plain),
        "starmap": lambda: add.starmap([(1, 1), (2, 2)]).apply_async(**plain),
        "chunks": lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2).apply_async(),
        "long-arguments": lambda: report.apply_async((list(range(400)), {"k": "v" * 300}), **plain),
        "argsrepr": lambda: add.apply_async((1, 2), argsrepr="(secret)", kwargsrepr="{secret}", **plain),
        "parent": lambda: add.apply_async((1, 2), root_id="root", parent_id="parent", group_id="g", group_index=4, **plain),
    }
    for name, send in cases.items():
        yield from published(name, send)
    for name in ("plain", "keywords", "eta", "expires-seconds", "limits", "links", "group", "chord"):
        yield from published(f"v1-{name}", cases[name], task_protocol=1)
    argument = {"a": [1, 2.5, None, True, "é😀"], "b": {"c": "d"}}
    for serializer in SERIALIZERS:
        # safe_dump refuses signatures, so that no workflow can be sent in YAML.
        link = None if serializer == "yaml" else add.s(1)
        send = lambda: report.apply_async((argument,), serializer=serializer, link=link, **plain)  # noqa: E731
        yield from published(f"{serializer}", send)
        yield from published(f"v1-{serializer}", send, task_protocol=1)
    for method in sorted(methods()):
        yield from published(f"compressed-{method}", lambda: report.apply_async((argument,), compression=method, **plain))
    for name, value in VALUES.items():
        yield from published(f"value-{name}", lambda: report.apply_async((value,), **plain))
    for name in ("datetime", "date", "decimal", "uuid", "bytes"):
        send = lambda: report.apply_async((VALUES[name],), serializer="pickle", **plain)  # noqa: E731
        yield from published(f"pickle-{name}", send)


def methods():
    return [alias for alias, mime in compression._aliases.items() if mime in compression._encoders]


VALUES = {
    "null": None,
    "booleans": [True, False],
    "integers": [0, -1, 2**31, 2**63 - 1, -(2**63)],
    "big-integers": [2**63, 2**64, -(10**40)],
    "floats": [0.0, -0.0, 0.1, 1e15, 1e16, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, 715749004107010.25],
    "odd-floats": [float("nan"), float("inf"), float("-inf")],
    "strings": ["", "plain", "it's", 'a "quote"', "both ' and \"", "back\\slash", "é", "😀", "\t\n\r\b\f\x00\x7f\u200b\u2028"],
    "surrogates": ["\ud800", "x\udc00y"],
    "nested": {"a": [[], {}, [{"b": [1, [2, [3, [4]]]]}]], "empty": "", "": 0},
    "datetime": datetime.datetime(2026, 11, 20, 17, 41, 23, 655378, tzinfo=timezone.utc),
    "naive-datetime": datetime.datetime(2026, 11, 20),
    "offset-datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(-datetime.timedelta(hours=5, minutes=30))),
    "date": datetime.date(2026, 11, 20),
    "time": datetime.time(17, 41, 23, 5),
    "decimal": [decimal.Decimal("1.10"), decimal.Decimal("1E+30"), decimal.Decimal("-0.0000001"), decimal.Decimal("NaN")],
    "uuid": uuid.UUID(int=2**127 + 5),
    "bytes": [b"text", "é".encode(), b"\xff\x00", b""],
    "envelope-like": {"__type__": "datetime", "__value__": "now", "more": 1},
}


def attempt(write):
    try:
        return write()
    except Exception:
        return None


def values():
    for name, value in VALUES.items():
        yield {
            "name": name,
            "json": dumps(value),
            "repr": b64(repr(value).encode("utf-8", "backslashreplace")),
            "saferepr": {str(size): b64(saferepr(value, size).encode("utf-8", "backslashreplace")) for size in (20, 60, 1024)},
            "msgpack": attempt(lambda: b64(serialization.dumps(value, "msgpack")[2])),
            "yaml": attempt(lambda: b64(serialization.dumps(value, "yaml")[2])),
            "pickle": {str(number): b64(pickle.dumps(value, protocol=number)) for number in (2, 3, 4, 5)},
        }


def results():
    backend = app.backend
    request = dict(id="the-id", task="fixtures.add", args=[1, 2], kwargs={"y": 3}, hostname="worker@host", retries=1,
                   delivery_info={"routing_key": "celery", "exchange": ""}, children=[], chord=None, group=None,
                   parent_id=None, root_id="the-id", stamps={}, stamped_headers=None)
    backend._get_result_meta, build = build_with_clock(backend), backend._get_result_meta
    try:
        yield from stored(backend, request)
    finally:
        backend._get_result_meta = build


def build_with_clock(backend):
    build = backend._get_result_meta

    def with_clock(*args, **kwargs):
        meta = build(*args, **kwargs)
        if meta["date_done"]:
            meta["date_done"] = NOW.isoformat()
        return meta
    return with_clock


def stored(backend, request):
    def case(name, state, result, extended=False, traceback=None, **more):
        app.conf.result_extended = extended
        context = Context(request, **more)
        task_id = f"id-{name}"
        backend.store_result(task_id, result, state, traceback=traceback, request=context)
        raw = backend.get(backend.get_key_for_task(task_id))
        app.conf.result_extended = False
        return {"name": name, "document": raw if isinstance(raw, str) else raw.decode()}

    error = KeyError("missing", 1)
    yield case("success", "SUCCESS", 3)
    yield case("success-none", "SUCCESS", None)
    yield case("success-typed", "SUCCESS", {"at": NOW, "id": uuid.UUID(int=5), "price": decimal.Decimal("1.10"), "raw": b"\xff"})
    yield case("success-extended", "SUCCESS", [1, 2], extended=True)
    yield case("success-stamped", "SUCCESS", 1, extended=True, stamped_headers=["tenant"], stamps={"tenant": ["t"]})
    yield case("success-in-group", "SUCCESS", 1, group="the-group", parent_id="the-parent")
    yield case("success-children", "SUCCESS", 1, children=[app.AsyncResult("child")])
    yield case("failure", "FAILURE", error, traceback="Traceback (most recent call last):\n  ...\nKeyError: 'é'\n")
    yield case("failure-extended", "FAILURE", error, extended=True, traceback="...")
    yield case("failure-unserializable", "FAILURE", ValueError({1, 2}.__class__), traceback="...")
    yield case("retry", "RETRY", ValueError("again"), traceback="...")
    yield case("retry-of-retry", "RETRY", Retry("again").exc, traceback=None)
    yield case("revoked", "REVOKED", celery.exceptions.TaskRevokedError("terminated"))
    yield case("started", "STARTED", {"pid": 5, "hostname": "worker@host"})
    yield case("custom", "PROGRESS", {"done": 5, "of": 10})
    yield case("odd-floats", "SUCCESS", [float("nan"), 2**70])
    backend.store_result("id-no-request", celery.exceptions.TaskRevokedError("revoked"), "REVOKED")
    raw = backend.get(backend.get_key_for_task("id-no-request"))
    yield {"name": "no-request", "document": raw if isinstance(raw, str) else raw.decode()}


def compressed():
    text = dumps([[list(range(50)), "é" * 50], {}, {}])
    for method in sorted(methods()):
        packed, mime = compression.compress(text, method)
        yield {"name": method, "mime": mime, "packed": b64(packed), "text": text}


def main():
    assert loads(dumps(VALUES["datetime"])) == VALUES["datetime"]
    directory = HERE / ".".join(celery.__version__.split(".")[:2])
    directory.mkdir(exist_ok=True)
    versions = {"celery": celery.__version__, "kombu": kombu.__version__}
    for name, rows in (("messages", messages), ("values", values), ("results", results), ("compression", compressed)):
        rows = list(rows())
        lines = ",\n".join(json.dumps(row) for row in rows)
        (directory / f"{name}.json").write_text(f'{{"versions": {json.dumps(versions)}, "rows": [\n{lines}\n]}}\n')
        print(f"{directory.name}/{name}.json: {len(rows)}")


if __name__ == "__main__":
    main()
