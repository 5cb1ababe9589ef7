"""Tasks with an ETA, thousands of them: on Redis only their times are in memory, and nothing may be lost or run twice."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import uuid

import pytest
import redis as redis_py
from conftest import PATIENCE, Site, eventually

from brokers import Redis
from proxy import Proxy

HELD = 3000


def resend(client, queue: str, template: str, count: int, eta: datetime.datetime) -> list[str]:
    """Copies of a message that Celery has sent, with ids, tags and ETAs of their own."""
    message = json.loads(template)
    old_id, old_eta, old_tag = message["headers"]["id"], message["headers"]["eta"], message["properties"]["delivery_tag"]
    ids = [str(uuid.uuid4()) for _ in range(count)]
    pipe = client.pipeline(transaction=False)
    for n, id_ in enumerate(ids):
        later = eta + datetime.timedelta(milliseconds=n)
        text = template.replace(old_id, id_).replace(old_tag, str(uuid.uuid4()))
        pipe.lpush(queue, text.replace(old_eta, later.isoformat()))
    pipe.execute()
    return ids


def template_of(site: Site, client, signature) -> str:
    """What Celery sends for a signature, taken out of a queue that no worker consumes."""
    signature.apply_async(queue="templates", countdown=3600)
    text = client.rpop("templates").decode()
    assert '"routing_key": "templates"' in text
    return text.replace('"routing_key": "templates"', f'"routing_key": "{site.queue}"')


def in_seconds(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def hold(site: Site, client, count: int = HELD) -> list[str]:
    """Has a worker hold that many tasks for an hour."""
    ids = resend(client, site.queue, template_of(site, client, site.proj.add.s(1, 1)), count, in_seconds(3600))
    eventually(lambda: client.hlen("unacked") == count, "not all were taken")
    return ids


@pytest.fixture
def client(redis_server):
    return redis_py.Redis(port=redis_server.port)


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_those_that_come_due_run_once_while_thousands_are_held(redis_site, client, tmp_path, kind):
    site, log, gate = redis_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    gate.touch()
    worker = site.worker("-c", "2", kind=kind)
    held = hold(site, client)
    name = f"{kind}0@test"
    inspect = site.proj.app.control.inspect(destination=[name], timeout=20, limit=1)
    eventually(lambda: inspect.stats()[name]["prefetch_count"] == HELD + 8, "not all are held")
    # Some are held whole, some are not; all of them run at their time, in its order, and not before.
    task = site.proj.native_when if kind == "native" else site.proj.when
    due = [task.apply_async(eta=in_seconds(1 + n * 0.01)) for n in range(400)]
    runs = [result.get(timeout=PATIENCE) for result in due]
    assert all(began >= datetime.datetime.fromisoformat(eta).timestamp() for began, eta in runs)
    # A task that is revoked meanwhile, by id or by stamp, is discarded when it is due; one that another worker has is not run.
    template = template_of(site, client, site.proj.native_hold.s(str(log), str(gate)))
    template = template.replace('"stamps": {}', '"stamped_headers": ["k"], "stamps": {"k": "v"}')
    assert '"k": "v"' in template
    revoked, gone, stamped = (resend(client, site.queue, template, 1, in_seconds(after))[0] for after in (15, 15, 20))
    eventually(lambda: all(f"[{id_}] received" in worker.text() for id_ in (revoked, gone, stamped)), "not received")
    site.proj.app.control.revoke(revoked, destination=[name], reply=True, timeout=20, limit=1)
    tag = next(tag for tag, entry in client.hscan_iter("unacked", count=1000) if gone.encode() in entry)
    client.hdel("unacked", tag)
    eventually(lambda: "1 task(s) that waited for their ETA are not held for this worker any more" in worker.text())
    site.proj.app.control.revoke_by_stamped_headers({"k": "v"}, destination=[name], reply=True, timeout=20, limit=1)
    eventually(lambda: f"Discarding revoked task: proj.native_hold[{stamped}] (revoked by header" in worker.text())
    eventually(lambda: f"Discarding revoked task: proj.native_hold[{revoked}]" in worker.text())
    # By then there is nothing but those that are held, and whoever asks is told of them.
    eventually(lambda: client.hlen("unacked") == HELD)
    scheduled = inspect.scheduled()[name]
    assert [item["request"]["id"] for item in scheduled] == held
    assert inspect.query_task(held[7], "unknown") == {name: {held[7]: ["scheduled", scheduled[7]["request"]]}}
    assert inspect.stats()[name]["prefetch_count"] == HELD + 8
    reply = site.proj.app.control.terminate([held[5]], destination=[name], reply=True, timeout=20, limit=1)
    assert reply == [{name: {"ok": f"terminate: {held[5]}"}}]
    assert log.read_text() == ""
    # And all are back at once when it stops, next to be taken, in their order, marked as handed out before.
    assert worker.terminate() == 0
    assert f"Restoring {HELD} unacknowledged message(s)" in worker.text()
    assert client.hlen("unacked") == client.zcard("unacked_index") == 0
    back = [json.loads(text) for text in reversed(client.lrange(site.queue, 0, -1))]
    assert [message["headers"]["id"] for message in back] == held
    assert all(message["properties"]["delivery_info"]["redelivered"] is True for message in back)


def test_held_tasks_look_as_celery_shows_them(redis_site, client):
    """`scheduled` and `query_task` of Celery's worker and ours, of the same message."""
    site = redis_site
    template = template_of(site, client, site.proj.add.s(1, y=2))
    shown = {}
    for kind, name in (("celery", "celery0@test"), ("ours", "ours1@test")):
        worker = site.worker("-c", "1", "--without-gossip", kind=kind)
        client.lpush(site.queue, template)
        inspect = site.proj.app.control.inspect(destination=[name], timeout=20, limit=1)
        eventually(lambda: " received" in worker.text())  # noqa: B023
        scheduled = inspect.scheduled()[name]
        id_ = scheduled[0]["request"]["id"]
        shown[kind] = repr([scheduled, inspect.query_task(id_)[name]]).replace(name, "NODE")
        worker.terminate()
        client.delete(site.queue)
    assert shown["ours"] == shown["celery"]


