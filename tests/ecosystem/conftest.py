"""A project under Celery's worker and under ours, and what its hooks have recorded.

`CELERY_RS_BIN` is ours; the Celery that runs pytest is the other one. Libraries that patch Celery patch the process they
are in, so that each client is a process of its own: `client.py`.
"""

from __future__ import annotations

import difflib
import itertools
import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support")]

from brokers import Redis  # noqa: E402
from side import KINDS, Side  # noqa: E402


@pytest.fixture(scope="session")
def databases():
    """URLs of Redis databases that nobody else uses."""
    with Redis(databases=1000) as server:
        yield (server.url(number) for number in itertools.count())


@pytest.fixture
def sides(databases, tmp_path):
    """Makes a side of each kind."""
    made: list[Side] = []

    def make(project: str, **env: str) -> list[Side]:
        for kind in KINDS:
            directory = tmp_path / f"{len(made)}-{kind}"
            made.append(Side(kind, project, next(databases), next(databases), directory, env))
        return made[-len(KINDS):]

    yield make
    for side in made:
        side.destroy()


@pytest.fixture
def both(sides):
    """Runs a project under both workers: what `summary` makes of Celery's side, which is what it makes of ours."""

    def run(project: str, summary, *args: str, calls: tuple[str, ...] = ("client",), **env: str):
        def play(side: Side):
            return summary(side.play(args, calls))

        pair = sides(project, **env)
        with ThreadPoolExecutor(len(pair)) as threads:
            found = list(threads.map(play, pair))
        if difference := "\n".join(compared(*found)):
            pytest.fail(f"(- Celery, + ours)\n{difference}", pytrace=False)
        return found[0]

    return run


def compared(theirs, ours=None) -> list[str]:
    texts = [json.dumps(value, indent=1, default=repr).splitlines() for value in (theirs, ours)]
    return list(difflib.unified_diff(*texts, lineterm=""))[2:] if ours is not None else []
