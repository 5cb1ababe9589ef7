"""What happened in a scenario, as plain data in which nothing is left that is different on every run."""

from __future__ import annotations

import difflib
import io
import json
import pathlib
import pickle
import re

import msgpack
import pytest
import yaml

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: In texts: what to look for, and what stands for it.
VOLATILE = [
    (re.compile(r"\bin \d+(\.\d+)?(e-\d+)?s\b"), "in <seconds>s"),
    (re.compile(r"b'[0-9a-f]{32}'"), "<token>"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"line repeated(\W+)\d+ more times"), "line repeated <n> more times"),
    (re.compile(r"\bgen\d+@[\w.-]+"), "<origin>"),
    (re.compile(r"\bpid[:=] ?\d+"), "pid:<pid>"),
    (re.compile(r"\bJob: \d+"), "Job: <number>"),
    (re.compile(r"ForkPoolWorker-\d+"), "ForkPoolWorker-<n>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d+"), "<time with fraction>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"datetime\.datetime\(\d{4}(, \d+)+"), "datetime.datetime(<time>"),
]
#: A frame of a traceback that is in our Python package, with its source line.
OWN_FRAME = re.compile(r' *File "celery_rs/[^\n]*\n(?:    [^\n]*\n)*?(?=  File|\S)')
#: A frame of Celery's main process, which ours does not have.
MAIN_FRAME = re.compile(
    r' *File "[^\n"]*site-packages/(?:billiard/pool|celery/worker/\w+|celery/backends/\w+)\.py"[^\n]*\n(?:    [^\n]*\n)*?(?=  File|\S)'
)
#: Signals that concern no task.
OF_THE_POOL = ("worker_before_create_process",)
RECEIVED = re.compile(r"^Task .+ received")
EXITED = re.compile(r"^Process '[^']+' pid:\S+ exited with")
#: A traceback in a log line, with the cause that stands before it, or a remote one.
TRACEBACK = re.compile(
    r"\n(?:[\w.]+: [^\n]*\n\nThe above exception was the direct cause|billiard.einfo.RemoteTraceback|Traceback \(most recent)"
)
#: How the ids of fences begin, and what the log says of them.
FENCE_ID = "fence-"
FENCE = re.compile(r"\[fence-")
#: Why a decoder does not like a text is said in each decoder's own words.
DECODER = re.compile(r"DecodeError\(.*?\) \[type:")
TIME = re.compile(r"(invalid (?:ETA|expires) value [^\n:]*): [^\n]*")
#: Fields of events that are different on every run; only their type is compared.
VOLATILE_FIELDS = ("timestamp", "local_received", "clock", "pid", "runtime")
#: One line in the log of a worker: time, level, process.
LINE = re.compile(r"^\[[\d-]+ [\d:,]+: (\w+)/([^\]]+)\] (.*)$", re.DOTALL)


class Names:
    """Gives each id a name, by the order in which they are met."""

    def __init__(self, run) -> None:
        self.run = run
        self.known: dict[str, str] = {}

    def text(self, text: str) -> str:
        side = self.run.side
        text = UUID.sub(lambda found: self.name(found.group()), text)
        text = text.replace(side.queue, "<queue>").replace(side.node, "<node>").replace(str(side.directory), "<directory>")
        # Between Celery's tracer and its backend there is one function of ours.
        text = MAIN_FRAME.sub("", OWN_FRAME.sub("", text))
        for pattern, stands in VOLATILE:
            text = pattern.sub(stands, text)
        return text

    def name(self, id: str) -> str:
        return self.known.setdefault(id, f"<id {len(self.known) + 1}>")

    def data(self, value):
        """The same in all texts of plain data."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(key)): "<pid>" if key == "pid" and isinstance(item, int) else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, set):
            return sorted(self.data(item) for item in value)
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


class Ledger:
    """`fields` by name: what is compared."""

    def __init__(self, fields: dict) -> None:
        self.fields = fields

    @classmethod
    def of(cls, run) -> "Ledger":
        names = Names(run)
        for id in run.ids:
            names.name(id)
        # The order matters: it gives the names.
        events = [event_fields(names, event) for event in run.events()]
        raw = [record for record in run.records() if not of_a_fence(record)]
        records = [names.data(record) for record in raw if record["where"] != "child"]
        child = [names.data(record) for record in by_process(raw) if record["where"] == "child"]
        lines = [names.data(line) for line in log_lines(run.log()) if not FENCE.search(line[2])]
        return cls({
            "events": by_task([event for event in events if event["type"] in OF_MAIN]),
            "events.custom": [event for event in events if event["type"] not in OF_MAIN],
            "child": child,
            **main_fields(records),
            **log_fields(lines),
            "documents": documents(run, names),
            "queues": run.queues(),
            "refused": names.data(run.refused()),
        })

    def __getitem__(self, field: str):
        return self.fields[field]

    def types(self) -> list[str]:
        """Types of the events, without their `task-`."""
        return [event["type"].removeprefix("task-") for events in self["events"].values() for event in events]

    def results(self) -> list:
        """Everything that tasks have returned or raised."""
        return [document["result"] for document in self["documents"].values() if "result" in document]

    def event(self, type: str, number: int = 1) -> dict:
        """The last of a type (without `task-`) of the task that was sent as number ..."""
        of_task = [events for key, events in self["events"].items() if key.startswith(f"<id {number}> ")]
        return [event for events in of_task for event in events if event["type"] == f"task-{type}"][-1]

    def did(self) -> list[str]:
        """What children wrote."""
        return [record["what"] for record in self["child"]]

    def states(self) -> list[str]:
        """Of the stored documents, by the names of the tasks."""
        return [document["status"] for document in self["documents"].values() if "status" in document]

    def result(self, number: int = 1):
        """Of the task that was sent as number ..."""
        return self["documents"][f"celery-task-meta-<id {number}>"]["result"]

    def must_equal(self, ours: "Ledger", differs: dict[str, str], may_differ: dict[str, str]) -> None:
        name_exceptions(self["events"], ours["events"])
        found = {name: difference(theirs, ours[name]) for name, theirs in self.fields.items()}
        expected = {**differs, **may_differ}
        # What main's receivers hear is one matter to a scenario, whatever it is about.
        expected |= {"main.received": expected["main"]} if "main" in expected else {}
        unexpected = [f"-- {name}\n{text}" for name, text in found.items() if text and name not in expected]
        healed = [f"{name} does not differ any more" for name in differs if not found[name]]
        if unexpected or healed:
            pytest.fail("\n".join(["(- Celery, + ours)", *unexpected, *healed]), pytrace=False)


OF_MAIN = {
    f"task-{end}"
    for end in ("received", "started", "succeeded", "failed", "retried", "revoked", "rejected", "cancelled", "sent")
}


def name_exceptions(theirs: dict, ours: dict) -> None:
    """What Celery's main process raises itself, its events show as billiard's wrapper; ours name the exception."""
    for key, events in theirs.items():
        for event, own in zip(events, ours.get(key, ())):
            if event.get("exception") == "ExceptionWithTraceback()" and re.match(r"\w+\(", own.get("exception") or ""):
                event["exception"] = own["exception"]


def difference(theirs, ours) -> str:
    """For humans; empty if there is none."""
    theirs, ours = (shown(value) for value in (theirs, ours))
    lines = [line[:300] for line in difflib.unified_diff(theirs, ours, lineterm="", n=2)][2:]
    return "\n".join(lines[:80] + [f"... {len(lines) - 80} more lines"] * (len(lines) > 80))


def shown(value) -> list[str]:
    """Texts of several lines, like tracebacks, as several lines."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=repr)
    return text.replace("\\n", "\n    ").splitlines()


def by_task(events: list[dict]) -> dict[str, list[dict]]:
    """A worker receives the next task while one runs: there is no order among tasks."""
    found: dict[str, list[dict]] = {}
    for event in events:
        # A task that is run again may be received and started before the end of the run before is told.
        kind = {"task-received": "received", "task-started": "started"}.get(event["type"], "to the end")
        found.setdefault(f"{event['uuid']} {kind}", []).append(event)
    return dict(sorted(found.items()))


def by_process(records: list[dict]) -> list[dict]:
    """A child may still be leaving when its successor has come."""
    lives: dict[int, list[dict]] = {}
    for record in records:
        lives.setdefault(record["pid"], []).append(record)
    return [record for life in lives.values() for record in life]


def of_a_fence(record: dict) -> bool:
    """Signals that main sends about requests name these by their ids, which begin like no other."""
    return record.get("sender") in ("fence", "gate") or str(record.get("fields", {}).get("request", "")).startswith(FENCE_ID)


def event_fields(names: Names, event: dict) -> dict:
    return {
        key: type(value).__name__ if key in VOLATILE_FIELDS else names.data(value)
        for key, value in sorted(event.items())
    }


def log_lines(text: str) -> list[list[str]]:
    """Level, process and text; lines that are not logged belong to what stands before."""
    lines: list[list[str]] = []
    for line in text.splitlines():
        if found := LINE.match(line):
            lines.append([found[1], re.sub(r"ForkPoolWorker-\d+", "ForkPoolWorker", found[2]), found[3]])
        elif lines:
            lines[-1][2] += f"\n{line}"
    return [[level, process, own_words(text) if process == "MainProcess" else text] for level, process, text in lines]


def main_fields(records: list[dict]) -> dict[str, list]:
    """What the receivers of the main process have heard: the next task is received, and the pool makes its processes, at
    any time.
    """
    apart = (*OF_THE_POOL, "task_received")
    return {
        "main": [record for record in records if record["where"] == "main" and record["what"] not in apart],
        "main.received": [record for record in records if record["what"] == "task_received"],
        "main.pool": [record for record in records if record["what"] in OF_THE_POOL],
    }


def log_fields(lines: list[list[str]]) -> dict[str, list]:
    """Lines by what they are about: each of these comes in an order of its own.

    What is received next while a task runs stands somewhere among the lines about that, and the end of a process
    before or after what it means to the task.
    """
    main = [line for line in lines if line[1] == "MainProcess"]
    of_a_task = [line for line in main if not RECEIVED.search(line[2]) and not EXITED.search(line[2])]
    return {
        "log.received": [line for line in main if RECEIVED.search(line[2])],
        "log.pool": [line for line in main if EXITED.search(line[2])],
        "log.main": of_a_task,
        "log.child": [line for line in lines if line[1] != "MainProcess"],
    }


def own_words(text: str) -> str:
    """Without a traceback through Celery's main process: ours is not Python."""
    text = TRACEBACK.split(text)[0].rstrip()
    return TIME.sub(r"\1: <reason>", DECODER.sub("DecodeError(<reason>) [type:", text))


def documents(run, names: Names) -> dict:
    """Everything in the backend's database, each with whether it expires."""
    database = run.side.backend_db
    if database is None:
        return files(run, names)
    found = {}
    for key in database.keys():
        kind = database.type(key)
        value = {
            b"string": lambda: readable(database.get(key)),
            b"zset": lambda: [readable(member) for member in database.zrange(key, 0, -1)],
            b"hash": lambda: {field.decode(): readable(item) for field, item in database.hgetall(key).items()},
            b"list": lambda: [readable(item) for item in database.lrange(key, 0, -1)],
            b"set": lambda: {member.decode() for member in database.smembers(key)},
        }[kind]()
        if isinstance(value, dict):
            value["(expires)"] = database.ttl(key) > 0
        found[key.decode()] = value
    ordered = sorted(found.items(), key=lambda item: names.text(item[0]))
    database.flushdb()
    return names.data(dict(ordered))


def files(run, names: Names) -> dict:
    """The documents that the filesystem backend has written."""
    backend = run.side.backend or ""
    if not backend.startswith("file://"):
        return {}
    paths = pathlib.Path(backend.removeprefix("file://")).iterdir()
    found = {path.name: readable(path.read_bytes()) for path in paths}
    return names.data(dict(sorted(found.items(), key=lambda item: names.text(item[0]))))


def readable(value: bytes):
    """A document in any of kombu's serializers, of which each begins in a way of its own."""
    try:
        if value[:1] == b"\x80":
            return json.loads(json.dumps(Unpickler(io.BytesIO(value)).load(), default=repr))
        if value[:1] >= b"\x81":
            return msgpack.unpackb(value, strict_map_key=False)
        return yaml.safe_load(value) if b"\nstatus: " in value else json.loads(value)
    except (ValueError, yaml.YAMLError):
        return repr(value)


class Unpickler(pickle.Unpickler):
    """The project's classes are not here: what is left of their objects is their arguments."""

    def find_class(self, module, name):
        try:
            return super().find_class(module, name)
        except Exception:
            return lambda *args: [f"{module}.{name}", *map(repr, args)]
