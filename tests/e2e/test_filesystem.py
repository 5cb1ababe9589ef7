"""The broker that needs no server: folders that Celery's worker, its clients and ours share."""

import datetime
import json
import os
import signal
import sys

import pytest
from celery.exceptions import TaskRevokedError

from conftest import PATIENCE, TESTS, Site, eventually
from ear import Ear
from workers import Worker, runs


@pytest.fixture
def folder_site(redis_server, tmp_path):
    folders = {name: tmp_path / name for name in ("queues", "control")}
    folders["queues"].mkdir()
    options = {
        "data_folder_in": str(folders["queues"]), "data_folder_out": str(folders["queues"]),
        "control_folder": str(folders["control"]), "polling_interval": 0.05,
    }
    conf = {"broker_transport_options": options}
    os.environ["PROJ_CONF"] = json.dumps(conf)
    try:
        found = Site("filesystem://", redis_server.url(1), tmp_path)
    finally:
        del os.environ["PROJ_CONF"]
    found.env["PROJ_CONF"] = json.dumps(conf)
    found.queues, found.control = folders["queues"], folders["control"]
    yield found
    found.destroy()


def shared(site, names: list[str], sent: int) -> dict:
    """Waits until each worker has had a share, if need be with more tasks; what they say of themselves then."""
    while True:
        stats = site.proj.app.control.inspect(timeout=PATIENCE, limit=len(names)).stats()
        totals = [stats[name]["total"].get("proj.add", 0) for name in names]
        assert sum(totals) == sent, totals
        if all(totals):
            return stats
        assert sent < 10_000, totals
        assert site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2
        sent += 1


def test_two_kinds_of_worker_share_a_folder(folder_site):
    # Before there are workers: one of Celery's ends of a file that a client of Celery's has not written to its end.
    results = [folder_site.proj.add.delay(i, i) for i in range(3000)]
    theirs = folder_site.worker(kind="celery", name="celery@test", ready=False)
    eventually(lambda: "received" in theirs.text(), "it takes nothing")
    ours = folder_site.worker(name="ours@test")
    assert [result.get(timeout=PATIENCE) for result in results] == [2 * i for i in range(3000)]
    stats = shared(folder_site, ["celery@test", "ours@test"], 3000)
    brokers = [stats[name]["broker"] for name in sorted(stats)]
    assert brokers[0] == brokers[1]
    for worker in (ours, theirs):
        assert worker.terminate() == 0
    assert not [name for name in os.listdir(folder_site.queues) if folder_site.queue in name or name.startswith(".")]


def test_ours_take_nothing_that_is_half_written(folder_site):
    names = ["one@test", "two@test"]
    for name in names:
        folder_site.worker(name=name)
    results = [folder_site.proj.add.delay(i, i) for i in range(2000)]
    assert [result.get(timeout=PATIENCE) for result in results] == [2 * i for i in range(2000)]
    shared(folder_site, names, 2000)


def test_mingle_with_a_worker_of_celerys(folder_site):
    folder_site.worker(kind="celery", name="celery@test")
    folder_site.mingled(nodes=1, name="ours@test")


def test_a_warm_stop_gives_back(folder_site, tmp_path):
    log, gate = tmp_path / "begun", tmp_path / "gate"
    worker = folder_site.worker("-c", "1")
    results = [folder_site.proj.hold_here.delay(str(log), str(gate)) for _ in range(4)]
    eventually(lambda: all(f"[{result.id}] received" in worker.text() for result in results), "not received")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text(), "no shutdown")
    gate.touch()
    assert worker.terminate() == 0
    folder_site.worker(kind="celery")
    for result in results:
        result.get(timeout=PATIENCE)
    assert set(runs(log).values()) == {1}


def test_what_a_killed_worker_held_is_run_by_the_next(folder_site, tmp_path):
    log, gate = tmp_path / "begun", tmp_path / "gate"
    worker = folder_site.worker("-c", "1", env={"PROJ_ACKS_LATE": "1"})
    results = [folder_site.proj.hold_here.delay(str(log), str(gate)) for _ in range(3)]
    eventually(lambda: all(f"[{result.id}] received" in worker.text() for result in results), "not received")
    eventually(lambda: runs(log), "nothing has begun")
    worker.kill()
    gate.touch()
    folder_site.worker()
    for result in results:
        result.get(timeout=PATIENCE)


