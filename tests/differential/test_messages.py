"""Messages of all forms, and what is none."""

import datetime
import json
import uuid


import kombu.compression
import pytest

COMPRESSIONS = sorted(set(kombu.compression.encoders()) & {"gzip", "bzip2", "lzma", "zstd", "brotli"} | {
    name for name in ("gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "zstd", "brotli")
    if name in kombu.compression._aliases
})


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_body(base, compression):
    """Every compression that kombu has here."""
    found = base.compare(lambda run: run.send("echo", "x" * 3000, compression=compression))
    assert found.result() == [["x" * 3000], {}]


@pytest.mark.parametrize("compression", ["application/nothing", "application/x-gzip"])
def test_body_that_cannot_be_unpacked(base, compression):
    def scenario(run):
        run.publish(b"not compressed", {"id": run.new_id(), "task": "echo", "compression": compression},
                    content_type="application/json", content_encoding="utf-8")

    why = "compressed bodies are opened by the child: the task has been received and started when it is found out"
    base.compare(scenario, dict.fromkeys(["events", "log.received", "log.main"], why))


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_serializer(base, serializer):
    arguments = (1, "zwei", 3.5, None, [True, {"a": "b"}])
    found = base.compare(lambda run: run.send("echo", *arguments, serializer=serializer))
    assert found.result()[0] == list(arguments)


def test_json_with_types(base):
    """kombu's own types in arguments come back as they were."""
    values = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        datetime.date(2026, 1, 2),
        datetime.time(3, 4, 5),
        uuid.UUID(int=7),
        b"\x00\xff",
    ]
    found = base.compare(lambda run: run.send("echo", *values))
    assert found.types() == ["received", "started", "succeeded"]


def test_pickled_arguments(base):
    found = base.compare(lambda run: run.send("returns", "len({1, 2})", serializer="pickle"))
    assert found.result() == 2


def test_minimal_message(base):
    """Only a name and an id, and no embed."""
    found = base.compare(lambda run: run.publish([[1], {}, None], {"id": run.new_id(), "task": "echo"}))
    assert found.result() == [[1], {}]


@pytest.mark.parametrize("utc", [True, False])
def test_protocol_1(base, utc):
    def scenario(run):
        body = {
            "task": "echo", "id": run.new_id(), "args": [1, 2], "kwargs": {"k": "v"}, "retries": 0, "eta": None,
            "expires": None, "utc": utc, "callbacks": None, "errbacks": None, "timelimit": [None, None],
            "taskset": None, "chord": None,
        }
        run.publish(body)

    found = base.compare(scenario)
    assert found.result() == [[1, 2], {"k": "v"}]


def test_protocol_1_with_callback(base):
    def scenario(run):
        linked = run.sig("add", 3)
        run.ids.append(linked.freeze().id)
        run.publish({"task": "add", "id": run.new_id(), "args": [1, 1], "kwargs": {}, "callbacks": [linked]})

    found = base.compare(scenario)
    assert found.result(1) == 5


def test_protocol_1_minimal(base):
    found = base.compare(lambda run: run.publish({"task": "add", "id": run.new_id(), "args": [1]}))
    assert found.result() == 2


@pytest.mark.parametrize("body", [
    {"task": "echo", "id": "{id}", "args": 3},
    {"task": "echo", "id": "{id}", "args": [1], "kwargs": [2]},
    {"task": "unknown", "id": "{id}", "args": []},
], ids=["args", "kwargs", "unknown"])
def test_protocol_1_that_is_wrong(base, body):
    def scenario(run):
        run.publish({key: run.new_id() if value == "{id}" else value for key, value in body.items()})

    base.compare(scenario)


def test_protocol_1_without_id(base):
    why = "Celery runs it, as a task whose id is None; here it is refused"
    fields = ["events", "log.received", "log.main", "log.child", "documents"]
    base.compare(lambda run: run.publish({"task": "echo", "args": [1]}), may_differ=dict.fromkeys(fields + ["child", "main"], why))


def test_hybrid(base):
    """The headers of protocol 2 with the body of protocol 1."""

    def scenario(run):
        id = run.new_id()
        body = {"task": "echo", "id": id, "args": [1], "kwargs": {"k": 2}, "retries": 0, "utc": True}
        run.publish(body, {"id": id, "task": "echo", "lang": "py", "argsrepr": "(1,)", "kwargsrepr": "{}"})

    found = base.compare(scenario)
    assert found.result() == [[1], {"k": 2}]


def test_unknown_task(base):
    found = base.compare(lambda run: run.send("no.such.task", 1, kwargs={"a": 2}))
    assert found.types() == ["failed"] and found.states() == ["FAILURE"]
    assert found.result()["exc_type"] == "NotRegistered"


