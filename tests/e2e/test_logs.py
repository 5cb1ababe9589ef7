"""The log: Celery's formats, settings, signals and files beside a genuine worker's; and one JSON object per line."""

from __future__ import annotations

import datetime
import json
import re

import pytest
from conftest import PATIENCE, Site, eventually

FORMATS = {
    "worker_log_format": "%(levelname)s|%(name)s|%(processName)s|%(message)s",
    "worker_task_log_format": "task|%(levelname)s|%(name)s|%(processName)s|%(task_name)s[%(task_id)s]|%(message)s",
    "worker_redirect_stdouts_level": "ERROR",
}
#: What has no need to be the same: times of running, and what differs from run to run.
VARIES = re.compile(r"(?<=succeeded in )[0-9.e-]+s|[0-9a-f]{8}-[0-9a-f-]{27}")


class Logs(Site):
    app_name = "logs_app"


@pytest.fixture
def sides(redis_server, tmp_path):
    """The same project for either kind of worker, each with Redis databases and a directory of its own."""
    found = {}
    for number, kind in enumerate(["ours", "celery"]):
        directory = tmp_path / kind
        directory.mkdir()
        found[kind] = Logs(redis_server.url(2 * number), redis_server.url(2 * number + 1), directory)
    yield found
    for side in found.values():
        side.destroy()


def start(side: Site, kind: str, conf: dict, *args: str, wanted: str = ""):
    calls, own = side.directory / "calls", side.directory / "own"
    calls.touch(), own.touch()
    env = {"LOGS_CONF": json.dumps(conf), "LOGS_CALLS": str(calls), "LOGS_OWN": str(own), "LOGS_WANTED": wanted}
    return side.worker("-c", "1", "--without-gossip", "--without-mingle", *args, kind=kind, name="w@test", env=env, ready=False)


def run(side: Site, word: str) -> None:
    assert side.proj.speak.delay(word).get(timeout=PATIENCE) == word
    side.proj.raise_it.delay(word).get(timeout=PATIENCE, propagate=False)


def text(path) -> str:
    return path.read_text() if path.exists() else ""


def lines(text: str, mark: str) -> list[str]:
    """The lines of a child, or those that say that a task was received."""
    found = [VARIES.sub("*", line) for line in text.splitlines()]
    return [line for line in found if mark in line]


def traceless(text: str) -> list[str]:
    """All lines without those of tracebacks, whose last ones stay."""
    return [VARIES.sub("*", line) for line in text.splitlines() if "|" in line or line.startswith("ValueError")]


def test_formats_settings_and_files_are_celerys(sides):
    found = {}
    for kind, side in sides.items():
        start(side, kind, FORMATS, "-f", str(side.directory / "%n-%h%d%I.log"))
        main, child = side.directory / "w-test.log", side.directory / "w-test-1.log"
        run(side, "one")
        eventually(lambda: "raised unexpected" in text(child), f"not in {child}: {side.workers[0].text()}")  # noqa: B023
        old = {}
        for path in (main, child):
            eventually(lambda: "proj.raise_it" in text(path), f"not in {path}")  # noqa: B023
            path.rename(path.with_suffix(".old"))
        run(side, "two")
        eventually(lambda: "raised unexpected" in text(child), f"no new {child}")  # noqa: B023
        eventually(lambda: "proj.raise_it" in text(main), f"no new {main}")  # noqa: B023
        for path in (main, child):
            old[path.name] = path.with_suffix(".old").read_text()
        assert "two" not in old[child.name] and "one" not in child.read_text()
        found[kind] = {
            "files": sorted(path.name for path in side.directory.glob("*.log")),
            "child": [traceless(old[child.name]), traceless(child.read_text())],
            "main": [lines(old[main.name], " received"), lines(main.read_text(), " received")],
        }
    assert found["ours"] == found["celery"]
    first = found["ours"]["child"][0]
    assert "task|INFO|proj|ForkPoolWorker-1|proj.speak[*]|by the task's logger: one" in first
    assert "ERROR|celery.redirected|ForkPoolWorker-1|printed: one" in "\n".join(first)
    assert found["ours"]["main"][0][0] == "INFO|celery.worker.strategy|MainProcess|Task proj.speak[*] received"


