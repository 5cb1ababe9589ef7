"""kill -9, restarts and a full Redis: no acknowledged-late or not-yet-started task is ever lost."""

import random
import time

import pytest
import redis as redis_py
from conftest import PATIENCE, Site, eventually

from brokers import Redis

TASKS = 300


def kill_often(site, worker, results, log, kills):
    """Kills the worker at random moments under load, starts another each time, until every task has its result."""
    rng = random.Random(11)
    for _ in range(kills):
        target = min(TASKS - 1, len(log.read_text().split()) + rng.randrange(5, 40))
        eventually(lambda: len(set(log.read_text().split())) >= target, "no progress")
        worker.kill()
        worker.start()
    for result in results:
        assert result.get(timeout=PATIENCE) == result.id


def test_kill_with_late_acks_on_redis(redis_site, tmp_path):
    env = {"PROJ_VISIBILITY": "2", "PROJ_ACKS_LATE": "1"}
    worker = redis_site.worker("-c", "2", env=env)
    log = tmp_path / "runs"
    log.touch()
    results = [redis_site.proj.mark.delay(str(log), 0.01) for _ in range(TASKS)]
    kill_often(redis_site, worker, results, log, 4)


def test_kill_with_late_acks_on_rabbitmq(rabbit_site, tmp_path):
    worker = rabbit_site.worker("-c", "2", env={"PROJ_ACKS_LATE": "1"})
    log = tmp_path / "runs"
    log.touch()
    results = [rabbit_site.proj.mark.delay(str(log), 0.01) for _ in range(TASKS)]
    kill_often(rabbit_site, worker, results, log, 4)


@pytest.mark.parametrize("which", ["redis", "rabbit"])
def test_kill_with_early_acks_loses_nothing_that_had_not_started(which, request, tmp_path):
    site = request.getfixturevalue(f"{which}_site")
    worker = site.worker("-c", "2", env={"PROJ_VISIBILITY": "2"})
    log = tmp_path / "runs"
    log.touch()
    results = [site.proj.mark_early.delay(str(log), 0.01) for _ in range(TASKS)]
    eventually(lambda: len(log.read_text().split()) > 50, "no progress")
    worker.kill()
    worker.start()
    eventually(lambda: len(set(log.read_text().split())) == TASKS, "a task that had not started was lost")
    missing = [result for result in results if not result.ready()]
    eventually(lambda: sum(not result.ready() for result in missing) <= 2, "more lost than could have been running")


def test_full_redis(tmp_path):
    """Redis at maxmemory refuses writes: the worker waits, and every task ends with a result once there is room."""
    with Redis() as server:
        site = Site(server.url(0), server.url(1), tmp_path)
        client = redis_py.Redis(port=server.port)
        try:
            log = tmp_path / "runs"
            log.touch()
            results = [site.proj.mark.delay(str(log), 0.005) for _ in range(TASKS)]
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1mb")
            worker = site.worker("-c", "2", env={"PROJ_VISIBILITY": "2"}, ready=False)
            eventually(lambda: "OOM" in worker.text() or len(log.read_text()) > 0, "the worker met no full Redis")
            worker.kill()
            worker.start()
            client.config_set("maxmemory", "0")
            for result in results:
                assert result.get(timeout=PATIENCE) == result.id
            eventually(lambda: client.hlen("unacked") == 0, "entries left in unacked")
        finally:
            site.destroy()


def test_broker_restart(redis_site, tmp_path):
    """The worker outlives its broker, and says so; what runs goes on, and broadcasts reach it again."""
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    with Redis() as server:
        site = Site(server.url(0), redis_site.backend, tmp_path)
        try:
            worker = site.worker("-c", "2")
            control = site.proj.app.control
            running = site.proj.hold_here.delay(str(log), str(gate))
            assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
            eventually(lambda: log.read_text(), "it did not begin")
            server.process.kill()
            server.process.wait()
            eventually(lambda: "Connection to broker lost" in worker.text(), "the loss went unnoticed")
            server.start()
            eventually(lambda: worker.text().count("Connected to") == 2, "it never came back")
            assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
            eventually(lambda: control.ping(timeout=2, limit=1) == [{"ours0@test": {"ok": "pong"}}], "it hears no broadcast")
            gate.touch()
            assert running.get(timeout=PATIENCE) == 0
            assert log.read_text().split() == [running.id]
        finally:
            site.destroy()
