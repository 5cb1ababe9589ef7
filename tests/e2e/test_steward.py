"""What an app hangs on Celery's main process runs in the steward: signals, and ends that only Python can make."""

import json
import os
import re
import signal

import psutil
import pytest
import redis as redis_py
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import chain, chord, group
from celery.exceptions import NotRegistered, TaskRevokedError
from conftest import PATIENCE, Site, eventually

from test_garbage import envelope


class Main(Site):
    """A site of `main_app`, with the ledger of what its main process does."""

    app_name = "main_app"

    def __init__(self, broker: str, backend: str, directory) -> None:
        directory.mkdir()
        self.ledger = directory / "ledger"
        self.ledger.touch()
        (directory / "own").mkdir()
        os.environ.update(MAIN_LEDGER=str(self.ledger), MAIN_OWN=str(directory / "own"))
        super().__init__(broker, backend, directory)

    def records(self, what: str | None = None) -> list[dict]:
        found = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        return [record for record in found if what in (None, record["what"])]

    def wait_record(self, what: str, count: int = 1) -> list[dict]:
        eventually(lambda: len(self.records(what)) >= count, f"no {what} in {self.ledger}: {self.texts()}")
        return self.records(what)

    def texts(self) -> str:
        return "".join(worker.text()[-3000:] for worker in self.workers)

    def alone(self, *args: str, **options):
        """A worker that is not interested in others."""
        quiet = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "300")
        return self.worker("-c", "1", *quiet, *args, **options)

    def wait_active(self, id: str) -> None:
        def runs() -> bool:
            active = self.proj.app.control.inspect(timeout=1, limit=1).active() or {}
            return any(request["id"] == id for requests in active.values() for request in requests)

        eventually(runs, f"{id} does not run")


@pytest.fixture
def main(redis_server, tmp_path):
    made = []

    def make(number: int = 0, backend: str | None = None) -> Main:
        made.append(Main(redis_server.url(number), backend or redis_server.url(number + 1), tmp_path / str(number)))
        return made[-1]

    yield make
    for site in made:
        site.destroy()


def something_of_everything(site: Main, kind: str) -> list[dict]:
    """What was written about it, in order."""
    worker = site.alone(kind=kind)
    site.wait_record("worker_ready")
    app, queue, broker = site.proj.app, site.queue, redis_py.Redis.from_url(site.broker)
    call = {"args": (1, "two"), "kwargs": {"three": [3]}, "time_limit": 50, "priority": 3}
    site.proj.echo.apply_async(task_id="echo", **call).get(timeout=PATIENCE)
    site.wait_record("task_received")
    site.proj.echo.apply_async(task_id="late", countdown=600, expires=700)
    site.wait_record("task_received", 2)
    site.proj.echo.apply_async(task_id="expired", expires=-1)
    site.wait_record("task_revoked")
    app.send_task("main.nobody", (1,), task_id="unknown")
    site.wait_record("task_unknown")
    broker.lpush(queue, json.dumps(envelope(queue, headers={})))
    site.wait_record("task_rejected")
    broker.lpush(queue, json.dumps(envelope(queue, headers={"task": "main.echo", "id": "bad", "eta": "no time"})))
    site.wait_record("task_rejected", 2)
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        site.proj.die.apply_async(task_id="die", link_error=site.proj.errback.s()).get(timeout=PATIENCE)
    site.wait_record("task_failure")
    site.proj.linger.apply_async(task_id="terminated")
    site.wait_active("terminated")
    app.control.terminate("terminated", signal="KILL")
    site.wait_record("task_revoked", 2)
    assert worker.terminate() == 0
    return site.records()


def test_signals_of_main(main):
    """Each at its moment, with the sender and the arguments that receivers know from Celery."""
    theirs, ours = [something_of_everything(main(number), kind) for number, kind in ((0, "celery"), (2, "ours"))]
    assert len({record.pop("pid") for record in ours}) == 1, "there is one process for all of it"
    for record in theirs:
        record.pop("pid")
    assert shown(ours) == shown(theirs)
    assert {record["what"] for record in ours} == {
        "worker_ready", "worker_shutting_down", "worker_shutdown", "heartbeat_sent", "task_received", "task_revoked",
        "task_rejected", "task_unknown", "task_failure", "errback",
    }


#: What is different on every run: nodes, queues, and ids that kombu gives.
VOLATILE = re.compile(r"(celery|ours)0@test|proj-[0-9a-f]{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|Job: \d+")


def shown(records: list[dict]) -> list[str]:
    return [VOLATILE.sub("<it>", json.dumps(record)) for record in records]


def test_a_receiver_that_raises_is_logged(main):
    site = main()
    worker = site.alone()
    site.proj.echo.delay().get(timeout=PATIENCE)
    eventually(lambda: "a bad receiver" in worker.text())
    assert re.search(r"ERROR/MainProcess\] Signal handler <function on_received_badly.* raised: ValueError\('a bad receiver'\)", worker.text())
    site.wait_record("task_received")


def test_without_receivers_there_is_no_steward_until_it_is_needed(main):
    site = main()
    worker = site.alone(env={"MAIN_LISTENS": "0"})
    child = site.proj.pid.delay().get(timeout=PATIENCE)
    processes = {process.pid for process in psutil.Process(worker.process.pid).children(recursive=True)}
    assert child in processes and len(processes) == 2, "the zygote and its child"
    with pytest.raises(TimeLimitExceeded):
        site.proj.linger.apply_async(time_limit=0.2, task_id="slow").get(timeout=PATIENCE)
    hook = site.wait_record("on_failure")
    assert [(record["id"], record["exc"]) for record in hook] == [("slow", "TimeLimitExceeded")]
    assert hook[0]["pid"] not in processes | {worker.process.pid}
    assert worker.terminate() == 0
    eventually(lambda: not psutil.pid_exists(hook[0]["pid"]), "the steward stays")


