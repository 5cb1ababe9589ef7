"""`-P gevent` and `-P eventlet`: a child in which every task has a greenlet of its own."""

import os
import signal
import subprocess
import sys
import uuid

import pytest
import redis as redis_py
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded
from conftest import PATIENCE, TESTS, eventually

POOLS = ["gevent", "eventlet"]


def held(site, log, gate, task="hold_here", **options):
    """A task that runs until its gate is there; it has begun."""
    log.touch()
    result = getattr(site.proj, task).apply_async((str(log), str(gate)), **options)
    eventually(lambda: result.id in log.read_text(), "it did not begin")
    return result


@pytest.mark.parametrize("pool", POOLS)
def test_a_hundred_tasks_run_at_once(site, pool):
    worker = site.worker("-P", pool, "-c", "100")
    meeting = [site.proj.meet.delay("here", 100) for _ in range(100)]
    assert len({result.get(timeout=PATIENCE) for result in meeting}) == 1
    proj, add = site.proj, site.proj.add
    several = [add.delay(n, n) for n in range(50)]
    assert [result.get(timeout=PATIENCE) for result in several] == [2 * n for n in range(50)]
    for serializer in ("json", "msgpack", "yaml", "pickle"):
        assert add.apply_async((2, 3), serializer=serializer).get(timeout=PATIENCE) == 5
    assert proj.retry.delay("k").get(timeout=PATIENCE) == 2
    assert proj.state.delay().get(timeout=PATIENCE) == "done"
    failed = proj.fail.delay("no luck")
    with pytest.raises(ValueError, match="no luck"):
        failed.get(timeout=PATIENCE)
    assert "in fail" in failed.traceback
    assert chain(add.s(1, 2), add.s(3))().get(timeout=PATIENCE) == 6
    assert group(add.s(1, 1), add.s(2, 2)).apply_async().get(timeout=PATIENCE) == [2, 4]
    if site.backend.startswith("redis"):
        assert chord([add.s(n, n) for n in range(5)])(proj.total.s()).get(timeout=PATIENCE) == 20
    assert worker.terminate() == 0, worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
@pytest.mark.parametrize("pool", POOLS)
def test_what_the_pool_tells_of_itself(redis_site, tmp_path, pool, kind):
    hooks = tmp_path / "hooks"
    worker = redis_site.worker("-P", pool, "-c", "3", kind=kind, env={"PROJ_HOOKS": str(hooks)})
    # What ran before the fork runs on behind it, and so does what the library had set up.
    assert redis_site.proj.app.send_task("proj.beats", (3,)).get(timeout=PATIENCE) is True
    control = redis_site.proj.app.control
    name = f"{kind}0@test"
    stats = lambda: control.inspect(destination=[name], timeout=20).stats()[name]  # noqa: E731
    told = stats()["pool"]
    free = {"free-threads": 3, "running-threads": 0} if pool == "eventlet" else {}
    assert told == {"implementation": f"celery.concurrency.{pool}:TaskPool", "max-concurrency": 3, **free}
    assert stats()["prefetch_count"] == 12
    control.pool_grow(2, destination=[name], reply=True, timeout=20, limit=1)
    eventually(lambda: stats()["prefetch_count"] == 14 or stats()["prefetch_count"] == 20, "the window did not grow")
    meeting = [redis_site.proj.meet.delay("here", 5) for _ in range(5)]
    assert len({result.get(timeout=PATIENCE) for result in meeting}) == 1
    control.pool_shrink(4, destination=[name], reply=True, timeout=20, limit=1)
    assert redis_site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert worker.terminate() == 0
    lines = hooks.read_text().splitlines()
    assert lines[0].startswith("worker_init ")
    applied = ["proj.beats", *["proj.meet"] * 5, "proj.add"]
    of_eventlet = [
        "eventlet_pool_started eventlet",
        *[f"eventlet_pool_apply eventlet {task}" for task in applied],
        "eventlet_pool_preshutdown eventlet",
        "eventlet_pool_postshutdown eventlet",
    ]
    assert lines[1:] == (of_eventlet if pool == "eventlet" else [])


