"""`broker_read_url` and `broker_write_url` that differ: what is taken from the one, and what goes to the other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid

import pytest
import redis as redis_py
from celery import Celery
from conftest import PATIENCE, TESTS, Site, eventually
from kombu import Connection, Producer

from ear import Ear
from proxy import Proxy
from workers import Worker

KINDS = ["celery", "ours"]
#: Properties that are another one each time, or only the headers once more.
PASSING = {"correlation_id", "reply_to", "delivery_tag", "application_headers"}


class TwoBrokers(Site):
    """The client's project is where the worker reads; `out` is the same project where the worker writes."""

    def __init__(self, read: str, write: str | list[str], backend: str, directory) -> None:
        super().__init__(read, backend, directory)
        self.env["PROJ_CONF"] = json.dumps({"broker_write_url": write})
        self.out = Celery("proj", broker=write if isinstance(write, str) else write[-1])
        self.out.conf.task_default_queue = self.queue

    def serve(self, kind: str, *args: str) -> Worker:
        """A worker that has done something: nobody hears its answers where the question was asked."""
        worker = self.worker("-c", "1", *args, kind=kind, ready=False, name=f"{kind}@test").wait_ready()
        assert self.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
        return worker

    def waiting(self, app) -> list:
        """The messages of the project's queue there; they are gone afterwards."""
        with app.connection_for_write() as connection:
            queue = app.amqp.queues[self.queue](connection.default_channel)
            queue.declare()
            found = []
            while message := queue.get(no_ack=True):
                found.append(message)
            return found

    def ask(self, node: str, command: str) -> dict:
        """What the node answers where it writes, when it is asked where it reads."""
        mailbox = self.proj.app.control.mailbox
        with self.proj.app.connection_for_write() as there, self.out.connection_for_write() as here:
            bound, ticket, channel = mailbox(here), str(uuid.uuid4()), here.default_channel
            producer = Producer(there, auto_declare=False)
            bound._publish(command, {}, [node], reply_ticket=ticket, channel=channel, producer=producer)
            answers = bound._collect(ticket, limit=1, timeout=5, channel=channel)
        return answers[0][node] if answers else {}


@pytest.fixture(params=["rabbit+rabbit", "rabbit+redis", "redis+rabbit", "redis+redis"])
def two_brokers(request, redis_server, rabbit_server, tmp_path):
    read, write = (
        rabbit_server.add_vhost(f"{half}-{uuid.uuid4().hex[:8]}") if name == "rabbit" else redis_server.url(database)
        for name, half, database in zip(request.param.split("+"), ("read", "write"), (0, 2))
    )
    found = TwoBrokers(read, write, redis_server.url(1), tmp_path)
    yield found
    found.destroy()


@pytest.fixture
def two_vhosts(redis_server, rabbit_server, tmp_path):
    """On RabbitMQ, each behind a proxy for the worker."""
    vhosts = [f"{half}-{uuid.uuid4().hex[:8]}" for half in ("read", "write")]
    urls = [rabbit_server.add_vhost(vhost) for vhost in vhosts]
    with Proxy(rabbit_server.port) as read, Proxy(rabbit_server.port) as write:
        found = TwoBrokers(*urls, redis_server.url(1), tmp_path)
        found.read, found.write = read, write
        found.read_url, found.write_url = (
            f"amqp://guest:guest@127.0.0.1:{proxy.port}/{vhost}" for proxy, vhost in zip((read, write), vhosts)
        )
        found.env["PROJ_CONF"] = json.dumps({"broker_read_url": found.read_url, "broker_write_url": found.write_url})
        yield found
        found.destroy()


def masked(url: str) -> str:
    """As kombu logs it."""
    return Connection(url).as_uri()


def described(message) -> dict:
    """A message without what differs from worker to worker."""
    own = {"origin", "id", "root_id", "parent_id"}
    properties = {name: value for name, value in message.properties.items() if name not in PASSING}
    headers = {name: value for name, value in message.headers.items() if name not in own}
    headers["eta"] = headers["eta"] is not None
    return {"headers": headers, "properties": properties, "body": message.payload}


