"""A scenario while it runs: what it may do, and how to know that it is over."""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import os
import re
import uuid

from celery import chain, chord, group
from ledger import FENCE_ID, Ledger
from workers import PATIENCE, eventually

#: How long what comes in its own time may take.
SLOW = 15
#: An end that is not told by then will not be.
UNTOLD = 5
#: What tells of an end, besides `task-rejected`.
ENDS = {"task-succeeded", "task-failed", "task-retried", "task-revoked"}
#: Lines about ends of which no event tells, or not always.
IGNORED = re.compile(r"Task .+\[([0-9a-f-]{36})\] ignored")
REJECTED = re.compile(r"Task .+\[([0-9a-f-]{36})\] reject ")


class Died(AssertionError):
    """The worker has ended, which no scenario wants."""


class Run:
    """Given to a scenario. Ids of what it sends are known to the ledger in this order."""

    def __init__(self, side) -> None:
        self.side, self.app = side, side.app
        self.ids: list[str] = []
        self.first_event = len(side.events)
        self.ledger_start, self.log_start = side.ledger.stat().st_size, side.log.stat().st_size

    # -- sending

    def new_id(self) -> str:
        self.ids.append(id := str(uuid.uuid4()))
        return id

    def sig(self, name: str, *args, **options):
        return self.app.signature(name, args=args, **options)

    def chain(self, *signatures):
        return chain(*signatures, app=self.app)

    def group(self, *signatures):
        return group(signatures, app=self.app)

    def chord(self, header, body):
        return chord(header, body, app=self.app)

    def send(self, name: str, *args, kwargs: dict | None = None, **options) -> str:
        """By name, as a client that does not know the task; its id."""
        id = options.pop("task_id", None) or str(uuid.uuid4())
        self.ids.append(id)
        self.app.send_task(name, args=args, kwargs=kwargs or {}, task_id=id, **options)
        return id

    def many(self, *calls: tuple) -> list[str]:
        """Tasks by name and arguments, of which none begins before all are sent: the order is the worker's, then."""
        with self.held():
            return [self.send(*call) for call in calls]

    def apply(self, signature, **options):
        """A signature or a workflow; its result. The worker begins when all of it is sent, whose order is its own then."""
        if self.ids:
            # Messages of a workflow that still runs come at any time.
            self.settle()
        with self.held():
            result = signature.apply_async(**options)
        self.know(result)
        return result

    @contextlib.contextmanager
    def held(self):
        """Keeps the worker's only child busy."""
        gate = f"{FENCE_ID}{uuid.uuid4()}"
        opened = self.side.directory / gate
        self.app.send_task("gate", args=(str(opened),), task_id=gate, ignore_result=True)
        eventually(lambda: any(event.get("uuid") == gate and event["type"] == "task-started" for event in self.all_events()))
        try:
            yield
        finally:
            opened.touch()

    def know(self, result) -> None:
        """Its parents', its children's and its own ids."""
        if result.parent is not None:
            self.know(result.parent)
        for part in getattr(result, "results", None) or ():
            self.know(part)
        self.ids.append(result.id)

    def publish(self, body, headers: dict | None = None, properties: dict | None = None, **options) -> None:
        """A message made by hand. `options`: `content_type`, `content_encoding`."""
        with self.app.producer_pool.acquire(block=True) as producer:
            producer.publish(
                body, headers=headers or {}, routing_key=self.side.queue, exchange="", retry=True,
                declare=[self.app.amqp.queues[self.side.queue]], **{**(properties or {}), **options},
            )

    def push(self, envelope: dict | str | bytes) -> None:
        """What stands in the Redis list, as it is."""
        text = envelope if isinstance(envelope, (str, bytes)) else json.dumps(envelope)
        self.side.broker_db.lpush(self.side.queue, text)

    def envelope(self, body: bytes, headers: dict, **changes) -> dict:
        """As kombu pushes it."""
        return {
            "body": base64.b64encode(body).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {
                "body_encoding": "base64",
                "delivery_mode": 2,
                "delivery_tag": str(uuid.uuid4()),
                "delivery_info": {"exchange": "", "routing_key": self.side.queue},
                "priority": 0,
            },
            **changes,
        }

    # -- facts

    def wait_event(self, type: str, id: str | None = None, count: int = 1) -> None:
        def seen() -> bool:
            found = [event for event in self.all_events() if event["type"] == type and id in (None, event.get("uuid"))]
            return len(found) >= count

        eventually(seen, f"no {type} of {id} from {self.side.kind}")

    def wait_record(self, what: str, count: int = 1) -> None:
        eventually(
            lambda: sum(record["what"] == what for record in self.records()) >= count,
            f"no {what} in the ledger of {self.side.kind}",
        )

    def wait_log(self, text: str, count: int = 1) -> None:
        eventually(lambda: self.log().count(text) >= count, f"no {text!r} in the log of {self.side.kind}")

    def control(self, command: str, **arguments):
        """A remote command to this side's worker; its reply."""
        replies = eventually(
            lambda: self.app.control.broadcast(
                command, arguments=arguments, destination=[self.side.node], reply=True, timeout=PATIENCE, limit=1
            )
        )
        return replies[0][self.side.node]

    def revoke(self, id, **options) -> None:
        """Tells the worker, and waits until it has heard."""
        assert self.app.control.revoke(id, destination=[self.side.node], reply=True, timeout=PATIENCE, **options)

    def revoke_by_stamps(self, stamps: dict, **options) -> None:
        """The same for all tasks that bear one of these."""
        revoke = self.app.control.revoke_by_stamped_headers
        assert revoke(stamps, destination=[self.side.node], reply=True, timeout=PATIENCE, **options)

    # -- what there is to see

    def all_events(self) -> list[dict]:
        return self.side.events[self.first_event :]

    def events(self) -> list[dict]:
        """Without those of the fences and of the worker itself."""
        return [
            event for event in self.all_events()
            if event["type"].startswith("task-") and not str(event.get("uuid")).startswith(FENCE_ID)
        ]

    def records(self) -> list[dict]:
        with open(self.side.ledger, "rb") as file:
            file.seek(self.ledger_start)
            return [json.loads(line) for line in file.read().splitlines()]

    def log(self) -> str:
        with open(self.side.log, "rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    # -- the end

    def settle(self) -> None:
        """Until a task that is sent now ends and nothing else has happened meanwhile, and the broker has nothing left."""
        eventually(self.quiet, f"{self.side.kind} does not come to rest: {self.queues()} {self.log()[-3000:]}", PATIENCE)

    def quiet(self) -> bool:
        before = len(self.events())
        if self.side.worker.ended():
            raise Died(f"{self.side.kind}'s worker has ended: {self.log()[-3000:]}")
        if not self.empty():
            return False
        fence = self.side.send_fence()
        eventually(
            lambda: self.side.ran(fence) or self.side.worker.ended(),
            f"{self.side.kind} does not run the fence: {self.log()[-3000:]}",
        )
        # What main logs, and what its receivers write, comes in its own time; of the fence last.
        eventually(lambda: f"Task fence[{fence}] received" in self.log() or self.side.worker.ended())
        if self.side.receivers:
            eventually(
                lambda: self.main_heard(fence) or self.side.worker.ended(),
                f"{self.side.kind}'s main process hears nothing: {self.log()[-3000:]}",
            )
            if self.side.worker.ended():
                return False
        # So do the end of a child, and what is told of a task that ended with it.
        with contextlib.suppress(AssertionError):
            eventually(self.all_ended, patience=UNTOLD)
        eventually(self.nobody_is_leaving, patience=SLOW)
        return len(self.events()) == before and self.empty()

    def all_ended(self) -> bool:
        """Whether the end of every task that has begun is told, or will not be."""
        told = lambda types: collections.Counter(event["uuid"] for event in self.events() if event["type"] in types)  # noqa: E731
        logged = lambda line: collections.Counter(line.findall(self.log()))  # noqa: E731
        rejected = told({"task-rejected"}) | logged(REJECTED)
        return not told({"task-started"}) - told(ENDS) - logged(IGNORED) - rejected

    def nobody_is_leaving(self) -> bool:
        """Whether each child that has said goodbye is gone."""
        leaving = {record["pid"] for record in self.records() if record["what"] == "worker_process_shutdown"}
        return not any(os.path.exists(f"/proc/{pid}") for pid in leaving)

    def main_heard(self, fence: str) -> bool:
        received = (record for record in self.records() if record["what"] == "task_received")
        return any(record["fields"]["request"] == fence for record in received)

    def empty(self) -> bool:
        return not any(self.queues().values())

    def queues(self) -> dict[str, int]:
        """Messages by the place where they are."""
        database = self.side.broker_db
        if database is None:
            with self.app.connection_for_write() as connection:
                queue = connection.default_channel.queue_declare(self.side.queue, passive=True)
                return {"queue": queue.message_count}
        steps = [f"{self.side.queue}\x06\x16{step}" for step in (3, 6, 9)]
        return {
            "queue": database.llen(self.side.queue),
            **{f"queue, priority {step[-1]}": database.llen(step) for step in steps},
            "unacked": database.hlen("unacked"),
            "unacked_index": database.zcard("unacked_index"),
        }

    def refused(self) -> list[dict]:
        """Takes what has been refused for good, where the broker keeps it."""
        if "task_queues" not in self.app.conf.changes:
            return []
        found = []
        with self.app.connection_for_read() as connection:
            channel = connection.default_channel
            while message := channel.basic_get(self.side.dead_letters, no_ack=True):
                death = message.headers["x-death"][0]
                found.append({"id": message.headers.get("id"), "reason": death["reason"], "count": death["count"]})
        return found

    def ledger(self) -> Ledger:
        return Ledger.of(self)
