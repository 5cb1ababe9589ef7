"""Quorum queues on RabbitMQ, with the delayed delivery that comes with them: as under Celery's worker."""

from __future__ import annotations

import datetime
import json
import re

import pytest
from conftest import PATIENCE, Site, eventually

#: Quorum queues on topic exchanges: what native delayed delivery is for.
QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_create_missing_queue_type": "quorum",
    "task_create_missing_queue_exchange_type": "topic",
}
QUIET = ("-c", "1", "--without-gossip", "--without-mingle")
QUORUM_QUEUE = {"x-queue-type": "quorum"}


@pytest.fixture
def quorum_site(redis_server, rabbit_server, tmp_path):
    """Makes sites, each on an empty virtual host."""
    made = []

    def make(conf: dict = QUORUM, queues: list | None = None) -> Site:
        vhost = f"{tmp_path.name}{len(made)}"
        site = Site(rabbit_server.add_vhost(vhost), redis_server.url(1), tmp_path / vhost)
        site.directory.mkdir()
        site.vhost, site.queue = vhost, "shop"
        site.env |= {"PROJ_QUEUE": "shop", "PROJ_CONF": json.dumps(conf)}
        if queues:
            site.env["PROJ_QUEUES"] = json.dumps(queues)
        site.proj = site.client()
        made.append(site)
        return site

    yield make
    for site in made:
        site.destroy()


def in_order(row: tuple[str, ...]) -> tuple[str, ...]:
    """A table's entries come in the order in which they were sent, which means nothing."""
    *fields, arguments = row
    return (*fields, *sorted(re.findall(r"\{[^{}]*\}", arguments)))


def topology(server, site: Site) -> dict[str, list]:
    """All but what the client's own questions have left."""
    found = server.topology(site.vhost)
    ours = lambda row: "reply.celery.pidbox" not in "".join(row)  # noqa: E731
    return {kind: sorted(in_order(row) for row in rows if ours(row)) for kind, rows in found.items()}


def delayed_messages(site: Site, level: int) -> int:
    with site.proj.app.connection_for_write() as connection:
        return connection.default_channel.queue_declare(f"celery_delayed_{level}", passive=True).message_count


def ran_in_time(run) -> bool:
    began, eta = run
    return began >= datetime.datetime.fromisoformat(eta).timestamp()


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_delays_are_declared_and_bound_as_by_celery(quorum_site, rabbit_server, queue_type):
    """Also for a queue that is not consumed, and not for a broadcast, nor for a direct exchange."""
    queues = [
        {"name": "shop", "exchange": ["shop", "topic"], "routing_key": "shop.#", "queue_arguments": QUORUM_QUEUE},
        {"name": "all", "exchange": ["all", "topic"], "routing_key": "#", "queue_arguments": QUORUM_QUEUE},
        {"name": "fan", "exchange": ["fan", "fanout"], "routing_key": "fan"},
        {"name": "many", "bindings": [["shop", "topic", "many.*"], ["direct", "direct", "many"]]},
        {"name": "direct", "exchange": ["direct", "direct"], "routing_key": "direct"},
        {"name": "idle", "exchange": ["idle", "topic"], "routing_key": "idle"},
        {"broadcast": "news", "queue": "news.w"},
    ]
    conf = {"broker_native_delayed_delivery_queue_type": queue_type}
    found, warned = {}, {}
    for kind in ("celery", "ours"):
        site = quorum_site(conf, queues)
        with site.proj.app.connection_for_write() as connection:
            site.proj.app.amqp.queues["idle"](connection.default_channel).declare()
        worker = site.worker(*QUIET, "-Q", "shop,all,fan,many,direct,news", kind=kind, name="w@test")
        assert "Global QoS is disabled. Prefetch count is now static." in worker.text()
        warned[kind] = re.findall(r"WARNING/MainProcess\] (Exchange .*\n.*)", worker.text())
        assert worker.terminate() == 0
        found[kind] = topology(rabbit_server, site)
    assert found["ours"] == found["celery"]
    assert warned["ours"] == warned["celery"] and "Exchange direct is a direct exchange" in warned["ours"][0]
    bound = {row[1] for row in found["ours"]["bindings"] if row[0] == "celery_delayed_delivery"}
    assert bound == {"shop", "all", "fan", "idle"}
    assert sum(row[0].startswith("celery_delayed_") for row in found["ours"]["queues"]) == 28


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_delayed_tasks_wait_in_the_broker(quorum_site, kind):
    """No Python worker has ever been there. One that is sent ahead, and those that try again later."""
    site = quorum_site()
    worker = site.worker(*QUIET, kind=kind)
    when, retry_in = site.proj.when, site.proj.retry_in
    if kind == "native":
        when, retry_in = site.proj.native_when, site.proj.native_retry_in
    in_an_hour = [when.apply_async(countdown=3600), retry_in.delay(3600)]
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    sent = [when.apply_async(countdown=2), when.apply_async(eta=soon), retry_in.delay(2)]
    assert all(ran_in_time(result.get(timeout=PATIENCE)) for result in sent)
    eventually(lambda: delayed_messages(site, 11) == 2, "they do not wait in the broker")
    inspect = site.proj.app.control.inspect(destination=[f"{kind}0@test"], timeout=20, limit=1)
    assert list(inspect.scheduled().values()) == [[]]
    assert [worker.text().count(f"[{result.id}] received") for result in in_an_hour] == [0, 1]