def test_where_everything_goes(two_brokers):
    """Tasks and commands come from the one; retries, events and answers go to the other. The same with both workers."""
    told = {}
    for kind in KINDS:
        with Ear(two_brokers.proj.app) as inside, Ear(two_brokers.out) as outside:
            worker = two_brokers.serve(kind, "-E", "--without-mingle")
            result = two_brokers.proj.retry.delay("x")
            # One of them comes in its own time.
            for type in ("task-retried", "worker-heartbeat"):
                eventually(lambda: outside.events(f"{kind}@test", type=type), f"no {type}")  # noqa: B023
            events = {event["type"] for event in outside.events(f"{kind}@test")}
            stats = eventually(lambda: two_brokers.ask(f"{kind}@test", "stats"), "no answer")
            assert eventually(lambda: two_brokers.ask(f"{kind}@test", "ping")) == {"ok": "pong"}
            assert inside.events(f"{kind}@test") == []
        assert worker.terminate() == 0
        text = worker.text()
        retried = two_brokers.waiting(two_brokers.out)
        assert [message.headers["id"] for message in retried] == [result.id]
        broker = {name: stats["broker"][name] for name in ("hostname", "port", "transport", "virtual_host", "userid")}
        told[kind] = {
            "retried": described(retried[0]), "left": two_brokers.waiting(two_brokers.proj.app), "events": events,
            "connected": set(re.findall(r"Connected to (\S+)", text)), "broker": broker,
            "banner": re.search(r"transport:\s+(\S+)", text)[1],
        }
    assert told["ours"] == told["celery"]
    ours = told["ours"]
    assert ours["retried"]["headers"]["retries"] == 1 and ours["left"] == []
    assert ours["connected"] == {masked(two_brokers.broker)}
    assert ours["banner"] == masked(two_brokers.out.conf.broker_url)
    assert {"worker-online", "worker-offline"} & ours["events"] and "task-succeeded" in ours["events"]


def test_purge_empties_what_is_written_to(two_brokers):
    """As Celery does, whose `--purge` uses the connection for writing."""
    told = {}
    for kind in KINDS:
        for _ in range(2):
            two_brokers.out.send_task("proj.add", (1, 1))
        result = two_brokers.proj.add.delay(2, 2)
        worker = two_brokers.serve(kind, "--purge")
        assert result.get(timeout=PATIENCE) == 4
        told[kind] = re.findall("purge: .*", worker.text())
        assert worker.terminate() == 0
        assert two_brokers.waiting(two_brokers.out) == []
    assert told["ours"] == told["celery"] == ["purge: Erased 2 messages from the queue."]


@pytest.mark.parametrize("embedded", [False, True], ids=["beat", "worker -B"])
def test_beat_writes(two_brokers, embedded):
    two_brokers.env["PROJ_CONF"] = json.dumps(
        json.loads(two_brokers.env["PROJ_CONF"]) | {"beat_schedule": {"add": {"task": "proj.add", "schedule": 0.1, "args": [1, 2]}}}
    )
    schedule = str(two_brokers.directory / "schedule")
    if embedded:
        beat = two_brokers.worker("-c", "1", "-B", "-s", schedule, ready=False).wait_ready()
    else:
        command = [os.environ["CELERY_RS_BIN"], "-A", "e2e_app", "beat", "-l", "INFO", "-s", schedule]
        beat = Worker(command, two_brokers.env, two_brokers.directory / "beat.log", TESTS / "apps")
        two_brokers.workers.append(beat)
    due = eventually(lambda: two_brokers.waiting(two_brokers.out), "nothing was sent")
    assert due[0].headers["task"] == "proj.add"
    assert beat.terminate() == 0
    assert two_brokers.waiting(two_brokers.proj.app) == []


