"""How many children there are, and which: autoscale, recycling by memory, children that are slow, the pool by remote control."""

from __future__ import annotations

import os
import re

import pytest
from conftest import PATIENCE, eventually
from test_control import Pair

#: Seconds of quiet before there are fewer children.
KEEPALIVE = {"AUTOSCALE_KEEPALIVE": "0.5"}


@pytest.fixture
def scaling(redis_site):
    return Pair(redis_site, "--autoscale=3,1", env=KEEPALIVE)


def stats(pair, part: str) -> dict:
    return {kind: reply[part] for kind, reply in pair.ask("stats").items()}


def scaled(pair, **expected) -> bool:
    return all(
        {name: info[name] for name in expected} == expected for info in stats(pair, "autoscaler").values()
    )


def hold(pair, tmp_path, count: int):
    """So many tasks on each worker that run until the gate is there."""
    gate = tmp_path / "gate"
    for queue in pair.queues.values():
        for _ in range(count):
            pair.site.proj.hold_here.apply_async((str(tmp_path / "runs"), str(gate)), queue=queue)
    return gate


def test_children_come_with_the_tasks_and_go_after_them(scaling, tmp_path):
    pair = scaling
    pair.alike("stats")
    assert scaled(pair, max=3, min=1, current=1, qty=0)
    assert stats(pair, "prefetch_count") == {"celery": 12, "ours": 12}
    gate = hold(pair, tmp_path, 5)
    eventually(lambda: scaled(pair, max=3, min=1, current=3, qty=5))
    assert all(len(info["processes"]) == 3 for info in stats(pair, "pool").values())
    for method, argument in ("pool_grow", {"n": 1}), ("pool_shrink", {"n": 1}):
        pair.same(method, argument)
    gate.touch()
    eventually(lambda: scaled(pair, current=1, qty=0))
    eventually(lambda: all(len(info["processes"]) == 1 for info in stats(pair, "pool").values()))
    for worker in pair.workers.values():
        assert "INFO/MainProcess] Scaling up 1 processes." in worker.text()
        assert re.search(r"INFO/MainProcess\] Scaling down \d processes\.", worker.text())
        assert "concurrency: {min=1, max=3} (prefork)" in worker.text()


def test_the_range_is_changed_by_remote_control(scaling, tmp_path):
    pair = scaling
    pair.same("autoscale", {"max": 5, "min": 2})
    assert scaled(pair, max=5, min=2, current=2)
    assert stats(pair, "prefetch_count") == {"celery": 20, "ours": 20}
    pair.same("autoscale", {"max": 1})
    assert scaled(pair, max=1, min=2, current=1)
    assert stats(pair, "prefetch_count") == {"celery": 4, "ours": 4}
    pair.same("autoscale", {"min": 2})
    assert scaled(pair, max=1, min=2, current=2)
    pair.same("autoscale", {"x": 1})
    pair.same("autoscale")


def test_a_pool_may_start_with_no_child(redis_site):
    worker = redis_site.worker("--autoscale=2", env=KEEPALIVE)
    assert "concurrency: {min=0, max=2} (prefork)" in worker.text()
    for number in range(2):
        assert redis_site.proj.add.delay(number).get(timeout=PATIENCE) == number + 1
        eventually(lambda count=number + 1: worker.text().count("Scaling down 1 processes.") == count)
    assert worker.terminate() == 0


def test_a_pool_shrinks_by_its_idle_children(redis_site, tmp_path):
    pair = Pair(redis_site)
    gate = hold(pair, tmp_path, 2)
    active = lambda: pair.ask("active").values()  # noqa: E731
    eventually(lambda: all(len(reply) == 2 for reply in active()))
    # All are busy.
    pair.same("pool_shrink", {"n": 1})
    assert all(len(info["processes"]) == 2 for info in stats(pair, "pool").values())
    pair.same("pool_grow", {"n": 2})
    eventually(lambda: all(len(info["processes"]) == 4 for info in stats(pair, "pool").values()))
    assert stats(pair, "prefetch_count") == {"celery": 16, "ours": 16}
    # A child of Celery's that is told to end before it has begun does not: the new ones have had a task each.
    (tmp_path / "more").mkdir()
    more = hold(pair, tmp_path / "more", 2)
    eventually(lambda: all(len(reply) == 4 for reply in active()))
    more.touch()
    eventually(lambda: all(len(reply) == 2 for reply in active()))
    # Too few are idle: those go.
    pair.same("pool_shrink", {"n": 3})
    eventually(lambda: all(len(info["processes"]) == 2 for info in stats(pair, "pool").values()))
    gate.touch()
    eventually(lambda: not any(active()))
    pair.same("pool_shrink", {"n": 1})
    eventually(lambda: all(len(info["processes"]) == 1 for info in stats(pair, "pool").values()))


def test_children_that_grow_while_they_are_idle_are_replaced(redis_site):
    """Celery looks after each task only, which is what its line tells; it is shown with `MP_LOG` only."""
    line = r"WARNING/ForkPoolWorker-\d+\] child process exiting after exceeding memory limit \(\d+KiB / {}KiB\)"
    for kind in "celery", "ours":
        worker = redis_site.worker("-c", "1", "--max-memory-per-child", "1", env={"MP_LOG": "1"}, kind=kind)
        redis_site.proj.pid.delay().get(timeout=PATIENCE)
        eventually(lambda: re.search(line.format(1), worker.text()))
        assert worker.terminate() == 0
    worker = redis_site.worker("-c", "1", "--max-memory-per-child", "200000", env={"MP_LOG": "1"})
    before = redis_site.proj.grow_later.delay(200).get(timeout=PATIENCE)
    eventually(lambda: re.search(line.format(200000), worker.text()))
    assert redis_site.proj.pid.delay().get(timeout=PATIENCE) != before


def test_what_tasks_leave_behind_does_not_stay_as_zombies(redis_site):
    """Processes whose parent has ended are the worker's to wait for: their numbers are free again."""
    worker = redis_site.worker("-c", "1")
    left = [redis_site.proj.leave_behind.delay().get(timeout=PATIENCE) for _ in range(3)]
    for pid in left:
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), f"{pid} stays")  # noqa: B023
    assert worker.terminate() == 0


def test_a_child_that_does_not_come_up_in_time_is_killed(redis_site, tmp_path):
    """Only the first one is slow."""
    env = {"PROJ_SLOW_CHILD": str(tmp_path / "slow")}
    worker = redis_site.worker("-c", "1", "worker.proc_alive_timeout=0.5", env=env)
    assert redis_site.proj.add.delay(1).get(timeout=PATIENCE) == 2
    assert (
        "ERROR/MainProcess] Timed out waiting for UP message from <ForkProcess(ForkPoolWorker-1, started daemon)>"
        in worker.text()
    )
    assert (tmp_path / "slow").exists()


def test_autoscale_that_cannot_be_done_is_refused(redis_site):
    for options in ("-P", "threads"), ("-P", "solo"):
        worker = redis_site.worker("--autoscale=3,1", *options, ready=False)
        assert worker.process.wait(PATIENCE) == 2
        assert "--autoscale works with the prefork pool only" in worker.text()
    worker = redis_site.worker("--autoscale=3,1", "worker.autoscaler=proj:Own")
    assert worker.text().count("a custom autoscaler cannot run outside Python") == 1
