"""Beat: Celery's drives our worker; ours sends what Celery's sends, by itself and inside a worker."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import shelve
import sys
from datetime import datetime, timedelta, timezone

import pytest
import yaml
from conftest import PATIENCE, TESTS, Site, eventually
from workers import Worker

PROGRAMS = {"celery": [sys.executable, "-m", "celery"], "ours": [os.environ["CELERY_RS_BIN"]]}
QUEUES = {"known": "", "own": "-own", "unknown": "", "routed": "-routed", "said": "-said"}


class BeatSite(Site):
    app_name = "beat_app"

    def beat(self, kind: str, *args: str, **env: str) -> Worker:
        log = self.directory / f"beat{len(self.workers)}.log"
        command = [*PROGRAMS[kind], "-A", self.app_name, "beat", "-l", "DEBUG", "-s", str(self.schedule), *args]
        beat = Worker(command, {**self.env, **env}, log, TESTS / "apps")
        self.workers.append(beat)
        return beat

    @property
    def schedule(self) -> pathlib.Path:
        return self.directory / "celerybeat-schedule"

    @property
    def marks(self) -> pathlib.Path:
        return self.directory / "marks"

    def marked(self, word: str) -> int:
        return self.marks.read_text().count(word) if self.marks.exists() else 0


@pytest.fixture
def beat_site(redis_server, tmp_path):
    found = BeatSite(redis_server.url(0), redis_server.url(1), tmp_path)
    found.env["PROJ_MARKS"] = str(found.marks)
    yield found
    found.destroy()


def stop(beat: Worker, kind: str) -> None:
    """Celery's has closed its file and may still look into it, at which it ends with 1."""
    assert beat.terminate() in ([0] if kind == "ours" else [0, 1]), beat.text()


def messages(site: Site, kind: str) -> dict[str, dict]:
    """One message of each entry, and of which all that is different each time is left out."""
    env = {"PROJ_SCHEDULE": "messages"}
    beat = site.beat(kind, **env)
    names = list(QUEUES)
    eventually(lambda: all(f"Sending due task {name} (" in beat.text() for name in names) or beat.ended(), beat.text())
    # The sending of one ends before that of the next begins.
    eventually(lambda: beat.text().count("sent. id->") >= len(names) or beat.ended(), beat.text())
    stop(beat, kind)
    found = {}
    with site.proj.app.connection() as connection:
        for queue in sorted(set(QUEUES.values())):
            lists = [f"{site.queue}{queue}{suffix}" for suffix in ("", "\x06\x163", "\x06\x166", "\x06\x169")]
            for name in lists:
                for raw in connection.default_channel.client.lrange(name, 0, -1):
                    message = json.loads(raw)
                    found.setdefault((message["headers"]["task"], queue), tidied(message))
            connection.default_channel.client.delete(*lists)
    return {" ".join(key): value for key, value in found.items()}


def tidied(message):
    headers, properties = message["headers"], message["properties"]
    sent = datetime.now(timezone.utc)
    for name in ("eta", "expires"):
        if headers[name]:
            at = datetime.fromisoformat(headers[name])
            # In the app's zone, and as far ahead as it was said to be.
            headers[name] = [str(at.utcoffset()), round((at - sent) / timedelta(seconds=1000))]
    if message["content-type"] == "application/x-yaml":
        # The same in other words: ours is written in one line.
        message["body"] = yaml.safe_load(base64.b64decode(message["body"]))
    headers["origin"] = re.sub(r"\d+", "N", headers["origin"])
    for holder, name in [(headers, "id"), (headers, "root_id"), (properties, "correlation_id"), (properties, "reply_to"),
                         (properties, "delivery_tag")]:
        assert holder[name]
        holder[name] = ""
    return message


def lines(text: str) -> set[str]:
    """What was told at INFO, without its time."""
    return {line.split("] ", 1)[1] for line in text.splitlines() if ": INFO/" in line}


