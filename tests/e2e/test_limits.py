"""Time limits in a message, also such as nobody should send: no worker dies of them."""

import json

import pytest
import redis as redis_py
from conftest import PATIENCE, eventually

from test_garbage import envelope

#: What Celery's worker runs as if nothing were there, or with limits too far away to matter.
HARMLESS = {
    "huge": "[1e308, 1e308]",
    "huge hard": "[1e308, null]",
    "more than any clock": "[1e19, 1e19]",
    "not a number": "[NaN, NaN]",
    "infinite": "[Infinity, -Infinity]",
    "texts": '["600", "300"]',
    "truth values": "[false, false]",
    "empty": "[]",
    "null": "null",
    "zero": "[0, 0]",
}
#: What Celery's worker dies of.
REFUSED = {
    "words": '["soon", "later"]',
    "a number": "10",
    "a huge integer": f"[1{'0' * 400}, null]",
    "one": "[10]",
    "three": "[1, 2, 3]",
    "lists": "[[1], null]",
    "an object": '{"a": 1, "b": 2}',
}


def send(site, client, task, timelimit):
    """A message with this JSON text for its `timelimit`; its id."""
    message = envelope(site.queue)
    message["headers"].update(task=task, timelimit="@")
    client.lpush(site.queue, json.dumps(message).replace('"@"', timelimit))
    return message["headers"]["id"]


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_limits_that_mean_nothing(redis_site, redis_server, kind):
    client = redis_py.Redis(port=redis_server.port)
    redis_site.worker("-c", "1", kind=kind)
    for name, timelimit in HARMLESS.items():
        if name == "infinite" and kind == "celery":
            continue
        for task in ("proj.add", "proj.native_add"):
            result = redis_site.proj.app.AsyncResult(send(redis_site, client, task, timelimit))
            assert result.get(timeout=PATIENCE) == 3, (name, task)
    eventually(lambda: client.hlen("unacked") == 0, "something was not acknowledged")


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_limits_that_cannot_be_read(redis_site, redis_server, kind):
    client = redis_py.Redis(port=redis_server.port)
    worker = redis_site.worker("-c", "1", kind=kind)
    for timelimit in REFUSED.values():
        for task in ("proj.add", "proj.native_add"):
            send(redis_site, client, task, timelimit)
    refused = "Received invalid task message: the timelimit header is not a pair"
    eventually(lambda: worker.text().count(refused) == 2 * len(REFUSED), "not all were refused")
    assert redis_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert worker.terminate() == 0
    assert client.hlen("unacked") == 0


@pytest.mark.parametrize("kind", ["ours", "native"])
@pytest.mark.parametrize("task", ["hold_here", "native_hold"])
def test_a_limit_of_the_message_ends_the_task(redis_site, tmp_path, kind, task):
    from celery.exceptions import TimeLimitExceeded

    log = tmp_path / "runs"
    log.touch()
    worker = redis_site.worker("-c", "1", kind=kind)
    result = getattr(redis_site.proj, task).apply_async((str(log), str(tmp_path / "gate")), time_limit=0.25)
    with pytest.raises(TimeLimitExceeded, match="0.25"):
        result.get(timeout=PATIENCE)
    eventually(lambda: f"Hard time limit (0.25s) exceeded for proj.{task.removesuffix('_here')}" in worker.text(), "no line")
    assert redis_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