@pytest.fixture
def frail_site(tmp_path):
    """A Redis of its own behind a proxy, for the worker; what is held is abandoned after three seconds."""
    with Redis() as server, Proxy(server.port) as proxy:
        found = Site(server.url(0), server.url(1), tmp_path)
        found.env["PROJ_BROKER"] = f"redis://127.0.0.1:{proxy.port}/0"
        found.env["PROJ_VISIBILITY"] = "3"
        found.proxy, found.client = proxy, redis_py.Redis(port=server.port)
        yield found
        found.destroy()


def test_bad_days_of_the_broker(frail_site, tmp_path):
    """A lost connection, a full Redis and a worker beside ours that looks for abandoned messages: each task runs once."""
    site, client, log = frail_site, frail_site.client, tmp_path / "runs"
    log.touch()
    gate = tmp_path / "gate"
    gate.touch()
    ours = site.worker("-c", "1")
    held = hold(site, client, 500)
    template = template_of(site, client, site.proj.hold_here.s(str(log), str(gate)))
    due = resend(client, site.queue, template, 100, in_seconds(9))
    # Not `unacked`: what Redis has noted may not have reached the worker, and nobody can restore that in a full Redis.
    eventually(lambda: ours.text().count(" received") == 600, "not all were taken")
    site.proxy.cut(reopen=False)
    # It restores what is older than three seconds, as soon as it is.
    other = site.worker("-c", "1", "-Q", "elsewhere", kind="celery", env={"PROJ_BROKER": site.broker}, ready=False)
    other.wait_ready()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    site.proxy.reopen()
    eventually(lambda: ours.text().count("Connected to redis") == 2, "it did not come back")
    oldest = lambda: min(score for _, score in client.zrange("unacked_index", 0, -1, withscores=True))  # noqa: E731
    first = oldest()
    eventually(lambda: oldest() > first + 3, "what is held grows old in a full Redis")
    client.config_set("maxmemory", "0")
    eventually(lambda: len(set(log.read_text().split())) == 100, "not all have run")
    assert ours.text().count("Connected to redis") == 2
    eventually(lambda: client.hlen("unacked") + client.llen(site.queue) == 500, "more or less than what is held")
    runs = log.read_text().split()
    assert sorted(runs) == sorted(due)
    # Killed, it leaves all of them to whoever looks next.
    ours.kill()
    eventually(lambda: client.llen(site.queue) == 500 and client.hlen("unacked") == 0, "they were not restored")
    back = [json.loads(text)["headers"]["id"] for text in client.lrange(site.queue, 0, -1)]
    assert sorted(back) == sorted(held)


