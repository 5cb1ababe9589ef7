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


def with_dead_letters(side: Side) -> dict:
    """Settings: what the queue refuses goes to another one."""
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": side.dead_letters}
    queue = {"exchange": "", "routing_key": side.queue, "queue_arguments": arguments}
    return {"task_queues": {side.queue: queue}}


@pytest.fixture(scope="session", params=["redis", "rabbitmq"])
def acks(databases, rabbit_server, tmp_path_factory, request):
    """A pair on each broker. On RabbitMQ what is refused is kept, and is part of the ledger."""
    directory = tmp_path_factory.mktemp("acks")
    on_rabbit = request.param == "rabbitmq"
    sides = [
        Side(kind, rabbit_server.url() if on_rabbit else databases.url(), databases.url(), directory)
        for kind in ("celery", "ours")
    ]
    pair = Pair(*sides)
    yield pair.start(conf=with_dead_letters if on_rabbit else None)
    pair.destroy()


@pytest.fixture
def pair_with(databases, tmp_path):
    """Makes a pair with options of its own."""
    yield from makes_pairs(databases, tmp_path)


@pytest.fixture(scope="module")
def pair_for(databases, tmp_path_factory):
    """The same for all scenarios of a file."""
    yield from makes_pairs(databases, tmp_path_factory.mktemp("pair"))


def makes_pairs(databases: Databases, parent: pathlib.Path):
    made: list[Pair] = []

    def make(*args: str, store: str | None = "redis", **options) -> Pair:
        directory = parent / str(len(made))
        backend = {"redis": lambda _: databases.url(), "file": files, "rpc": lambda _: "rpc://", None: lambda _: None}[store]
        sides = [Side(kind, databases.url(), backend(directory / kind), directory) for kind in ("celery", "ours")]
        made.append(Pair(*sides))
        return made[-1].start(*args, **options)

    def files(directory: pathlib.Path) -> str:
        (results := directory / "results").mkdir(parents=True)
        return f"file://{results}"

    yield make
    for pair in made:
        pair.destroy()