def test_unknown_task_with_links(base):
    """Its error callbacks, and the rest of its chain."""
    base.compare(lambda run: run.apply(run.chain(run.sig("no.such.task"), run.sig("add", 1)).on_error(run.sig("errback_old"))))


def test_unknown_task_in_a_chord(base):
    base.compare(lambda run: run.apply(run.chord([run.sig("add", 1, 1), run.sig("no.such.task")], run.sig("total"))))


@pytest.mark.parametrize("body", [
    "text", [1, 2], {"no": "task"}, None, 7,
], ids=["text", "list", "dict", "null", "number"])
def test_unknown_message(base, body):
    base.compare(lambda run: run.publish(body))


def body_message(run, body: bytes, **headers) -> None:
    headers = {"id": run.new_id(), "task": "echo", "lang": "py", "argsrepr": "?", "kwargsrepr": "?", **headers}
    run.publish(body, headers, content_type="application/json", content_encoding="utf-8")


@pytest.mark.parametrize("body", [
    b"{", b"\xff\xfe", b"[3, {}, {}]", b'[[{"__type__": "nothing", "__value__": 1}], {}, {}]',
], ids=repr)
def test_body_that_is_wrong(base, body):
    base.compare(lambda run: body_message(run, body))


@pytest.mark.parametrize("body", [b"[1, 2]", b"{}", b"", b"null"], ids=repr)
def test_body_that_ends_celery(base, body):
    """Our worker gives it up and goes on."""
    base.poison(lambda run: body_message(run, body))


@pytest.mark.parametrize("content", [
    ("application/x-nobody-knows", "utf-8"), ("application/json", "no-such-encoding"), ("text/plain", "utf-8"),
    ("application/json", "binary"),
], ids=repr)
def test_content_that_is_wrong(base, content):
    def scenario(run):
        headers = {"id": run.new_id(), "task": "echo", "lang": "py"}
        run.publish(b"[[1], {}, {}]", headers, content_type=content[0], content_encoding=content[1])

    base.compare(scenario)


@pytest.mark.parametrize("headers", [{"eta": "yesterday"}, {"eta": 3}, {"expires": "some day"}, {"timelimit": None}], ids=repr)
def test_header_that_is_wrong(base, headers):
    """Times that cannot be read are refused."""
    base.compare(lambda run: body_message(run, b"[[1], {}, {}]", **headers))


@pytest.mark.parametrize("headers", [{"retries": "x"}, {"group_index": "a"}, {"root_id": 3}], ids=repr)
def test_header_of_a_wrong_type(base, headers):
    why = "Celery looks at these only when they are needed; here the message is refused at once"
    fields = ["events", "log.received", "log.main", "log.child", "documents"]
    base.compare(lambda run: body_message(run, b"[[1], {}, {}]", **headers), dict.fromkeys(fields, why), {"child": why, "main": why})


@pytest.mark.parametrize("headers", [{"expires": []}, {"timelimit": [1]}], ids=repr)
def test_header_that_ends_celery(base, headers):
    base.poison(lambda run: body_message(run, b"[[1], {}, {}]", **headers))


@pytest.mark.parametrize("missing", ["task", "lang"])
def test_header_that_is_missing(base, missing):
    def scenario(run):
        headers = {"id": run.new_id(), "task": "echo", "lang": "py"}
        del headers[missing]
        run.publish([[1], {}, {}], headers)

    base.compare(scenario)


def test_wrong_arguments(base):
    found = base.compare(lambda run: run.send("add", 1, 2, 3, 4))
    assert found.result()["exc_type"] == "TypeError"


def test_representations_are_taken_as_they_are(base):
    found = base.compare(lambda run: run.send("echo", "secret", argsrepr="('<hidden>',)", kwargsrepr="{'own': 1}"))
    assert found.event("received")["args"] == "('<hidden>',)"


@pytest.mark.parametrize("name", ["echo", "fail", "no.such.task", "retry"])
def test_shadow_name(base, name):
    args = ("plain",) if name == "retry" else ()
    found = base.compare(lambda run: run.send(name, *args, shadow="another.name"))
    assert "another.name" in json.dumps([found["log.main"], found["log.child"]])


def test_priorities(base):
    """What waits is taken by priority: 0 first."""

    def scenario(run):
        gate = run.side.directory / str(uuid.uuid4())
        run.send("wait_for", str(gate))
        run.wait_record("waits")
        # More than are prefetched, so that the rest is still in the queues.
        for _ in range(4):
            run.send("mark", "prefetched")
        run.wait_log("Task mark", 3)
        for priority in (9, 3, 6, 0):
            run.send("mark", f"priority {priority}", priority=priority)
        gate.touch()

    base.compare(scenario)