def test_a_steward_that_dies_is_replaced(main, tmp_path):
    site = main()
    worker = site.alone()
    deadly = str(tmp_path / "deadly")
    results = [site.proj.echo.delay(n, **({"deadly": deadly} if n == 1 else {})) for n in range(4)]
    assert [result.get(timeout=PATIENCE)[0] for result in results] == [[0], [1], [2], [3]]
    received = site.wait_record("task_received", 3)
    assert [record["args"] for record in received] == [[0], [2], [3]], "what kills is not told again, all else is"
    assert len({record["pid"] for record in received}) == 2
    assert "the steward has died; starting another one" in worker.text()
    assert "the steward died over task_received" in worker.text()


def test_slow_receivers_hold_up_no_task_and_are_waited_for_at_the_end(main, tmp_path):
    site = main()
    worker = site.alone()
    gate = tmp_path / "gate"
    assert site.proj.echo.delay(1, gate=str(gate)).get(timeout=PATIENCE)[0] == [1]
    assert site.proj.echo.delay(2).get(timeout=PATIENCE) == [[2], {}]
    assert not site.records("task_received")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text())
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    whats = [record["what"] for record in site.records() if record["what"] != "heartbeat_sent"]
    assert whats == ["worker_ready", "task_received", "task_received", "worker_shutting_down", "worker_shutdown"]


def test_the_steward_ends_with_the_worker(main):
    site = main()
    worker = site.alone()
    steward = site.wait_record("worker_ready")[0]["pid"]
    worker.kill()
    eventually(lambda: not psutil.pid_exists(steward) or psutil.Process(steward).status() == "zombie", "it stays")


@pytest.mark.parametrize("listens", ["1", "0"])
def test_ends_are_stored_in_a_backend_that_only_python_has(main, tmp_path, listens):
    """By the steward: lost, over the hard limit, revoked, unknown; and results of native tasks."""
    directory = tmp_path / "results"
    directory.mkdir()
    site = main(backend=f"main_app:OwnBackend+file://{directory}")
    worker = site.alone(kind="native", env={"MAIN_LISTENS": listens})
    app = site.proj.app
    assert site.proj.echo.delay(1).get(timeout=PATIENCE) == [[1], {}]
    assert app.send_task("proj.native_add", (2, 3)).get(timeout=PATIENCE) == 5
    with pytest.raises(ValueError, match="no luck"):
        app.send_task("proj.native_fail", ("no luck",), link_error=site.proj.errback.s()).get(timeout=PATIENCE)
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        site.proj.die.apply_async(link_error=site.proj.errback.s(), serializer="pickle").get(timeout=PATIENCE)
    with pytest.raises(TimeLimitExceeded):
        site.proj.linger.apply_async(time_limit=0.2, link_error=site.proj.errback.s()).get(timeout=PATIENCE)
    with pytest.raises(TaskRevokedError, match="expired"):
        site.proj.echo.apply_async(expires=-1).get(timeout=PATIENCE)
    with pytest.raises(NotRegistered):
        app.send_task("main.nobody").get(timeout=PATIENCE)
    found = [(record["task"], record["exc"]) for record in site.wait_record("errback", 3)]
    assert found == [("proj.native_fail", "ValueError"), ("main.die", "WorkerLostError"), ("main.linger", "TimeLimitExceeded")]
    eventually(lambda: redis_py.Redis.from_url(site.broker).hlen("unacked") == 0, "a message is not settled")
    assert "leaves no result" not in worker.text()
    assert worker.terminate() == 0


def test_a_backend_of_the_tasks_own(main):
    site = main()
    site.alone(env={"MAIN_LISTENS": "0"})
    assert site.proj.own.delay("fine").get(timeout=PATIENCE) == "fine"
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        site.proj.own.delay("die").get(timeout=PATIENCE)
    with pytest.raises(TaskRevokedError, match="expired"):
        site.proj.own.apply_async(("late",), expires=-1).get(timeout=PATIENCE)
    assert len(list((site.directory / "own").iterdir())) == 3
    assert not redis_py.Redis.from_url(site.backend).keys("celery-task-meta-*")


def test_native_parts_finish_a_chord_that_only_python_can_join(redis_site):
    redis_site.worker("-c", "1", kind="native")
    native, echo = redis_site.proj.native_add, redis_site.proj.app.tasks["celery.accumulate"]
    header = [native.s(1, 1), chain(native.s(2, 2), group(native.s(1), native.s(2)))]
    assert chord(header)(echo.s(index=0)).get(timeout=PATIENCE) == [2, [5, 6]]


def test_native_failures_call_new_errbacks(redis_site, tmp_path):
    log = tmp_path / "errors"
    log.touch()
    redis_site.worker(kind="native")
    errback = redis_site.proj.note_error.s(str(log))
    failed = redis_site.proj.native_fail.apply_async(("no luck",), link_error=errback)
    with pytest.raises(ValueError, match="no luck"):
        failed.get(timeout=PATIENCE)
    eventually(log.read_text, "the errback was not called")
    assert log.read_text() == f"{failed.id} ValueError('no luck')\n"