def test_as_many_as_the_limit_allows_are_taken(redis_site, client):
    """`worker_eta_task_limit`: the window does not grow beyond it, and what is due makes room for the next."""
    site = redis_site
    worker = site.worker("-c", "1", "worker.eta_task_limit=30", "worker.prefetch_multiplier=2")
    template = template_of(site, client, site.proj.add.s(1, 1))
    resend(client, site.queue, template, 25, in_seconds(15))
    resend(client, site.queue, template, 25, in_seconds(3600))
    eventually(lambda: worker.text().count(" received") == 30, "not as many as allowed")
    assert client.hlen("unacked") == 30
    eventually(lambda: worker.text().count(" succeeded in ") == 25, "they did not run")
    eventually(lambda: client.hlen("unacked") == 25 and client.llen(site.queue) == 0, "no room was made")


def test_killed_while_thousands_are_held(redis_site, client):
    """kill -9: everything is in `unacked`, once, and nowhere else."""
    worker = redis_site.worker("-c", "1")
    held = hold(redis_site, client)
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    found = [re.search(rb'"id": "([^"]+)"', entry)[1].decode() for entry in client.hvals("unacked")]
    assert sorted(found) == sorted(held)
    assert client.zcard("unacked_index") == len(held)
    assert client.llen(redis_site.queue) == 0


def test_where_the_broker_keeps_no_note(rabbit_site):
    """RabbitMQ hands a message out once: it is kept packed, and is the same when its time comes."""
    site = rabbit_site
    worker = site.worker("-c", "1")
    held = [site.proj.add.apply_async((n, 1), eta=in_seconds(3600 + n)).id for n in range(200)]
    due = [site.proj.when.apply_async(eta=in_seconds(20 + n * 0.01)) for n in range(100)]
    eventually(lambda: worker.text().count(" received") == 300, "not all were received")
    inspect = site.proj.app.control.inspect(destination=["ours0@test"], timeout=20, limit=1)
    assert inspect.stats()["ours0@test"]["prefetch_count"] == 4 + 300
    revoked = due.pop()
    site.proj.app.control.revoke(revoked.id, destination=["ours0@test"], reply=True, timeout=20, limit=1)
    runs = [result.get(timeout=PATIENCE) for result in due]
    assert all(began >= datetime.datetime.fromisoformat(eta).timestamp() for began, eta in runs)
    eventually(lambda: f"Discarding revoked task: proj.when[{revoked.id}]" in worker.text())
    scheduled = inspect.scheduled()["ours0@test"]
    assert [item["request"]["id"] for item in scheduled] == held
    assert scheduled[7]["request"]["args"] == [7, 1]
    assert scheduled[7]["request"]["delivery_info"]["routing_key"] == site.queue
    assert worker.terminate() == 0
    with site.proj.app.connection_for_read() as connection:
        assert connection.default_channel.queue_declare(site.queue, passive=True).message_count == 200