@pytest.mark.parametrize("half", ["read", "write"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_either_is_the_loss_of_the_connection(two_vhosts, kind, half):
    """The worker connects to both again, and works and tells of it as before."""
    worker = two_vhosts.serve(kind, "--without-mingle")
    getattr(two_vhosts, half).cut()
    lost = "consumer: Connection to broker lost. Trying to re-establish the connection"
    eventually(lambda: lost in worker.text(), "it did not notice")
    eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
    with Ear(two_vhosts.out) as outside:
        assert two_vhosts.proj.add.delay(2, 2).get(timeout=PATIENCE) == 4
        eventually(lambda: outside.events(f"{kind}@test", type="worker-heartbeat"), "it is not heard")
    assert worker.terminate() == 0


def test_a_task_that_is_running_survives_the_loss_of_the_other(two_vhosts, tmp_path):
    """Its result is stored, and it runs once: it had been acknowledged."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    worker = two_vhosts.serve("ours")
    result = two_vhosts.proj.hold_here.delay(str(log), str(gate))
    eventually(log.exists, "it did not begin")
    two_vhosts.write.cut()
    eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
    gate.touch()
    assert result.get(timeout=PATIENCE) == 0
    assert log.read_text().split() == [result.id]


def test_a_stop_settles_what_was_read_while_the_other_is_away(redis_server, rabbit_server, tmp_path):
    """Nothing is left unacknowledged, and nothing runs again."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    vhost = f"write-{uuid.uuid4().hex[:8]}"
    rabbit_server.add_vhost(vhost)
    with Proxy(rabbit_server.port) as write:
        url = f"amqp://guest:guest@127.0.0.1:{write.port}/{vhost}"
        site = TwoBrokers(redis_server.url(0), url, redis_server.url(1), tmp_path)
        site.env["PROJ_ACKS_LATE"] = "1"
        try:
            worker = site.serve("ours")
            results = [site.proj.hold_here.delay(str(log), str(gate)) for _ in range(3)]
            eventually(lambda: all(f"[{result.id}] received" in worker.text() for result in results), "not received")
            eventually(log.exists, "it did not begin")
            write.cut(reopen=False)
            eventually(lambda: "Cannot connect to amqp://" in worker.text(), "it did not notice")
            worker.process.send_signal(signal.SIGTERM)
            eventually(lambda: "Warm shutdown" in worker.text(), "no shutdown")
            gate.touch()
            assert worker.terminate() == 0
            ran = log.read_text().split()
            redis = redis_py.Redis(port=redis_server.port)
            assert (redis.hlen("unacked"), redis.zcard("unacked_index")) == (0, 0)
            assert len(ran) == 1 and len(site.waiting(site.proj.app)) == 2
        finally:
            site.destroy()


def test_failover_lists_of_their_own(two_vhosts, redis_server, tmp_path):
    """The first broker to write to is closed: the same lines, and work goes on."""
    told = {}
    with Proxy(redis_server.port) as closed:
        closed.cut(reopen=False)
        first = f"amqp://guest:guest@127.0.0.1:{closed.port}//"
        two_vhosts.env["PROJ_CONF"] = json.dumps({"broker_write_url": [first, two_vhosts.write_url]})
        for kind in KINDS:
            worker = two_vhosts.serve(kind, "--without-mingle")
            failed = re.findall(r"consumer: Cannot connect to (\S+): .*\n(.*)\n", worker.text())
            told[kind] = failed, re.findall(r"Connected to (\S+)", worker.text())
            assert worker.terminate() == 0
    assert told["ours"] == told["celery"]
    assert told["ours"][0] == [(masked(first), "Will retry using next failover.")]


def test_attempts_to_write_are_counted(two_vhosts):
    """The broker to write to is closed for good: the same lines, and the same end."""
    two_vhosts.write.cut(reopen=False)
    told = {}
    for kind in KINDS:
        worker = two_vhosts.worker("-c", "1", "broker.connection_max_retries=1", kind=kind, ready=False)
        code = worker.process.wait(PATIENCE)
        failed = re.findall(r"consumer: Cannot connect to (\S+): .*\n(.*)\n", worker.text())
        told[kind] = code, failed, " ready." in worker.text()
    assert told["ours"] == told["celery"]
    assert [line for _, line in told["ours"][1]] == ["Trying again in 2.00 seconds... (1/1)"]


def test_the_doctor_tells_of_both(two_brokers):
    command = [os.environ["CELERY_RS_BIN"], "-A", "e2e_app", "doctor", "--json"]
    done = subprocess.run(command, cwd=TESTS / "apps", env=two_brokers.env, capture_output=True, text=True, timeout=PATIENCE)
    told = json.loads(done.stdout)
    assert told["starts"]
    broker = next(fact["text"] for fact in told["in_rust"] if fact["subject"] == "broker")
    assert broker == f"{masked(two_brokers.broker)} to read, {masked(two_brokers.out.conf.broker_url)} to write"