@pytest.mark.parametrize(
    ("wanted", "conf", "said"),
    [
        ("setup_logging", {}, "receivers of setup_logging shape the log of the children"),
        ("after_setup_logger after_setup_task_logger", {}, "receivers of after_setup_logger shape the log of the children"),
        ("root", {"worker_hijack_root_logger": False}, None),
        ("root", {"worker_redirect_stdouts": False}, None),
    ],
    ids=["setup_logging", "after_setup", "no hijacking", "hijacked"],
)
def test_signals_are_celerys(sides, wanted, conf, said):
    found = {}
    for kind, side in sides.items():
        worker = start(side, kind, {**FORMATS, **conf}, wanted=wanted)
        run(side, "one")
        own = side.directory / "own"
        shown = lambda: own.read_text() + worker.text()  # noqa: E731, B023
        eventually(lambda: "raised unexpected" in shown(), "nothing was logged")  # noqa: B023
        found[kind] = {
            "calls": [json.loads(line) for line in (side.directory / "calls").read_text().splitlines()],
            "own": lines(own.read_text(), "ForkPoolWorker"),
            "log": lines(worker.text(), "ForkPoolWorker"),
            "printed": lines(worker.text(), "printed"),
            "task": lines(worker.text(), "task|"),
        }
        if kind == "ours":
            assert (said in worker.text()) if said else ("shape the log" not in worker.text())
    assert found["ours"] == found["celery"]
    assert found["ours"]["own"] or wanted == "root" and "worker_hijack_root_logger" not in conf
    assert len(found["ours"]["calls"]) == (0 if wanted == "root" else len(wanted.split()))


def test_an_event_is_one_json_object(sides):
    side = sides["ours"]
    fields = {"worker_log_format": "%(request_id)s %(message)s"}
    worker = start(side, "ours", fields, "--log-format", "json")
    result = side.proj.speak.delay("one")
    assert result.get(timeout=PATIENCE) == "one"
    failed = side.proj.expects.delay("two")
    failed.get(timeout=PATIENCE, propagate=False)
    eventually(lambda: "raised expected" in worker.text(), "it was not logged")
    assert worker.terminate() == 0
    # The banner and the words on signals are no log.
    told = worker.text().splitlines()
    assert not any("INFO/" in line or "WARNING/" in line for line in told)
    objects = [json.loads(line) for line in told if line.startswith("{")]
    for line in objects:
        assert {"time", "level", "logger", "process", "message"} <= line.keys()
        assert datetime.datetime.fromisoformat(line["time"]).tzinfo
    of_task = [line for line in objects if line.get("task_id") == result.id]
    assert {line["task_name"] for line in of_task} == {"proj.speak"}
    assert [(line["level"], line["logger"], line["process"]) for line in of_task] == [
        ("INFO", "celery.worker.strategy", "MainProcess"),
        ("INFO", "proj", "ForkPoolWorker-1"),
        ("WARNING", "proj.other", "ForkPoolWorker-1"),
        ("WARNING", "celery.redirected", "ForkPoolWorker-1"),
        ("WARNING", "celery.redirected", "ForkPoolWorker-1"),
        ("INFO", "celery.app.trace", "ForkPoolWorker-1"),
    ]
    (raised,) = [line for line in objects if "exception" in line]
    assert raised["message"] == "about to raise" and raised["exception"].endswith("ZeroDivisionError: two")
    assert raised["task_id"] == failed.id
    assert not any("only Python knows" in line["message"] for line in objects)


def test_fields_that_only_python_knows_are_told(sides):
    """Celery writes a traceback for each line."""
    side = sides["ours"]
    worker = start(side, "ours", {"worker_log_format": "<%(request_id)s> %(message)s"})
    worker.wait_ready()
    assert "worker_log_format has fields that only Python knows (request_id)" in worker.text()
    assert "<> w@test ready." in worker.text()
