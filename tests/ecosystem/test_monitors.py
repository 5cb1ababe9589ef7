"""Flower, an exporter, `celery events` and a camera beside Celery's worker and ours: they see the same of both.

`ECO_MONITORS` is the interpreter that runs them.
"""

from __future__ import annotations

import collections
import json
import os
import re
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest
from celery import Celery
from side import PROGRAMS, PROJECTS
from workers import PATIENCE, Worker, eventually

#: Node names; the part behind the @ is what the exporter shows.
NODES = {"celery": "shop@theirs", "ours": "shop@ours00"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shop:
    """Both workers on one broker, and who watches them."""

    def __init__(self, broker: str, backend: str, directory) -> None:
        self.directory, self.processes = directory, []
        self.records = directory / "records"
        self.env = {
            **os.environ, "ECO_BROKER": broker, "ECO_BACKEND": backend, "ECO_RECORDS": str(self.records), "C_FORCE_ROOT": "1",
            "PYTHONPATH": str(PROJECTS), "PYTHONDONTWRITEBYTECODE": "1", "FLOWER_UNAUTHENTICATED_API": "true", "NO_COLOR": "1",
        }
        self.broker = broker
        self.app = Celery("client", broker=broker, backend=backend, set_as_current=False)

    def run(self, name: str, *command: str, **env: str) -> Worker:
        process = Worker(list(command), {**self.env, **env}, self.directory / name, PROJECTS)
        self.processes.append(process)
        return process

    def worker(self, kind: str) -> Worker:
        command = [*PROGRAMS[kind](), "-A", "monitors_app", "worker", "-n", NODES[kind], "-Q", kind, "-c", "1", "-E", "-l", "INFO"]
        return self.run(f"{kind}.log", *command, VIRTUAL_ENV=sys.prefix)

    def monitor(self, name: str, *args: str) -> Worker:
        return self.run(f"{name}.log", os.environ["ECO_MONITORS"], "-m", *args)

    def destroy(self) -> None:
        for process in self.processes:
            process.destroy()


class Web:
    """A server that a monitor has started."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path: str, **query) -> str:
        return self.ask("GET", path, query)[1]

    def post(self, path: str, **query) -> tuple[int, str]:
        return self.ask("POST", path, query)

    def ask(self, method: str, path: str, query: dict) -> tuple[int, str]:
        url = f"{self.base}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


@pytest.fixture
def shop(databases, tmp_path):
    found = Shop(next(databases), next(databases), tmp_path)
    yield found
    found.destroy()


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({repr(shape(item)) for item in value})
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def sell(shop) -> dict[str, list[str]]:
    """The same tasks for both, all over when it returns; their ids."""
    ids = {}
    for kind in NODES:
        send = lambda name, *args, k=kind: shop.app.send_task(f"shop.{name}", args, queue=k)  # noqa: E731
        results = [*(send("add", n, n) for n in range(20)), *(send("fail", "x") for _ in range(3)), send("retry")]
        for result in results:
            result.get(timeout=PATIENCE, propagate=False)
        ids[kind] = [result.id for result in results]
    return ids


def per_node(samples: collections.Counter, label: str) -> dict[str, dict]:
    """Counters of each worker without its name."""
    found = {}
    for kind, node in NODES.items():
        shown = {node, node.split("@")[1]}
        own = {key: value for key, value in samples.items() if dict(key[1]).get(label) in shown}
        hide = lambda labels: tuple((k, v) for k, v in labels if k not in (label, "queue_name", "le"))  # noqa: E731
        found[kind] = collections.Counter()
        for (name, labels), value in own.items():
            found[kind][name, hide(labels)] += value
    return found


def samples(text: str, names: str) -> collections.Counter:
    """What a Prometheus page says, of metrics whose names match."""
    found = collections.Counter()
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", text, re.M):
        if re.fullmatch(names, name):
            found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] += float(value)
    return found


def test_all_monitors_see_the_same(shop):
    flower_port, exporter_port = free_port(), free_port()
    shop.monitor("flower", "celery", "-A", "monitors_app", "flower", "--address=127.0.0.1", f"--port={flower_port}")
    launcher = "import sys; from src.cli import cli; cli(sys.argv[1:])"
    exporter = [launcher, f"--broker-url={shop.broker}", f"--port={exporter_port}", "--host=127.0.0.1"]
    shop.run("exporter.log", os.environ["ECO_MONITORS"], "-c", *exporter)
    dump = shop.monitor("dump", "celery", "-A", "monitors_app", "events", "--dump")
    shop.monitor("camera", "celery", "-A", "monitors_app", "events", "-c", "monitors_app.Camera", "-F", "0.5")
    flower, exported = Web(flower_port), Web(exporter_port)
    eventually(lambda: flower.get("/healthcheck") == "OK", "no Flower")
    eventually(lambda: exported.get("/health"), "no exporter")
    workers = {kind: shop.worker(kind) for kind in NODES}
    for worker in workers.values():
        worker.wait_ready()
    # All of them listen: each has heard a heartbeat of both.
    seen = {
        "camera": lambda: shop.records.exists() and shop.records.read_text(),
        "dump": dump.text,
        "flower": lambda: flower.get("/metrics"),
        "exporter": lambda: exported.get("/metrics"),
    }
    for name, text in seen.items():
        for node in NODES.values():
            shown = node.split("@")[1] if name == "exporter" else node
            eventually(lambda: shown in (text() or ""), f"{name} does not see {node}")
    ids = sell(shop)
    the_camera_and_the_dump(shop, dump, ids)
    the_counters(flower, exported)
    flower_shows(flower, ids)
    flower_controls(flower, workers)


def the_camera_and_the_dump(shop, dump, ids) -> None:
    def photo():
        state = json.loads(shop.records.read_text())
        return [[name, ended] for worker, name, ended in state["tasks"] if worker == NODES["ours"]], [
            [name, ended] for worker, name, ended in state["tasks"] if worker == NODES["celery"]
        ], state["workers"]

    eventually(lambda: len(photo()[0]) == len(photo()[1]) == len(ids["ours"]), "the camera misses some")
    eventually(lambda: photo()[0] == photo()[1], "the camera sees differences")
    assert sorted(photo()[2]) == sorted([node, True] for node in NODES.values())

    def lines(kind: str) -> dict:
        found = collections.Counter()
        for line in dump.text().splitlines():
            if line.startswith(f"{NODES[kind]} ") and any(id in line for id in ids[kind]):
                words = re.sub(r"\[[^\]]*\]", "[time]", line.replace(NODES[kind], "NODE"))
                words = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", words)
                found[re.sub(r"(runtime|timestamp|local_received|clock|pid|utcoffset|eta)=[^,]*", r"\1", words).split("traceback=")[0]] += 1
        return found

    def difference() -> list:
        return [*(lines("ours") - lines("celery")), *(lines("celery") - lines("ours"))]

    eventually(lambda: lines("ours") and not difference(), f"the dump is different: {difference()[:4]}")


def the_counters(flower, exported) -> None:
    def equal(web, names: str, label: str) -> bool:
        found = per_node(samples(web.get("/metrics"), names), label)
        return bool(found["ours"]) and found["ours"] == found["celery"]

    tasks = {"flower_events_total": None}
    # Heartbeats come as they come.
    def flower_events():
        found = per_node(samples(flower.get("/metrics"), "|".join(tasks)), "worker")
        own = {kind: {k: v for k, v in c.items() if dict(k[1])["type"].startswith("task-")} for kind, c in found.items()}
        return own["ours"] and own["ours"] == own["celery"]

    eventually(flower_events, "Flower counts differently")
    counted = r"celery_task_(received|started|succeeded|failed|retried|revoked|rejected)_total|celery_task_runtime_count"
    eventually(lambda: equal(exported, counted, "hostname"), "the exporter counts differently")
    gauges = "celery_worker_up|celery_worker_tasks_active|flower_worker_online"
    eventually(lambda: equal(exported, gauges, "hostname"), "the exporter's gauges are different")


def refreshed(flower) -> dict:
    """What it knows of each after it has asked it. Who is asked by name has the time that he needs."""
    ask = lambda node: json.loads(flower.get("/api/workers", refresh="true", workername=node))[node]  # noqa: E731
    return {node: ask(node) for node in NODES.values()}


def flower_shows(flower, ids) -> None:
    told = refreshed(flower)
    theirs, ours = (told[node] for node in NODES.values())
    assert ours.keys() == theirs.keys()
    assert shape(ours["stats"]) == shape(theirs["stats"])
    for node in ours, theirs:
        # Celery makes it from a set.
        node["conf"]["include"].sort()
    assert ours["registered"] == theirs["registered"] and ours["conf"] == theirs["conf"]
    assert ours["stats"]["total"] == theirs["stats"]["total"]
    tasks = json.loads(flower.get("/api/tasks", limit=1000))
    states = {
        kind: sorted((tasks[id]["name"], tasks[id]["state"], tasks[id]["args"], tasks[id]["result"]) for id in ids[kind])
        for kind in NODES
    }
    assert states["ours"] == states["celery"]
    for path in ["/", "/workers", "/tasks", "/broker", *(f"/worker/{node}" for node in NODES.values())]:
        page = flower.ask("GET", path, {})
        assert page[0] == 200, (path, page[1][-2000:])
    for kind in NODES:
        page = flower.ask("GET", f"/task/{ids[kind][0]}", {})
        assert page[0] == 200 and NODES[kind] in page[1]


def flower_controls(flower, workers) -> None:
    """Every button, with the same answer from both."""
    orders = [
        ("worker/pool/grow", {"n": 2}), ("worker/pool/shrink", {"n": 1}), ("worker/pool/autoscale", {"min": 1, "max": 3}),
        ("worker/pool/restart", {}), ("worker/queue/add-consumer", {"queue": "more"}),
        ("worker/queue/cancel-consumer", {"queue": "more"}),
    ]
    for path, query in orders:
        theirs, ours = (flower.post(f"/api/{path}/{node}", **query) for node in NODES.values())
        assert ours == (theirs[0], theirs[1].replace(NODES["celery"], NODES["ours"])), path
    eventually(lambda: {len(refreshed(flower)[node]["stats"]["pool"]["processes"]) for node in NODES.values()} == {2}, "it did not grow")
    for path, query in [("task/timeout", {"soft": 5, "hard": 9}), ("task/rate-limit", {"ratelimit": "7/m"})]:
        theirs, ours = (flower.post(f"/api/{path}/shop.add", workername=node, **query) for node in NODES.values())
        assert ours == theirs, path
    for node in NODES.values():
        assert "shop.add [rate_limit=7/m]" in refreshed(flower)[node]["registered"]
    for kind, worker in workers.items():
        assert flower.post(f"/api/worker/shutdown/{NODES[kind]}")[0] == 200
        assert worker.process.wait(PATIENCE) == 0
