"""Events, on the wire: what Flower, exporters and other workers hear of Celery's worker and of ours."""

from __future__ import annotations

import json
import signal

import pytest
from conftest import PATIENCE, Site, eventually
from ear import Ear

from proxy import Proxy

#: Fields of which only the type is compared.
VOLATILE = ("timestamp", "clock", "pid", "runtime", "uuid", "loadavg", "root_id", "parent_id", "traceback", "processed")
QUIET = ("--without-gossip", "--without-mingle")


def names(kind: str, number: int = 0) -> str:
    return f"{kind}{number}@test"


@pytest.fixture(params=["redis", "rabbit"])
def events_site(request):
    return request.getfixturevalue(f"{request.param}_site")


def worded(event: dict, name: str, queue: str, kind: str) -> list:
    """Fields in their order; what differs on every run by its type."""
    own = [(name, "NODE"), (queue, "QUEUE"), (f"{kind:_<6}.", "KIND.")]

    def hide(value):
        for text, stands in own if isinstance(value, str) else ():
            value = value.replace(text, stands)
        return value

    return [(key, type(value).__name__ if key in VOLATILE else hide(value)) for key, value in event.items()]


def everything(site, ear, kind: str) -> dict:
    """A worker's life with every event that it can send, each as its neighbours see it."""
    number = len(site.workers)
    name, queue = names(kind, number), f"{site.queue}-{kind}"
    worker = site.worker("-E", "-c", "1", "--heartbeat-interval", "1", *QUIET, "-Q", queue, kind=kind)
    proj = site.proj
    send = lambda task, *args, **options: task.apply_async(args, queue=queue, **options).id  # noqa: E731
    seen = lambda **fields: eventually(lambda: ear.events(name, **fields), f"{kind}: no {fields}")  # noqa: E731
    kinds = lambda id: [event["type"] for event in ear.events(name, uuid=id)]  # noqa: E731
    # What it says of itself is true.
    begun, gate = (site.directory / f"{kind:_<6}.{what}" for what in ("begun", "gate"))
    running = send(proj.hold_here, str(begun), str(gate))
    assert seen(type="worker-heartbeat", active=1)[0]["processed"] == 1
    gate.touch()
    seen(type="task-succeeded", uuid=running)
    seen(type="worker-heartbeat", active=0, processed=1)
    proj.app.control.revoke(f"revoked-{kind:_<6}", destination=[name], reply=True, timeout=20, limit=1)
    ids = {
        "succeeded": send(proj.add, 1, 2), "failed": send(proj.fail, "x"), "retried": send(proj.retry, "x"),
        "rejected": send(proj.reject), "revoked": send(proj.add, 1, 2, task_id=f"revoked-{kind:_<6}"), "eta": send(proj.add, 1, countdown=0.1),
    }
    ends = {"rejected": "task-rejected", "failed": "task-failed", "revoked": "task-revoked"}
    for what, id in ids.items():
        seen(type=ends.get(what, "task-succeeded"), uuid=id)
    unknown = proj.app.send_task("proj.nobody", queue=queue).id
    seen(type="task-failed", uuid=unknown)
    # One that is not to be told of, and one after it, that is.
    quiet, last = send(proj.quiet), send(proj.add, 1)
    seen(type="task-succeeded", uuid=last)
    assert not kinds(quiet)
    orders = {what: sorted(kinds(id)) for what, id in [*ids.items(), ("unknown", unknown)]}
    # A cold end: what runs is cancelled.
    log = site.directory / f"{kind:_<6}.late"
    cut = send(proj.mark_early, str(log), 600.0)
    eventually(lambda: log.exists() and log.read_text(), "it did not begin")
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(PATIENCE)
    seen(type="task-cancelled", uuid=cut)
    seen(type="worker-offline")
    messages = ear.by(name)
    clocks = [event["clock"] for message in messages for event in message.events]
    assert sorted(set(clocks)) == sorted(clocks), "each event has a time of its own"
    alone = {m.routing_key for m in messages if len(m.events) == 1 and m.routing_key != "task.multi"}
    assert alone == {"worker.online", "worker.heartbeat", "worker.offline"}
    assert {m.routing_key for m in messages} == {*alone, "task.multi"}
    wire = {(m.content_type, repr(m.headers).replace(name, "NODE"), repr(sorted(m.properties.items()))) for m in messages}
    assert messages[0].events[0]["type"] == "worker-online"
    fields = {}
    for event in ear.events(name):
        if event["type"].startswith("task-"):
            fields.setdefault((event["type"], event.get("name"), event.get("exception")), worded(event, name, queue, kind))
    for worker_kind in ("worker-online", "worker-heartbeat", "worker-offline"):
        found = ear.events(name, type=worker_kind)
        fields[worker_kind] = {tuple(worded({**event, "active": 0}, name, queue, kind)) for event in found}
    return {"orders": orders, "wire": wire, "fields": fields}


