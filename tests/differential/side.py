"""One of the two workers that are compared: its process, its client, and what there is to see of it.

The worker runs one task at a time, so that all it does has an order.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from celery import Celery

from ledger import FENCE_ID, Ledger
from run import SLOW, Died, Run
from workers import PATIENCE, Worker, eventually

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {"celery": lambda: [sys.executable, "-m", "celery"], "ours": lambda: [os.environ["CELERY_RS_BIN"]]}
#: Ours with handlers in Rust for some of the project's tasks.
NATIVE = lambda: [os.environ["CELERY_RS_NATIVE_BIN"]]  # noqa: E731
#: Without gossip and mingle it starts sooner; neither is about tasks.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Side:
    """`kind` is `celery` or `ours`. Broker and backend are for this side alone, the queue bears its name."""

    def __init__(self, kind: str, broker: str, backend: str | None, directory: pathlib.Path) -> None:
        self.kind, self.broker, self.backend = kind, broker, backend
        # Of the same length: what is cut short is cut at the same place.
        self.queue, self.node = f"queue-{kind:_<6}", f"{kind:_<6}@diff"
        #: On RabbitMQ, with `conftest.with_dead_letters`.
        self.dead_letters = f"{self.queue}.dead"
        self.directory = directory / kind
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ledger, self.log = self.directory / "ledger", self.directory / "log"
        self.ledger.touch()
        self.log.touch()
        self.events: list[dict] = []
        #: Everything that concerns the client happens in one thread, whose current app is this side's.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=kind)
        self.backend_db = redis.Redis.from_url(backend) if (backend or "").startswith("redis") else None
        self.broker_db = redis.Redis.from_url(broker) if broker.startswith("redis") else None
        self.worker: Worker | None = None
        self.stopped = threading.Event()

    def start(
        self,
        args: tuple[str, ...] = (),
        conf: dict | Callable[[Side], dict] | None = None,
        env: dict[str, str] | None = None,
        native: bool = False,
        receivers: bool = True,
        ready: bool = True,
    ) -> None:
        conf = conf(self) if callable(conf) else conf
        self.app = Celery("client", broker=self.broker, backend=self.backend, set_as_current=False)
        self.app.conf.update(task_default_queue=self.queue, **(conf or {}))
        # Results that outlive their Redis must not keep pytest waiting at its end.
        policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
        self.app.conf.result_backend_transport_options = {"retry_policy": policy}
        self.app.set_current()
        if self.backend_db is not None:
            # Scenarios send and go on: documents that nobody waits for, and that may be no good ones, would lie in the
            # client's channel until a later scenario waits for its own.
            self.app.backend.on_task_call = lambda *_: None
        self.receivers = receivers
        if "task_queues" in (conf or {}):
            with self.app.connection_for_write() as connection:
                connection.default_channel.queue_declare(self.dead_letters, durable=True, auto_delete=False)
        self.receiver = threading.Thread(target=self.receive, args=(self.app,), daemon=True)
        self.receiver.start()
        env = {
            **os.environ,
            "DIFF_BROKER": self.broker,
            "DIFF_BACKEND": self.backend or "",
            "DIFF_QUEUE": self.queue,
            "DIFF_CONF": json.dumps(conf or {}),
            "DIFF_LEDGER": str(self.ledger),
            "DIFF_RECEIVERS": "1" if receivers else "",
            "VIRTUAL_ENV": sys.prefix,
            "C_FORCE_ROOT": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"DIFF_NATIVE": "1"} if native else {}),
            **(env or {}),
        }
        self.ledger_start = self.ledger.stat().st_size
        program = NATIVE if native and self.kind == "ours" else PROGRAMS[self.kind]
        command = [*program(), "-A", "project", "worker", "-n", self.node, "-l", "INFO", "-E"]
        self.worker = Worker([*command, "-c", "1", *QUIET, *args], env, self.log, HERE)
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until it answers, and its events arrive."""
        eventually(lambda: self.answers() or self.worker.ended(), f"{self.kind} does not answer")
        assert not self.worker.ended(), self.worker.text()
        eventually(self.heard, f"no event from {self.kind}")
        if self.receivers:
            eventually(self.has_said_ready, f"the receivers of {self.kind} hear nothing")

    def has_said_ready(self) -> bool:
        with open(self.ledger, "rb") as file:
            file.seek(self.ledger_start)
            return b'"worker_ready"' in file.read()

    def answers(self) -> bool:
        return bool(self.app.control.ping(destination=[self.node], timeout=1, limit=1))

    def heard(self) -> bool:
        """Whether the receiver has subscribed; what is sent before is lost."""
        fence = self.send_fence()
        try:
            return eventually(lambda: self.ran(fence), patience=SLOW)
        except AssertionError:
            return False

    def send_fence(self) -> str:
        fence = f"{FENCE_ID}{uuid.uuid4()}"
        self.app.send_task("fence", task_id=fence, ignore_result=True)
        return fence

    def ran(self, id: str) -> bool:
        return any(event.get("uuid") == id and event["type"] == "task-succeeded" for event in list(self.events))

    def receive(self, app: Celery) -> None:
        while not self.stopped.is_set():
            try:
                with app.connection_for_read() as connection:
                    receiver = app.events.Receiver(connection, handlers={"*": self.on_event})
                    receiver.capture(limit=None, timeout=None, wakeup=False)
            except Exception:
                if self.stopped.wait(0.1):
                    return

    def on_event(self, event: dict) -> None:
        if self.stopped.is_set():
            raise SystemExit
        if event["hostname"] == self.node:
            self.events.append(event)

    def survive(self, scenario) -> Ledger | Died:
        """The ledger of a scenario, or what the worker has died of; there is a new one then."""
        try:
            return self.play(scenario)
        except Died as died:
            self.renew()
            return died
        except BaseException:
            self.renew()
            raise

    def renew(self) -> None:
        """A new worker with nothing to do: no scenario suffers from the one before."""
        self.worker.destroy()
        for database in self.broker_db, self.backend_db:
            if database is not None:
                database.flushdb()
        self.ledger_start = self.ledger.stat().st_size
        self.worker.start()
        self.wait_ready()

    def play(self, scenario) -> Ledger:
        """Runs a scenario until nothing happens any more; what happened meanwhile."""
        run = Run(self)
        scenario(run)
        run.settle()
        return run.ledger()

    def destroy(self) -> None:
        self.stopped.set()
        if self.worker:
            self.worker.destroy()
        self.thread.shutdown()


