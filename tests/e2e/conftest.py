"""Servers, workers and clients for the end-to-end tests.

`CELERY_RS_BIN` is the worker, `CELERY_RS_NATIVE_BIN` the one with Rust handlers (`tests/apps/native_worker.rs`). The
Celery that runs pytest is the client, and the app's own side of the worker.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pathlib
import signal
import ssl
import sys
import uuid

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "apps")]

from brokers import MariaDB, PostgreSQL, RabbitMQ, Redis, free_port  # noqa: E402
from ways import (  # noqa: E402
    Certificates, Way, by_a_sentinel, by_sqs, through_a_socket, through_folders, with_a_user, with_tls,
)
from workers import PATIENCE, Worker, eventually  # noqa: E402, F401

#: How often a worker is started that is to hear of its neighbours.
MOST_STARTS = 6
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Site:
    """A broker, a result backend, and the project as their client sees it."""

    app_name = "e2e_app"

    def __init__(self, broker: str, backend: str | None, directory: pathlib.Path) -> None:
        self.broker, self.backend, self.directory = broker, backend, directory
        self.queue = f"proj-{uuid.uuid4().hex[:8]}"
        self.env = {
            **os.environ,
            "PROJ_BROKER": broker,
            "PROJ_BACKEND": backend or "",
            "PROJ_QUEUE": self.queue,
            "VIRTUAL_ENV": sys.prefix,
            "C_FORCE_ROOT": "1",
        }
        self.workers: list[Worker] = []
        self.proj = self.client()

    def client(self):
        """The project, imported anew with this site's URLs."""
        saved = {name: os.environ.get(name) for name in self.env}
        os.environ.update(self.env)
        try:
            sys.modules.pop(self.app_name, None)
            module = importlib.import_module(self.app_name)
            # Results that outlive their Redis must not keep pytest waiting at its end.
            policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
            module.app.conf.result_backend_transport_options |= {"retry_policy": policy}
            return module
        finally:
            for name, value in saved.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

    def worker(
        self, *args: str, kind: str = "ours", env: dict[str, str] | None = None, ready: bool = True, name: str | None = None,
        app: bool = True,
    ) -> Worker:
        program = {
            "ours": [os.environ["CELERY_RS_BIN"]],
            "native": [os.environ["CELERY_RS_NATIVE_BIN"]],
            "celery": [sys.executable, "-m", "celery"],
        }[kind]
        name = name or f"{kind}{len(self.workers)}@test"
        command = [*program, *(["-A", self.app_name] if app else []), "worker", "-n", name, "-l", "INFO", *(args or ("-c", "2"))]
        log = self.directory / f"worker{len(self.workers)}.log"
        worker = Worker(command, {**self.env, **(env or {})}, log, TESTS / "apps")
        self.workers.append(worker)
        if ready:
            worker.wait_ready()
            if kind == "celery":
                # It says that it is ready before it has subscribed to broadcasts.
                eventually(lambda: self.proj.app.control.ping(destination=[name], timeout=2), f"no answer from {name}")
        return worker

    def mingled(self, *args: str, nodes: int, name: str, **options) -> Worker:
        """A worker that has heard of its neighbours: they have one second to answer, which a busy machine may not have."""
        for _ in range(MOST_STARTS):
            worker = self.worker(*args, name=name, **options)
            if f"mingle: sync with {nodes} nodes" in worker.text():
                return worker
            self.workers.remove(worker)
            worker.destroy()
            worker.log.unlink()
        raise AssertionError(f"not {nodes} neighbours answered {name} within a second, {MOST_STARTS} times")

    def destroy(self) -> None:
        for worker in self.workers:
            worker.destroy()