def test_messages_and_log_are_celerys(beat_site):
    ours, theirs = (messages(beat_site, kind) for kind in ("ours", "celery"))
    assert sorted(theirs) == [
        "other.task ", "proj.mark ", "proj.mark -said", "proj.quiet -own", "proj.routed.task -routed"
    ]
    for name, message in theirs.items():
        assert ours[name] == message, name
    logs = [beat.text() for beat in beat_site.workers]
    assert "Celery's own beat" not in logs[0]
    assert lines(logs[0]) == lines(logs[1])
    for line in ("celery beat v", "LocalTime -> ", ". scheduler -> celery.beat.PersistentScheduler", ". maxinterval -> "):
        assert line in logs[0] and line in logs[1]
    assert "beat: Synchronizing schedule..." in logs[0]


@pytest.mark.parametrize("kind, broker", [("celery", "redis"), ("ours", "redis"), ("ours", "rabbit")])
def test_beat_drives_a_worker(beat_site, request, kind, broker):
    """A separate beat, of either kind, and our worker."""
    if broker == "rabbit":
        beat_site.env["PROJ_BROKER"] = request.getfixturevalue("rabbit_server").url()
    beat_site.worker("-c", "1")
    beat = beat_site.beat(kind)
    eventually(lambda: beat_site.marked("often") > 1 and beat_site.marked("added"), beat.text())
    stop(beat, kind)


def test_the_schedule_is_kept_and_beat_is_alone(beat_site):
    """Nothing is sent twice by a restart, and what was missed is made up for, as by Celery's; one beat at a time."""
    file = pathlib.Path(f"{beat_site.schedule}.json")
    beat_site.worker("-c", "1")
    beat = beat_site.beat("ours")
    eventually(lambda: beat_site.marked("often") and beat_site.marked("added"), beat.text())
    second = beat_site.beat("ours")
    assert second.process.wait(PATIENCE) == 73
    assert f"another beat runs on the schedule file {file}" in second.text()
    assert beat.terminate() == 0
    kept = json.loads(file.read_text())
    assert (kept["tz"], kept["utc_enabled"], kept["entries"]["seldom"]["total_run_count"]) == ("Europe/Vienna", True, 0)
    assert kept["entries"]["often"]["total_run_count"] >= 1
    kept["entries"]["seldom"]["last_run_at"] = "2026-01-01T00:00:00+00:00"
    file.write_text(json.dumps(kept))
    beat = beat_site.beat("ours", PROJ_EVERY="3600")
    eventually(lambda: beat_site.marked("seldom"), beat.text())
    assert beat.terminate() == 0
    assert "Sending due task often" not in beat.text()
    kept = json.loads(file.read_text())["entries"]
    assert kept["seldom"]["total_run_count"] == 1 and kept["seldom"]["last_run_at"] > "2026-01-02"


def test_celerys_schedule_file_is_taken_over(beat_site):
    beat = beat_site.beat("celery")
    eventually(lambda: "Sending due task often" in beat.text(), beat.text())
    stop(beat, "celery")
    with shelve.open(str(beat_site.schedule)) as store:
        entries = store["entries"]
        entries["seldom"].total_run_count = 41
        last = entries["seldom"].last_run_at = entries["seldom"].last_run_at - timedelta(hours=1)
        store["entries"] = entries
    beat = beat_site.beat("ours", PROJ_EVERY="3600")
    eventually(lambda: "Sending due task added" in beat.text(), beat.text())
    assert beat.terminate() == 0
    kept = json.loads(pathlib.Path(f"{beat_site.schedule}.json").read_text())["entries"]["seldom"]
    assert (kept["total_run_count"], datetime.fromisoformat(kept["last_run_at"])) == (41, last)


def test_inside_a_worker(beat_site):
    """`-B` sends over the worker's connection, keeps the schedule, and ends with the worker."""
    worker = beat_site.worker("-c", "1", "-B", "-s", str(beat_site.schedule))
    eventually(lambda: beat_site.marked("often") > 1 and beat_site.marked("added"), worker.text())
    assert worker.terminate() == 0
    text = worker.text()
    for line in ("beat: Starting...", "Scheduler: Sending due task often (proj.mark)", "beat: Shutting down..."):
        assert f": INFO/Beat] {line}" in text
    kept = json.loads(pathlib.Path(f"{beat_site.schedule}.json").read_text())
    assert kept["entries"]["often"]["total_run_count"] == text.count("Sending due task often") > 1