class Pair:
    """The genuine worker, and ours."""

    def __init__(self, celery: Side, ours: Side) -> None:
        self.celery, self.ours = celery, ours
        #: Fields that may differ in any scenario, with the reason.
        self.everywhere: dict[str, str] = {}

    def both(self, action) -> tuple:
        """`action(side)` on both sides at the same time, each in its own thread."""
        futures = [side.thread.submit(action, side) for side in (self.celery, self.ours)]
        failures = [failure for future in futures if (failure := future.exception(PATIENCE * 3))]
        if failures:
            pytest.fail("\n".join(map(str, failures)))
        return tuple(future.result() for future in futures)

    def start(self, *args: str, **options) -> "Pair":
        self.both(lambda side: side.start(args, **options))
        return self

    def compare(self, scenario, differs: dict[str, str] | None = None, may_differ: dict[str, str] | None = None) -> Ledger:
        """Celery's ledger of the scenario, after both have been found equal.

        `differs` names the fields that are meant to differ, each with the reason why. `may_differ` is for those that
        do so on some runs, or with some apps.
        """
        theirs, ours = self.both(lambda side: side.survive(scenario))
        for ledger in theirs, ours:
            assert isinstance(ledger, Ledger), str(ledger)
        theirs.must_equal(ours, differs or {}, {**self.everywhere, **(may_differ or {})})
        return theirs

    def poison(self, scenario) -> Ledger:
        """Celery's worker ends of this scenario, ours does not: its ledger."""
        theirs, ours = self.both(lambda side: side.survive(scenario))
        assert isinstance(theirs, Died), "Celery's worker lives: this is no poison"
        assert isinstance(ours, Ledger), str(ours)
        return ours

    def destroy(self) -> None:
        for side in (self.celery, self.ours):
            side.destroy()
