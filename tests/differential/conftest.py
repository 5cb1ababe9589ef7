"""Pairs of workers, Celery's and ours, that run the same scenarios.

`CELERY_RS_BIN` is ours; the Celery that runs pytest is the other one, and the client of both.
"""

from __future__ import annotations

import itertools
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support")]

from brokers import RabbitMQ, Redis  # noqa: E402
from side import Pair, Side  # noqa: E402


class Databases:
    """A Redis, and numbers of databases nobody else uses."""

    def __init__(self, server: Redis) -> None:
        self.server, self.numbers = server, itertools.count()

    def url(self) -> str:
        return self.server.url(next(self.numbers))


@pytest.fixture(scope="session")
def databases():
    with Redis(databases=1000) as server:
        yield Databases(server)


@pytest.fixture(scope="session")
def rabbit_server():
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session", params=["receivers", "no receivers"])
def base(databases, tmp_path_factory, request):
    """The pair without special options. Results go another way when nobody may look at them before the end."""
    directory = tmp_path_factory.mktemp("base")
    pair = Pair(*(Side(kind, databases.url(), databases.url(), directory) for kind in ("celery", "ours")))
    yield pair.start(receivers=request.param == "receivers")
    pair.destroy()


@pytest.fixture
def pair_with(databases, tmp_path):
    """Makes a pair with options of its own."""
    made: list[Pair] = []

    def make(*args: str, backend: bool = True, **options) -> Pair:
        directory = tmp_path / str(len(made))
        sides = [
            Side(kind, databases.url(), databases.url() if backend else None, directory) for kind in ("celery", "ours")
        ]
        made.append(Pair(*sides))
        return made[-1].start(*args, **options)

    yield make
    for pair in made:
        pair.destroy()