@pytest.mark.parametrize("pool", POOLS)
def test_a_greenlet_is_killed_alone(redis_site, redis_server, tmp_path, pool):
    worker = redis_site.worker("-P", pool, "-c", "4", env={"PROJ_ACKS_LATE": "1"})
    gate, log = tmp_path / "gate", tmp_path / "runs"
    stays = held(redis_site, log, gate)
    goes = held(redis_site, log, gate, "hold_tidily")
    redis_site.proj.app.control.revoke(goes.id, terminate=True)
    with pytest.raises(TaskRevokedError, match="terminated"):
        goes.get(timeout=PATIENCE)
    assert log.read_text().splitlines() == [stays.id, goes.id, "tidied up"]
    assert f"Terminating {goes.id}" in worker.text()
    # Nor does a task that leaves take the others with it.
    from billiard.exceptions import WorkerLostError

    with pytest.raises(WorkerLostError, match=r"SystemExit\(3\)"):
        redis_site.proj.leave.delay(3).get(timeout=PATIENCE)
    gate.touch()
    assert stays.get(timeout=PATIENCE) == 0
    assert worker.terminate() == 0
    assert redis_py.Redis(port=redis_server.port).hlen("unacked") == 0


@pytest.mark.parametrize("kind", ["celery", "ours"])
@pytest.mark.parametrize("pool", POOLS)
def test_time_limits(redis_site, tmp_path, pool, kind):
    """gevent knows hard ones, eventlet none at all."""
    worker = redis_site.worker("-P", pool, "-c", "4", kind=kind)
    gate, log = tmp_path / "gate", tmp_path / "runs"
    unlimited = held(redis_site, log, gate)
    soft = held(redis_site, log, gate, soft_time_limit=0.01)
    hard = held(redis_site, log, gate, "hold_tidily", time_limit=2)
    if pool == "gevent":
        with pytest.raises(TimeLimitExceeded, match="2"):
            hard.get(timeout=PATIENCE)
        assert log.read_text().splitlines()[-1] == "tidied up"
        line = f"Hard time limit (2s) exceeded for proj.hold_tidily[{hard.id}]"
        eventually(lambda: line in worker.text(), "no line")
    assert redis_site.proj.add.apply_async((1, 2), time_limit=30).get(timeout=PATIENCE) == 3
    gate.touch()
    assert soft.get(timeout=PATIENCE) == unlimited.get(timeout=PATIENCE) == 0
    if pool == "eventlet":
        assert hard.get(timeout=PATIENCE) == 0


@pytest.mark.parametrize("pool", POOLS)
def test_shutdowns(redis_site, redis_server, tmp_path, pool):
    client = redis_py.Redis(port=redis_server.port)
    gate, log = tmp_path / "gate", tmp_path / "runs"
    worker = redis_site.worker("-P", pool, "-c", "2", env={"PROJ_ACKS_LATE": "1"})
    runs = [held(redis_site, log, gate) for _ in range(2)]
    waits = [redis_site.proj.add.delay(n) for n in range(3)]
    eventually(lambda: worker.text().count("proj.add[") == 3, "not all were received")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text(), "no word of the warm shutdown")
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    assert [result.get(timeout=PATIENCE) for result in runs] == [0, 0]
    assert (client.llen(redis_site.queue), client.hlen("unacked")) == (3, 0)

    gate.unlink()
    worker = redis_site.worker("-P", pool, "-c", "2", env={"PROJ_ACKS_LATE": "1"})
    assert [result.get(timeout=PATIENCE) for result in waits] == [1, 2, 3]
    held(redis_site, log, gate)
    worker.process.send_signal(signal.SIGINT)
    eventually(lambda: "Warm shutdown" in worker.text(), "no word of the warm shutdown")
    worker.process.send_signal(signal.SIGINT)
    worker.process.wait(PATIENCE)
    assert (client.llen(redis_site.queue), client.hlen("unacked")) == (1, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_a_library_that_is_not_there(redis_site, tmp_path, pool):
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / f"{pool}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{pool}'\", name='{pool}')\n")
    env = {**redis_site.env, "PYTHONPATH": str(missing)}
    ends = []
    for program in ([sys.executable, "-m", "celery"], [os.environ["CELERY_RS_BIN"]]):
        command = [*program, "-A", "e2e_app", "worker", "-P", pool]
        ended = subprocess.run(command, env=env, cwd=TESTS / "apps", capture_output=True, text=True, timeout=PATIENCE)
        ends.append((ended.returncode, ended.stderr.splitlines()[-1]))
    assert ends[0] == ends[1] == (1, f"ModuleNotFoundError: No module named '{pool}'")


def test_a_pool_of_the_settings_patches_nothing(redis_site):
    """And the worker says so in Celery's words. Celery's own does not even answer remote control then."""
    worker = redis_site.worker("-c", "2", env={"PROJ_POOL": "gevent"})
    text = worker.text()
    assert "(gevent)" in text and "instead you *must use the -P* argument" in text
    assert redis_site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2
    assert worker.terminate() == 0
