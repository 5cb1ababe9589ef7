"""What a queue's own arguments say, and queues of one worker or of all: as under Celery's worker, and beside it."""

from __future__ import annotations

import json

import pytest
from celery.utils.nodenames import worker_direct
from conftest import PATIENCE, Site, eventually
from kombu import Exchange

QUIET = ("-c", "1", "--without-gossip", "--without-mingle")


def with_queues(site: Site, *queues: dict, **conf) -> Site:
    """The client, and workers to come, know these queues beside the site's own."""
    site.env["PROJ_QUEUES"] = json.dumps(list(queues))
    site.env["PROJ_CONF"] = json.dumps(conf)
    site.proj = site.client()
    return site


def received(worker) -> int:
    return worker.text().count("received")


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_a_message_that_is_not_confirmed_is_an_error(rabbit_site, kind):
    """`confirm_publish`: a queue that takes no more tells so."""
    full = {"name": f"{rabbit_site.queue}-full", "queue_arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}}
    options = {"confirm_publish": True}
    site = with_queues(rabbit_site, {"name": rabbit_site.queue}, full, broker_transport_options=options, task_publish_retry=False)
    site.worker(*QUIET, "-Q", site.queue, kind=kind)
    signature = site.proj.add.s(1, 2).set(queue=full["name"])
    assert site.proj.native_send.delay(signature).get(timeout=PATIENCE)
    second = site.proj.native_send.delay(signature)
    with pytest.raises(Exception):  # Each has a class of its own for it.
        second.get(timeout=PATIENCE)
    assert second.state == "FAILURE"


def consumers(server, site: Site) -> list[tuple[str, ...]]:
    rows = server.table("/", "list_consumers", "queue_name", "ack_required", "prefetch_count", "arguments")
    return [row for row in rows if row[0] == site.queue]


@pytest.mark.parametrize(("first", "second"), [("celery", "ours"), ("ours", "celery")])
def test_the_consumer_of_higher_priority_is_served_first(rabbit_site, rabbit_server, first, second):
    site = with_queues(rabbit_site, {"name": rabbit_site.queue})
    low = site.worker(*QUIET, kind=first)
    important = {"name": site.queue, "consumer_arguments": {"x-priority": 10}}
    high = site.worker(*QUIET, kind=second, env={"PROJ_QUEUES": json.dumps([important])})
    assert sorted(row[3] for row in consumers(rabbit_server, site)) == ["[]", '[{"x-priority",10}]']
    assert len({row[1:3] for row in consumers(rabbit_server, site)}) == 1
    results = [site.proj.add.delay(n, n) for n in range(4)]
    assert [result.get(timeout=PATIENCE) for result in results] == [0, 2, 4, 6]
    assert (received(low), received(high)) == (0, 4)


@pytest.mark.parametrize(("first", "second"), [("celery", "ours"), ("ours", "celery")])
def test_a_single_active_consumer_is_followed_by_the_next(rabbit_site, first, second):
    site = with_queues(rabbit_site, {"name": rabbit_site.queue, "queue_arguments": {"x-single-active-consumer": True}})
    active, waiting = site.worker(*QUIET, kind=first), site.worker(*QUIET, kind=second)
    results = [site.proj.add.delay(n, n) for n in range(12)]
    assert [result.get(timeout=PATIENCE) for result in results] == [2 * n for n in range(12)]
    assert (received(active), received(waiting)) == (12, 0)
    assert active.terminate() == 0
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert received(waiting) == 1


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_what_is_urgent_runs_first(rabbit_site, tmp_path, kind):
    log = tmp_path / "runs"
    log.touch()
    site = with_queues(rabbit_site, {"name": rabbit_site.queue}, task_queue_max_priority=10)
    task = site.proj.native_hold if kind == "native" else site.proj.hold_here
    sent = {priority: task.apply_async((str(log), str(log)), priority=priority) for priority in (1, 9, 5, 0, 7)}
    site.worker(*QUIET, kind=kind, env={"PROJ_PREFETCH": "1"})
    for result in sent.values():
        assert result.get(timeout=PATIENCE) == 0
    assert log.read_text().split() == [sent[priority].id for priority in (9, 7, 5, 1, 0)]


def test_a_workers_own_queue(broker_site):
    site = with_queues(broker_site, {"name": broker_site.queue}, worker_direct=True)
    workers = {kind: site.worker(*QUIET, kind=kind, name=f"{kind}@test") for kind in ("celery", "ours", "native")}
    for count, kind in enumerate(workers, 1):
        results = [site.proj.native_add.apply_async((n, n), queue=worker_direct(f"{kind}@test")) for n in range(count)]
        assert [result.get(timeout=PATIENCE) for result in results] == [2 * n for n in range(count)]
    eventually(lambda: [received(worker) for worker in workers.values()] == [1, 2, 3], "others have had them too")


def test_a_broadcast_runs_once_on_each(broker_site, tmp_path):
    log = tmp_path / "runs"
    log.touch()
    name = f"{broker_site.queue}-news"
    site = with_queues(broker_site, {"name": broker_site.queue}, {"broadcast": name})
    workers = [site.worker(*QUIET, kind=kind) for kind in ("celery", "ours", "native")]
    # Celery declares nothing for a broadcast, and kombu's Redis does not know then what kind of exchange that is.
    options = {"queue": name, "declare": [Exchange(name, "fanout")]}
    sent = [site.proj.native_hold.apply_async((str(log), str(log)), **options).id for _ in range(2)]
    eventually(lambda: sorted(log.read_text().split()) == sorted(sent * 3), "not once on each")
    assert [received(worker) for worker in workers] == [2, 2, 2]
    # What is for one of them is run by one of them.
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert sum(received(worker) for worker in workers) == 7
    assert [worker.terminate() for worker in workers] == [0, 0, 0]
