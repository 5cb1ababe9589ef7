"""django-celery-beat: its schedule in a database drives our worker, from Celery's beat, from ours and from inside it."""

from __future__ import annotations

import itertools
import os
import sys

import pytest
from side import PROJECTS, Side
from workers import Worker, eventually


@pytest.fixture
def side(databases, tmp_path):
    found = Side("ours", "timetable", next(databases), next(databases), tmp_path / "side", {})
    yield found
    found.destroy()


def test_django_celery_beat(side):
    """`celery beat`; `celery-rs beat`, which becomes it; and `-B`, which has it beside the worker."""
    side.call("prepare")
    side.start()
    count = itertools.count(1)
    ours = os.environ["CELERY_RS_BIN"]
    for program in ([f"{sys.prefix}/bin/celery"], [ours]):
        command = [*program, "-A", "timetable", "beat", "-l", "INFO"]
        beat = Worker(command, {**side.env, "ECO_ROLE": "beat"}, side.directory / f"beat-{next(count)}", PROJECTS)
        try:
            noted(side, beat)
            assert ". scheduler -> django_celery_beat.schedulers.DatabaseScheduler" in beat.text()
            assert beat.terminate() == 0
        finally:
            beat.destroy()
    assert "since the scheduler django_celery_beat.schedulers.DatabaseScheduler is Python" in beat.text()
    assert side.worker.terminate() == 0
    worker = side.start("-B")
    noted(side, worker)
    assert "Celery's own beat runs in a process of its own, since the scheduler django_celery_beat." in worker.text()
    assert worker.terminate() == 0


def noted(side, beat):
    """Once more than before."""
    before = len(records(side))
    eventually(lambda: len(records(side)) > before or beat.ended(), beat.text())
    assert len(records(side)) > before, beat.text()
    last = records(side)[-1]
    assert (last["word"], last["name"]) == ("tick", "each second")


def records(side):
    return [record for record in side.records() if record["what"] == "noted"]