def test_every_event_is_the_same_on_the_wire(events_site):
    with Ear(events_site.proj.app) as ear:
        theirs, ours = everything(events_site, ear, "celery"), everything(events_site, ear, "ours")
    assert ours["wire"] == theirs["wire"]
    assert ours["orders"] == theirs["orders"]
    assert ours["fields"] == theirs["fields"]


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_groups_and_clock(events_site, kind):
    """Without -E only worker events go out, until told; what there is of clocks meanwhile."""
    site, name = events_site, names(kind)
    control, app = site.proj.app.control, site.proj.app
    told = lambda method: control.broadcast(method, destination=[name], reply=True, timeout=20, limit=1)[0][name]  # noqa: E731
    with Ear(app) as ear:
        site.worker("-c", "1", *QUIET, kind=kind)
        silent = site.proj.add.delay(1)
        silent.get(timeout=PATIENCE)
        assert told("enable_events") == {"ok": "task events enabled"}
        loud = site.proj.add.delay(1)
        eventually(lambda: ear.events(name, uuid=loud.id, type="task-succeeded"))
        assert told("disable_events") == {"ok": "task events disabled"}
        again = site.proj.add.delay(1)
        again.get(timeout=PATIENCE)
        assert told("heartbeat") is None
        asked = eventually(lambda: ear.events(name, type="worker-heartbeat", freq=5))[0]
        assert list(asked) == [
            "hostname", "utcoffset", "pid", "clock", "freq", "sw_ident", "sw_ver", "sw_sys", "timestamp", "type"
        ]
        assert not ear.events(uuid=silent.id, type="task-started") and not ear.events(uuid=again.id)
        shown = lambda: control.inspect(destination=[name], timeout=20, limit=1).clock()[name]["clock"]  # noqa: E731
        # Mailboxes have a clock of their own, which catches up: request, receipt, reply, receipt.
        before = control.mailbox.clock.adjust(100_000)
        clock = shown()
        assert control.mailbox.clock.value == before + 4
        # That of the worker moves by one for each request and each event.
        assert asked["clock"] < clock < shown() < 1000
        eventually(lambda: any(event["clock"] > clock for event in ear.events(name, type="worker-heartbeat")))


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_events_can_be_none(redis_site, kind):
    """Without -E, heartbeats and gossip there is nobody to send any, whatever is enabled."""
    name, control = names(kind), redis_site.proj.app.control
    with Ear(redis_site.proj.app) as ear:
        redis_site.worker("-c", "1", "--without-heartbeat", *QUIET, kind=kind)
        for method in ("enable_events", "heartbeat"):
            control.broadcast(method, destination=[name], reply=True, timeout=20, limit=1)
        redis_site.proj.add.delay(1).get(timeout=PATIENCE)
        assert redis_site.workers[0].terminate() == 0
        assert not ear.by(name)


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_what_the_worker_publishes_is_told_of(redis_site, kind):
    """The next link of a chain and a retry, sent by a child or by a native task."""
    site = redis_site
    with Ear(site.proj.app) as ear:
        site.worker("-c", "1", *QUIET, kind=kind, env={"PROJ_SENT": "1"})
        result = (site.proj.native_add.s(1, 2) | site.proj.add.s(3)).apply_async()
        assert result.get(timeout=PATIENCE) == 6
        sent = eventually(lambda: [m for m in list(ear.messages) if m.events[0].get("uuid") == result.id])[0]
    (event,) = sent.events
    assert sent.routing_key == "task.sent" and sent.properties["delivery_mode"] == 1
    assert sent.headers["hostname"] == event["hostname"] and event["hostname"].startswith("gen")
    assert list(event) == [
        "hostname", "utcoffset", "pid", "clock", "uuid", "root_id", "parent_id", "name", "args", "kwargs", "retries", "eta",
        "expires", "queue", "exchange", "routing_key", "timestamp", "type",
    ]
    shown = {key: event[key] for key in ("name", "args", "kwargs", "retries", "eta", "expires", "queue", "routing_key", "type")}
    assert shown == {
        "name": "proj.add", "args": "(3, 3)", "kwargs": "{}", "retries": 0, "eta": None, "expires": None,
        "queue": site.queue, "routing_key": site.queue, "type": "task-sent",
    }


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_what_happens_without_a_broker_is_told_afterwards(redis_server, rabbit_server, tmp_path, kind):
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    name = names(kind)
    with Proxy(rabbit_server.port) as proxy:
        site = Site(rabbit_server.url(), redis_server.url(1), tmp_path)
        site.env["PROJ_BROKER"] = f"amqp://guest:guest@127.0.0.1:{proxy.port}//"
        try:
            with Ear(site.proj.app) as ear:
                worker = site.worker("-E", "-c", "1", "--heartbeat-interval", "1", *QUIET, kind=kind)
                result = site.proj.hold_here.delay(str(log), str(gate))
                eventually(lambda: ear.events(name, uuid=result.id, type="task-started"), "it was not told of")
                proxy.cut(reopen=False)
                eventually(lambda: "Trying to re-establish" in worker.text() or "Cannot connect" in worker.text())
                gate.touch()
                assert result.get(timeout=PATIENCE) == 0
                assert not ear.events(name, uuid=result.id, type="task-succeeded")
                proxy.reopen()
                eventually(lambda: ear.events(name, uuid=result.id, type="task-succeeded"), "it was never told of")
                eventually(lambda: len(ear.events(name, type="worker-online")) == 2, "it did not come back")
                eventually(lambda: ear.events(name)[-1]["type"] == "worker-heartbeat")
                found = [event["type"] for event in ear.events(name) if event["type"] in ("worker-online", "worker-offline")]
                assert found == ["worker-online", "worker-offline", "worker-online"]
        finally:
            site.destroy()


