"""Garbage in a queue is settled as Celery settles it, logged, and the next task runs."""

import base64
import json
import uuid

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
