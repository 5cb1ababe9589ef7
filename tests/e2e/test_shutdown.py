"""Signals: what a warm and a cold shutdown finish, give back, and exit with."""

import os
import signal

import pytest
import redis as redis_py
from celery import chain
from conftest import PATIENCE, eventually, given_to_a_stopped_child


def test_warm_shutdown_finishes_what_runs_and_gives_back_the_rest(redis_site, redis_server, tmp_path):
    worker = redis_site.worker("-c", "1")
    log = tmp_path / "runs"
    log.touch()
    results = [redis_site.proj.mark_early.delay(str(log), 0.5) for _ in range(6)]
    eventually(lambda: log.read_text(), "nothing began")
    assert worker.terminate() == 0
    begun = len(log.read_text().split())
    client = redis_py.Redis(port=redis_server.port)
    assert client.llen(redis_site.queue) == 6 - begun
    assert client.hlen("unacked") == 0
    assert sum(result.ready() for result in results) == begun
    redis_site.worker("-c", "1")
    for result in results:
        assert result.get(timeout=PATIENCE) == result.id


def test_warm_shutdown_takes_back_what_a_child_has_not_begun(redis_site, redis_server, tmp_path):
    worker = redis_site.worker("-c", "1")
    log = tmp_path / "runs"
    child, result = given_to_a_stopped_child(redis_site, worker, log)
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text(), "no word of the warm shutdown")
    # It says so before it has asked for what is with the child.
    eventually(worker.idle, "it does not come to rest")
    os.kill(child, signal.SIGCONT)
    assert worker.process.wait(PATIENCE) == 0
    assert log.read_text() == ""
    assert redis_py.Redis(port=redis_server.port).llen(redis_site.queue) == 1


def test_second_interrupt_is_cold(redis_site, tmp_path):
    worker = redis_site.worker("-c", "1")
    log = tmp_path / "runs"
    log.touch()
    redis_site.proj.mark.delay(str(log), 600)
    eventually(lambda: log.read_text(), "nothing began")
    worker.process.send_signal(signal.SIGINT)
    eventually(lambda: "Warm shutdown" in worker.text(), "no word of the warm shutdown")
    worker.process.send_signal(signal.SIGINT)
    worker.process.wait(PATIENCE)
    assert "terminate all running tasks!" in worker.text()


def test_third_interrupt_cuts_the_soft_shutdown_short(redis_site, tmp_path):
    worker = redis_site.worker("-c", "1", "worker.soft_shutdown_timeout=600")
    log = tmp_path / "runs"
    log.touch()
    redis_site.proj.mark.delay(str(log), 600)
    eventually(lambda: log.read_text(), "nothing began")
    for words in ("Warm shutdown", "terminate all running tasks!", "Waiting gracefully for cold shutdown"):
        worker.process.send_signal(signal.SIGINT)
        eventually(lambda: words in worker.text(), f"it did not say: {words}")  # noqa: B023
    worker.process.wait(PATIENCE)


def test_children_end_with_their_parent(redis_site):
    worker = redis_site.worker("-c", "2")
    child = redis_site.proj.pid.delay().get(timeout=PATIENCE)
    worker.kill()

    def gone():
        try:
            with open(f"/proc/{child}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    eventually(gone, "a child outlived its parent")


@pytest.mark.parametrize("kind", ["ours", "native"])
@pytest.mark.parametrize("task", ["native_hold", "native_hold_and_retry"])
def test_tasks_publish_during_a_warm_shutdown(broker_site, tmp_path, kind, task):
    """What follows a task that ends while the worker stops is not lost: the next link of its chain, its retry."""
    site = broker_site
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = site.worker("-c", "1", kind=kind)
    result = chain(getattr(site.proj, task).s(str(log), str(gate)), site.proj.add.s(5)).apply_async()
    eventually(lambda: log.read_text(), "it did not begin")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text(), "no word of the warm shutdown")
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    assert waiting(site) == 1
    site.worker("-c", "1", kind=kind)
    assert result.get(timeout=PATIENCE) == 5 + (task == "native_hold_and_retry")


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_cold_shutdown_gives_back_late_acks(broker_site, tmp_path, kind):
    site = broker_site
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    late = {"PROJ_ACKS_LATE": "1"}
    worker = site.worker("-c", "1", kind=kind, env=late)
    result = site.proj.native_hold.delay(str(log), str(gate))
    eventually(lambda: log.read_text(), "it did not begin")
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(PATIENCE)
    assert waiting(site) == 1
    gate.touch()
    site.worker("-c", "1", kind=kind, env=late)
    assert result.get(timeout=PATIENCE) == 0
    assert log.read_text().split() == [result.id] * 2


def waiting(site):
    """How many messages wait in the queue; none of them is held by anyone."""
    with site.proj.app.connection_for_read() as connection:
        channel = connection.default_channel
        return channel.queue_declare(site.queue, passive=True).message_count