def test_garbage_harms_nobody(folder_site):
    worker = folder_site.worker()
    queue = folder_site.queue
    for number, text in enumerate([b"no JSON", b"", b"{}", b"\xff", b'{"properties": {}}']):
        (folder_site.queues / f"{number}_x.{queue}.msg").write_bytes(text)
    (folder_site.queues / f"5_x.{queue}.msg").mkdir()
    (folder_site.queues / f"6_x.{queue}.msg").symlink_to("nowhere")
    os.mkfifo(folder_site.queues / f"7_x.{queue}.msg")
    assert folder_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    eventually(lambda: worker.text().count("is left alone") == 3, "not told")
    gone = [f"{number}_x.{queue}.msg" for number in range(5)]
    eventually(lambda: not set(gone) & set(os.listdir(folder_site.queues)), "garbage stays")
    assert worker.terminate() == 0


def test_a_folder_that_is_not_there_ends_the_start(folder_site):
    folder_site.queues.rmdir()
    worker = folder_site.worker(ready=False)
    assert worker.process.wait(PATIENCE) == 1
    assert "data_folder_in" in worker.text()


def test_native_tasks_and_etas(folder_site):
    folder_site.worker(kind="native")
    assert folder_site.proj.native_add.delay(1, 2).get(timeout=PATIENCE) == 3
    result = folder_site.proj.native_when.apply_async(countdown=1)
    began, eta = result.get(timeout=PATIENCE)
    assert began >= datetime.datetime.fromisoformat(eta).timestamp()


def test_purge(folder_site):
    for _ in range(3):
        folder_site.proj.add.delay(1)
    worker = folder_site.worker("-c", "1", "--purge")
    assert "purge: Erased 3 messages from the queue.\n\n" in worker.text()
    assert folder_site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5


def test_a_receiver_of_celerys_sees_events(folder_site):
    with Ear(folder_site.proj.app) as ear:
        worker = folder_site.worker("-c", "1", "-E", name="ours@test")
        result = folder_site.proj.add.delay(1, 2)
        assert result.get(timeout=PATIENCE) == 3
        eventually(lambda: ear.events(type="task-succeeded", uuid=result.id), "no event of the end")
        assert worker.terminate() == 0
        eventually(lambda: ear.events("ours@test", type="worker-offline"), "no event of the worker's end")
    kinds = [event["type"] for event in ear.events("ours@test", uuid=result.id)]
    assert kinds == ["task-received", "task-started", "task-succeeded"]
    assert ear.events("ours@test", type="worker-online")


def test_remote_control_by_a_client_of_celerys(folder_site, tmp_path):
    log, gate = tmp_path / "begun", tmp_path / "gate"
    folder_site.worker("-c", "1", name="ours@test")
    inspect = folder_site.proj.app.control.inspect(["ours@test"], timeout=PATIENCE, limit=1)
    assert inspect.ping() == {"ours@test": {"ok": "pong"}}
    first, second = (folder_site.proj.hold_here.delay(str(log), str(gate)) for _ in range(2))
    eventually(lambda: runs(log), "nothing has begun")
    (running,) = runs(log)
    waiting = first if running == second.id else second
    waiting.revoke()
    eventually(lambda: inspect.revoked() == {"ours@test": [waiting.id]}, "not revoked")
    gate.touch()
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=PATIENCE)
    assert folder_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert runs(log) == {running: 1}


def test_a_retry_comes_back_after_its_countdown(folder_site):
    worker = folder_site.worker()
    result = folder_site.proj.retry.delay("k")
    assert result.get(timeout=PATIENCE) == 2
    assert worker.text().count(f"[{result.id}] received") == 3


def test_beat_of_celerys_sends_through_folders(folder_site, tmp_path):
    log = tmp_path / "marks"
    folder_site.worker()
    conf = json.loads(folder_site.env["PROJ_CONF"])
    conf["beat_schedule"] = {"often": {"task": "proj.mark_early", "schedule": 0.2, "args": [str(log)]}}
    command = [sys.executable, "-m", "celery", "-A", "e2e_app", "beat", "-s", str(tmp_path / "schedule")]
    env = {**folder_site.env, "PROJ_CONF": json.dumps(conf)}
    beat = Worker(command, env, tmp_path / "beat.log", TESTS / "apps")
    folder_site.workers.append(beat)
    eventually(lambda: sum(runs(log).values()) >= 3, "beat sends nothing")