class Fleet(Site):
    """A worker of ours with Rust handlers and one of Celery's. Each has a queue of its own; ours has the default one."""

    def __init__(self, broker: str, backend: str, directory: pathlib.Path, **conf) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROJ_CONF", json.dumps({"result_extended": True, **conf}))
            super().__init__(broker, backend, directory)
        self.theirs = f"{self.queue}-theirs"
        self.queues = {"native": self.queue, "celery": self.theirs}

    def start(self, broadcasts: bool = True) -> "Fleet":
        self.ours, theirs = (
            self.worker("-c", "2", "-Q", queue, *QUIET, kind=kind, name=f"{kind}@test", ready=False)
            for kind, queue in self.queues.items()
        )
        self.ours.wait_ready()
        theirs.wait_ready()
        if broadcasts:
            eventually(lambda: set(self.pongs()) == {"native@test", "celery@test"}, "not all answer")
        return self

    def pongs(self) -> list[str]:
        """Who answers."""
        return [name for reply in self.proj.app.control.ping(timeout=PATIENCE, limit=len(self.queues)) for name in reply]


def given_to_a_stopped_child(site: Site, worker: Worker, log: pathlib.Path):
    """The number of the worker's only child, which is stopped, and the result of a task that it was given after that."""
    child = site.proj.pid.delay().get(timeout=PATIENCE)
    log.touch()
    os.kill(child, signal.SIGSTOP)
    result = site.proj.mark_early.delay(str(log))
    eventually(lambda: f"[{result.id}] received" in worker.text(), "it was not received")
    return child, result


@pytest.fixture(scope="session")
def one_redis():
    with Redis() as server:
        yield server


@pytest.fixture
def redis_server(one_redis):
    """Empty: what workers that were killed in other tests left in `unacked` is not this test's."""
    one_redis.flush()
    return one_redis


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def rabbit_server(certificates):
    """On its `tls_port` it wants to see its clients' certificates."""
    port, (cert, key) = free_port(), certificates.server
    files = {"cacertfile": certificates.authority, "certfile": cert, "keyfile": key}
    options = {**files, "verify": "verify_peer", "fail_if_no_peer_cert": "true"}
    settings = {f"ssl_options.{name}": value for name, value in options.items()}
    with RabbitMQ({"listeners.ssl.default": f"127.0.0.1:{port}", **settings}) as server:
        server.tls_port = port
        yield server


@pytest.fixture(scope="session")
def way(request, certificates, tmp_path_factory):
    """Finds the way that a scheme names. Servers are started when they are asked for first."""
    cert, key = certificates.client
    needed = {"ca_certs": certificates.authority, "certfile": cert, "keyfile": key, "cert_reqs": int(ssl.CERT_REQUIRED)}
    rabbit = functools.partial(request.getfixturevalue, "rabbit_server")
    ways = {
        "redis": with_a_user,
        "rediss": lambda: with_tls(certificates),
        "redis+socket": lambda: through_a_socket(tmp_path_factory.mktemp("socket")),
        "sentinel": by_a_sentinel,
        "sqs": by_sqs,
        "filesystem": lambda: contextlib.nullcontext(through_folders(tmp_path_factory.mktemp("folders"))),
        "amqp": lambda: contextlib.nullcontext(Way(lambda _: rabbit().url())),
        "amqps": lambda: contextlib.nullcontext(
            Way(lambda _: f"amqps://guest:guest@127.0.0.1:{rabbit().tls_port}//", conf={"broker_use_ssl": needed})
        ),
    }
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda scheme: stack.enter_context(ways[scheme]()))


@pytest.fixture(scope="session")
def postgresql_server():
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server():
    with MariaDB() as server:
        yield server


@pytest.fixture(params=["redis+redis", "rabbit+rpc", "rabbit+redis"])
def site(request, redis_server, tmp_path):
    """Each combination that a user would run."""
    broker, backend = request.param.split("+")
    broker_url = redis_server.url(0) if broker == "redis" else request.getfixturevalue("rabbit_server").url()
    found = Site(broker_url, redis_server.url(1) if backend == "redis" else "rpc://", tmp_path)
    yield found
    found.destroy()


@pytest.fixture
def redis_site(redis_server, tmp_path):
    found = Site(redis_server.url(0), redis_server.url(1), tmp_path)
    yield found
    found.destroy()


@pytest.fixture
def rabbit_site(redis_server, rabbit_server, tmp_path):
    found = Site(rabbit_server.url(), redis_server.url(1), tmp_path)
    yield found
    found.destroy()


@pytest.fixture(params=["redis", "rabbit"])
def broker_site(request):
    return request.getfixturevalue(f"{request.param}_site")
