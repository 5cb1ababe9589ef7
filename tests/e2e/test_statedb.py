"""Revoked tasks over restarts, by Celery's worker and by ours in turn: one takes over where the other has stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid

import pytest
from conftest import PATIENCE, eventually

NAME = "w1@test"


@pytest.fixture
def turn(redis_site, tmp_path):
    """Starts a worker of a kind on the files that the one before has left; it must have ended."""

    def start(kind: str, *args: str, **options):
        pidfile, statedb = str(tmp_path / "%n.pid"), str(tmp_path / "%n.state")
        files = ("--pidfile", pidfile, "--statedb", statedb)
        worker = redis_site.worker("-c", "1", "--without-mingle", *args, *files, kind=kind, name=NAME, **options)
        if options.get("ready", True):
            eventually(lambda: redis_site.proj.app.control.ping(destination=[NAME], timeout=2))
            assert (tmp_path / "w1.pid").read_text() == f"{worker.process.pid}\n"
        return worker

    start.directory = tmp_path
    return start


def control(site, method: str, **arguments):
    [reply] = site.proj.app.control.broadcast(
        method, arguments=arguments, destination=[NAME], reply=True, timeout=20, limit=1
    )
    return reply[NAME]


def clock(site) -> int:
    return int(control(site, "clock")["clock"])


def test_either_reads_what_the_other_has_left(redis_site, turn):
    """A rolling upgrade and the way back: same name, same pidfile, same state."""
    seen, last = [], 0
    for kind in ("celery", "ours", "celery", "ours"):
        worker = turn(kind)
        assert control(redis_site, "revoked") == seen
        assert clock(redis_site) > last
        if seen:
            eventually(lambda: f"Discarding revoked task: proj.add[{seen[-1]}]" in worker.text())
        id = str(uuid.uuid4())
        seen.append(id)
        control(redis_site, "revoke", task_id=id)
        last = clock(redis_site)
        assert worker.terminate() == 0
        assert not (turn.directory / "w1.pid").exists()
        redis_site.proj.add.apply_async((1,), task_id=id)


def test_a_second_kind_of_end_saves_too(redis_site, turn):
    """A cold shutdown, and one by remote control."""
    worker = turn("ours")
    control(redis_site, "revoke", task_id="a")
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(PATIENCE)
    worker = turn("ours")
    assert control(redis_site, "revoked") == ["a"]
    control(redis_site, "revoke", task_id="b")
    redis_site.proj.app.control.shutdown(destination=[NAME])
    assert worker.process.wait(PATIENCE) == 0
    turn("celery")
    assert control(redis_site, "revoked") == ["a", "b"]


def test_a_state_that_cannot_be_saved_is_told(redis_site, turn):
    worker = turn("ours")
    control(redis_site, "revoke", task_id="a")
    for file in turn.directory.glob("w1.state*"):
        file.unlink()
        file.mkdir()
    assert worker.terminate() == 0
    assert "revoked tasks are not kept over the restart: exitcode 1" in worker.text()
    assert "cannot save the state database" in worker.text()


def test_a_state_that_cannot_be_read_ends_the_start(redis_site, turn):
    (turn.directory / "w1.state").write_text("no database")
    both = [turn(kind, ready=False) for kind in ("celery", "ours")]
    assert [worker.process.wait(PATIENCE) for worker in both] == [1, 1]
    assert all("db type could not be determined" in worker.text() for worker in both)


def test_without_python_it_is_refused(redis_site, tmp_path):
    command = [os.environ["CELERY_RS_NATIVE_BIN"], "-b", redis_site.broker, "worker", "--statedb", str(tmp_path / "s")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
    assert (ended.returncode, ended.stderr.strip().splitlines()[-1]) == (
        2, "--statedb is a file that Python reads and writes, and there is no Python app: leave it out"
    )