FAILURES = [
    r"ERROR/MainProcess\] (Failed to bind queue 'gone'): .*NOT_FOUND",
    r"WARNING/MainProcess\] (Failed to bind queues for '[^']*': One or more failures .*)",
    r"WARNING/MainProcess\] (Failed to setup delayed delivery for '[^']*': One or more failures .*)",
    r"CRITICAL/MainProcess\] (Failed to setup delayed delivery for all broker URLs\. .*)",
]


def test_without_delays_the_worker_goes_on(quorum_site):
    """A queue that is known, and does not exist."""
    queues = [
        {"name": "gone", "exchange": ["gone", "topic"], "routing_key": "gone"},
        {"name": "shop", "exchange": ["shop", "topic"], "routing_key": "shop", "queue_arguments": QUORUM_QUEUE},
    ]
    told = {}
    for kind in ("celery", "ours"):
        site = quorum_site({}, queues)
        worker = site.worker(*QUIET, "-Q", "shop", kind=kind)
        lines = [re.search(pattern, worker.text()) for pattern in FAILURES]
        assert all(lines), worker.text()
        told[kind] = [line[1].replace(site.vhost, "VHOST") for line in lines]
        # The other queue has been bound.
        assert ran_in_time(site.proj.when.apply_async(countdown=1).get(timeout=PATIENCE))
    assert told["ours"] == told["celery"]


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_delays_that_exist_and_are_different(quorum_site, kind):
    site = quorum_site()
    with site.proj.app.connection_for_write() as connection:
        connection.default_channel.queue_declare("celery_delayed_3", durable=True, auto_delete=False)
    worker = site.worker(*QUIET, kind=kind)
    assert re.search(r"Failed to declare exchanges and queues for '[^']*': .*PRECONDITION_FAILED", worker.text())
    assert "Native delayed delivery will not be available." in worker.text()
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3


def ready(site: Site) -> int:
    with site.proj.app.connection_for_write() as connection:
        return connection.default_channel.queue_declare(site.queue, passive=True).message_count


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_the_window_is_the_consumers_own(quorum_site, tmp_path, kind):
    """What waits for its time on a direct exchange takes places, and no others are made for it."""
    site = quorum_site({"task_default_queue_type": "quorum"})
    worker = site.worker(*QUIET, kind=kind)
    inspect = site.proj.app.control.inspect(destination=[f"{kind}0@test"], timeout=20, limit=1)
    held = [site.proj.when.apply_async(countdown=3600) for _ in range(3)]
    eventually(lambda: worker.text().count("received") == 3, "they were not received")
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    held += [site.proj.when.apply_async(countdown=3600) for _ in range(2)]
    eventually(lambda: ready(site) == 1 and len(list(inspect.scheduled().values())[0]) == 4, "not as many as there are places")
    # Celery counts one more for each, but the server is not told.
    assert list(inspect.stats().values())[0]["prefetch_count"] == 4 + 4
    assert held[-1].id not in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_quorum_queues_that_are_not_looked_for(quorum_site, kind):
    """The server has no shared windows for them."""
    site = quorum_site({"task_default_queue_type": "quorum", "worker_detect_quorum_queues": False})
    worker = site.worker(*QUIET, kind=kind, ready=False)
    eventually(lambda: "NOT_IMPLEMENTED" in worker.text(), "it was not refused")
    assert "Global QoS is disabled" not in worker.text()


def test_killed_workers_lose_nothing_of_a_quorum_queue(quorum_site, tmp_path):
    site, log = quorum_site(), tmp_path / "runs"
    log.touch()
    first = site.worker("-c", "2", *QUIET[2:])
    results = [site.proj.mark.delay(str(log), 0.02) for _ in range(60)]
    eventually(lambda: len(log.read_text().split()) > 10, "it did not begin")
    first.destroy()
    site.worker("-c", "2", *QUIET[2:])
    assert [result.get(timeout=PATIENCE) for result in results] == [result.id for result in results]
    eventually(lambda: ready(site) == 0)


CONFS = {
    "default": {"task_default_queue_type": "quorum"},
    "missing": {"task_create_missing_queue_type": "quorum", "task_create_missing_queue_exchange_type": "fanout"},
    "priority": {"task_create_missing_queue_type": "classic", "task_queue_max_priority": 9, "worker_direct": True},
}


@pytest.mark.parametrize("conf", CONFS)
def test_queues_are_those_of_celery(quorum_site, rabbit_server, conf):
    found = {}
    for kind in ("celery", "ours"):
        site = quorum_site(CONFS[conf] | {"broker_native_delayed_delivery_queue_type": "classic"})
        worker = site.worker(*QUIET, "-Q", "shop,other", kind=kind, name="w@test")
        assert worker.terminate() == 0
        found[kind] = topology(rabbit_server, site)
    assert found["ours"] == found["celery"]
    assert {"shop", "other"} <= {row[0] for row in found["ours"]["queues"]}