def test_celerys_beat_inside_a_worker(beat_site):
    """What only Python can schedule is run by Celery's beat, in a process of its own."""
    env = {"PROJ_SCHEDULER": "celery.beat:Scheduler"}
    worker = beat_site.worker("-c", "1", "-B", "-s", str(beat_site.schedule), env=env)
    eventually(lambda: beat_site.marked("often") > 1 and beat_site.marked("added"), worker.text())
    assert "Celery's own beat runs in a process of its own, since the scheduler celery.beat.Scheduler is" in worker.text()
    assert worker.terminate() == 0, worker.text()
    assert ": INFO/Beat] Scheduler: Sending due task often (proj.mark)" in worker.text()


def test_backend_cleanup(redis_server, tmp_path):
    """Scheduled for a backend that does not forget by itself, and not for others; the task does what it is to do."""
    results = tmp_path / "results"
    results.mkdir()
    site = BeatSite(redis_server.url(0), f"file://{results}", tmp_path)
    try:
        for backend, there in [(site.backend, 1), (redis_server.url(1), 0)]:
            beat = site.beat("ours", PROJ_BACKEND=backend)
            eventually(lambda: "beat: Starting..." in beat.text() or beat.ended(), beat.text())
            entry = "<ScheduleEntry: celery.backend_cleanup celery.backend_cleanup() <crontab: 0 4 * * * (m/h/dM/MY/d)>"
            assert beat.text().count(entry) == there, beat.text()
            assert beat.terminate() == 0
        old = results / "celery-task-meta-old"
        old.write_text("{}")
        os.utime(old, (0, 0))
        site.worker("-c", "1")
        assert site.proj.app.tasks["celery.backend_cleanup"].delay().get(timeout=PATIENCE) is None
        assert not old.exists()
    finally:
        site.destroy()


def test_what_only_python_can_schedule_is_celerys(beat_site):
    """A scheduler of the app's own: the process becomes Celery's beat, and says why."""
    beat = beat_site.beat("ours", "-S", "celery.beat:Scheduler")
    eventually(lambda: "Sending due task often" in beat.text() or beat.ended(), beat.text())
    assert "since the scheduler celery.beat.Scheduler is Python" in beat.text()
    stop(beat, "celery")


@pytest.mark.parametrize("inside", [False, True], ids=["by itself", "inside a worker"])
def test_the_sun_is_celerys(beat_site, inside):
    """`solar` is left to Celery's beat. A sunset that it has missed is made up for at once, and once."""
    beat_site.env["PROJ_SCHEDULE"] = "solar"
    first = beat_site.beat("celery")
    eventually(lambda: "Waking up in" in first.text() or first.ended(), first.text())
    stop(first, "celery")
    with shelve.open(str(beat_site.schedule)) as store:
        entries = store["entries"]
        entries["sun"].last_run_at -= timedelta(days=1, hours=12)
        store["entries"] = entries
    options = ("-B", "-s", str(beat_site.schedule)) if inside else ()
    worker = beat_site.worker("-c", "1", *options)
    beat = worker if inside else beat_site.beat("ours")
    eventually(lambda: beat_site.marked("sun") == 1 or beat.ended(), beat.text())
    assert "since beat_schedule entry 'sun': its schedule is a celery.schedules.solar" in beat.text()
    stop(beat, "ours" if inside else "celery")
    with shelve.open(str(beat_site.schedule)) as store:
        assert store["entries"]["sun"].total_run_count == beat_site.marked("sun") == 1


def test_a_broker_that_is_away_is_waited_for(beat_site):
    beat = beat_site.beat("ours", PROJ_BROKER="redis://127.0.0.1:1/0")
    eventually(lambda: "beat: Connection error: " in beat.text(), beat.text())
    assert "Trying again in 2.0 seconds..." in beat.text()
    assert beat.terminate() == 0
