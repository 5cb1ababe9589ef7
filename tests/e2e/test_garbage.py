"""Garbage in a queue is settled as Celery settles it, logged, and the next task runs."""

import base64
import re
import json
import uuid

import amqp
import pytest
import redis as redis_py
from conftest import PATIENCE, eventually


def envelope(queue, body=b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]', **changes):
    """A message as kombu writes it for Redis, with changes."""
    id_ = str(uuid.uuid4())
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "proj.add", "id": id_, "retries": 0},
        "properties": {
            "correlation_id": id_,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    message.update(changes)
    return message


GARBAGE = {
    "no JSON": (lambda queue: b"{not json", "Can't decode message body"),
    "no envelope": (lambda queue: b"[1, 2, 3]", "Can't decode message body"),
    "bad base64": (lambda queue: envelope(queue) | {"body": "@@@"}, "Can't decode message body"),
    "bad body": (lambda queue: envelope(queue, b"[[1, 2"), "Can't decode message body"),
    "body of another shape": (lambda queue: envelope(queue, b"[1]"), "Received invalid task message"),
    "content type not accepted": (
        lambda queue: envelope(queue, **{"content-type": "application/x-unheard"}),
        "Received invalid task message",
    ),
    "bad eta": (
        lambda queue: envelope(queue, headers={"task": "proj.add", "id": "x", "eta": "tomorrow"}),
        "Received invalid task message",
    ),
    "no headers": (lambda queue: envelope(queue, b"{}", headers={}), "Received and deleted unknown message"),
    "no id": (lambda queue: envelope(queue, headers={"task": "proj.add"}), "Received invalid task message"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_on_redis(redis_site, redis_server, name):
    make, words = GARBAGE[name]
    client = redis_py.Redis(port=redis_server.port)
    worker = redis_site.worker("-c", "1")
    garbage = make(redis_site.queue)
    client.lpush(redis_site.queue, garbage if isinstance(garbage, bytes) else json.dumps(garbage))
    eventually(lambda: words in worker.text(), f"no such line: {words}")
    assert redis_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert client.llen(redis_site.queue) == 0
    assert worker.terminate() == 0
    assert client.hlen("unacked") == 0


def test_unknown_task(site):
    worker = site.worker("-c", "1")
    lost = site.proj.app.send_task("proj.unheard_of", queue=site.queue)
    with pytest.raises(Exception, match="proj.unheard_of") as caught:
        lost.get(timeout=PATIENCE)
    assert type(caught.value).__name__ == "NotRegistered"
    eventually(lambda: "Received unregistered task of type 'proj.unheard_of'" in worker.text(), "no such line")
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3


def test_large_body(site):
    """100 MB where the broker takes it; the worker neither dies nor stalls."""
    site.worker("-c", "1")
    text = "x" * (100 << 20)
    assert site.proj.app.send_task("proj.total", ([len(text)],), queue=site.queue, headers={"big": 1}).get(timeout=PATIENCE) == len(text)
    result = site.proj.app.send_task("proj.add", (text, "y"), queue=site.queue, ignore_result=True)
    assert result.id
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3


BODY = b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
HEADERS = {"lang": "py", "task": "proj.add", "id": "garbage", "root_id": "garbage", "argsrepr": "()", "kwargsrepr": "{}", "origin": "x"}
LINE = re.compile(r"^\[[^]]*: (?P<level>WARNING|ERROR|CRITICAL)/(?P<process>\S+)\] (?P<text>.*)", re.MULTILINE)

DECODE = ("CRITICAL", "Can't decode message body")
INVALID = ("ERROR", "Received invalid task message")
UNKNOWN = ("WARNING", "Received and deleted unknown message")
UNREGISTERED = ("ERROR", "Received unregistered task of type 'proj.unheard_of'")
FAILED = ("ERROR", "Task proj.add[garbage] raised unexpected: TypeError('e2e_app.add() argument after * must be an iterable, not int')")

#: Name: headers, body, properties; whether it is rejected; level and beginning of the line about it.
ON_RABBITMQ = {
    "bad body": (HEADERS, b"[[1, 2", {}, False, DECODE),
    "args that are none": (HEADERS, b"[5, {}, {}]", {}, False, FAILED),
    "content type not accepted": (HEADERS, BODY, {"content_type": "application/x-unheard"}, True, INVALID),
    "encoding unheard of": (HEADERS, BODY, {"content_encoding": "rot13.5"}, False, None),
    "compression unheard of": (HEADERS | {"compression": "application/x-unheard"}, BODY, {}, False, DECODE),
    "compression that is none": (HEADERS | {"compression": "application/x-gzip"}, BODY, {}, False, DECODE),
    "bad eta": (HEADERS | {"eta": "tomorrow"}, BODY, {}, True, INVALID),
    "bad expires": (HEADERS | {"expires": "yesterday"}, BODY, {}, True, INVALID),
    "unknown task": (HEADERS | {"task": "proj.unheard_of"}, BODY, {}, True, UNREGISTERED),
    "empty": ({}, b"", {}, True, UNKNOWN),
    "no headers": ({}, b"{}", {}, True, UNKNOWN),
    "no JSON": ({}, b"{not json", {}, False, DECODE),
    "text": ({}, b"hello", {"content_type": "text/plain"}, False, DECODE),
    "bytes": ({}, b"\xff\xfe", {"content_type": "application/data", "content_encoding": "binary"}, True, UNKNOWN),
    "protocol 1 with bad args": (
        {}, b'{"task": "proj.add", "id": "garbage", "args": 5, "kwargs": {}}', {}, False, FAILED
    ),
    "protocol 1, unknown task": (
        {}, b'{"task": "proj.unheard_of", "id": "garbage", "args": [], "kwargs": {}}', {}, True, UNREGISTERED
    ),
}
#: What Celery's worker dies of, again and again.
DEADLY = {
    "body that is no list": (HEADERS, b"{}", {}, True, INVALID),
    "body of another shape": (HEADERS, b"[1]", {}, True, INVALID),
    "no id": ({"task": "proj.add"}, BODY, {}, True, INVALID),
    "protocol 1 without id": ({}, b'{"task": "proj.add"}', {}, True, INVALID),
}


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_garbage_on_rabbitmq(rabbit_site, kind):
    """Rejected messages arrive at a dead letter exchange, acknowledged ones do not."""
    dead = rabbit_site.queue + "-dead"
    rabbit_site.env["PROJ_DEAD"] = dead
    rabbit_site.proj = rabbit_site.client()
    worker = rabbit_site.worker("-c", "1", kind=kind)
    found, expected = {}, {}
    with rabbit_site.proj.app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_declare(dead, durable=True, auto_delete=False)
        for name, (headers, body, properties, rejected, line) in (ON_RABBITMQ | (DEADLY if kind == "ours" else {})).items():
            before = len(worker.text())
            properties = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
            message = amqp.Message(body, channel=channel, application_headers=headers, **properties)
            channel.basic_publish(message, routing_key=rabbit_site.queue)
            # The only child works off one task after the other.
            assert rabbit_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3, name
            lines = lambda: [(line["level"], line["text"]) for line in LINE.finditer(worker.text()[before:])]  # noqa: B023, E731
            if line:
                eventually(lambda: lines(), f"no line about {name}")  # noqa: B023
            if rejected:
                eventually(lambda: channel.basic_get(dead, no_ack=True), f"{name} was not rejected")
            found[name] = [(level, text[: len(line[1])] if line else text) for level, text in lines()]
            expected[name] = [line] if line else []
        assert worker.terminate() == 0
        assert channel.basic_get(dead, no_ack=True) is None, "something else was rejected"
        assert channel.queue_declare(rabbit_site.queue, passive=True).message_count == 0
    assert found == expected