def test_no_event_is_lost_in_a_flood(redis_site):
    count = 3000
    with Ear(redis_site.proj.app) as ear:
        redis_site.worker("-E", "-c", "8", *QUIET, kind="native")
        with redis_site.proj.app.producer_or_acquire() as producer:
            sent = {redis_site.proj.native_add.apply_async((n,), producer=producer, ignore_result=True).id for n in range(count)}
        for kind in ("task-received", "task-started", "task-succeeded"):
            told = lambda k=kind: [event["uuid"] for event in ear.events(type=k)]  # noqa: E731
            eventually(lambda: len(told()) >= count, f"{kind}: too few")
            assert sorted(told()) == sorted(sent)
        assert max(len(message.events) for message in ear.messages) > 1


@pytest.mark.parametrize(
    "options",
    [{"fanout_prefix": False}, {"fanout_prefix": "/mine-{db}."}, {"fanout_patterns": False}, {"global_keyprefix": "mine:"}],
    ids=lambda options: " ".join(options),
)
def test_channels_of_other_names(redis_server, tmp_path, monkeypatch, options):
    """Where broadcasts have other channels Celery's worker, ours and the client still hear each other."""
    monkeypatch.setenv("PROJ_CONF", json.dumps({"broker_transport_options": options}))
    site = Site(redis_server.url(0), redis_server.url(1), tmp_path)
    try:
        with Ear(site.proj.app) as ear:
            theirs = site.worker("-E", "-c", "1", kind="celery")
            ours = site.mingled("-E", "-c", "1", nodes=1, name="ours1@test")
            both = {"celery0@test", "ours1@test"}
            control = site.proj.app.control
            eventually(lambda: {name for reply in control.ping(timeout=2, limit=2) for name in reply} == both, "no pong")
            eventually(lambda: all(ear.events(name, type="worker-heartbeat") for name in both), "no heartbeat")
            assert theirs.terminate() == 0
            result = site.proj.add.delay(1, 2)
            assert result.get(timeout=PATIENCE) == 3
            eventually(lambda: ear.events("ours1@test", type="task-succeeded", uuid=result.id), "no event")
    finally:
        site.destroy()
