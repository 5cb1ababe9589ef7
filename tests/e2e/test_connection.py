"""The broker's connection breaks: nothing runs twice, nothing hangs, and Celery's settings say what happens next."""

import os
import signal
import socket

import pytest
from conftest import PATIENCE, Site, eventually

from proxy import Proxy


@pytest.fixture
def cut_site(redis_server, rabbit_server, tmp_path):
    """RabbitMQ behind a proxy for the worker; the client goes there directly."""
    with Proxy(rabbit_server.port) as proxy:
        found = Site(rabbit_server.url(), redis_server.url(1), tmp_path)
        found.env["PROJ_BROKER"] = f"amqp://guest:guest@127.0.0.1:{proxy.port}//"
        found.proxy = proxy
        yield found
        found.destroy()


def runs(log):
    return log.read_text().split()


def test_what_has_not_begun_runs_once_after_a_loss(cut_site, tmp_path):
    """A task that is with a child already, but has not begun, is the broker's again when the connection is lost."""
    log = tmp_path / "runs"
    log.touch()
    worker = cut_site.worker("-c", "1")
    child = cut_site.proj.pid.delay().get(timeout=PATIENCE)
    os.kill(child, signal.SIGSTOP)
    result = cut_site.proj.mark_early.delay(str(log))
    received = f"Task proj.mark_early[{result.id}] received"
    eventually(lambda: received in worker.text(), "it was not received")
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count(received) == 2, "it was not received again")
    os.kill(child, signal.SIGCONT)
    assert result.get(timeout=PATIENCE) == result.id
    # The child works off one task after the other.
    assert cut_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert runs(log) == [result.id]


def test_the_window_is_right_again_after_a_reconnect(cut_site):
    """Tasks that wait for their time come again with the new connection, and widen its window once."""
    worker = cut_site.worker("-c", "1", "--without-gossip")
    for _ in range(3):
        cut_site.proj.add.apply_async((1, 1), countdown=3600)
    inspect = cut_site.proj.app.control.inspect(destination=["ours0@test"], timeout=20, limit=1)
    window = lambda: inspect.stats()["ours0@test"]["prefetch_count"]  # noqa: E731
    eventually(lambda: worker.text().count("received") == 3, "they were not received")
    assert window() == 4 + 3
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count("received") == 6, "they were not received again")
    assert window() == 4 + 3


DISABLED = (
    "Retrying to {verb} a connection to the message broker after a connection loss has been disabled "
    "(app.conf.{setting}=False). Shutting down..."
)


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_no_retry_on_startup(cut_site, kind):
    cut_site.proxy.cut(reopen=False)
    options = ("-c", "1", "broker.connection_retry_on_startup=False")
    worker = cut_site.worker(*options, kind=kind, ready=False)
    assert worker.process.wait(PATIENCE) == 1
    assert DISABLED.format(verb="establish", setting="broker_connection_retry_on_startup") in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_no_retry_after_a_loss(cut_site, kind):
    worker = cut_site.worker("-c", "1", "broker.connection_retry=False", kind=kind)
    cut_site.proxy.cut()
    assert worker.process.wait(PATIENCE) == 1
    assert DISABLED.format(verb="re-establish", setting="broker_connection_retry") in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_loss_is_no_startup(cut_site, kind):
    worker = cut_site.worker("-c", "1", "broker.connection_retry_on_startup=False", kind=kind)
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count("Connected to") == 2 or worker.ended(), "it did not come back")
    assert cut_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_worker_that_cannot_connect_can_be_stopped(cut_site, kind):
    cut_site.proxy.cut(reopen=False)
    worker = cut_site.worker("-c", "1", kind=kind, ready=False)
    eventually(lambda: "Cannot connect to" in worker.text(), "it did not try")
    assert worker.terminate() == 0


def test_a_worker_whose_broker_is_silent_can_be_stopped(cut_site):
    """Connected, and no answer ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//"
        worker = cut_site.worker("-c", "1", env={"PROJ_BROKER": url}, ready=False)
        accepted, _ = silent.accept()
        with accepted:
            assert worker.terminate() == 0


@pytest.mark.parametrize("task", ["hold_here", "native_hold"])
def test_a_cold_shutdown_does_not_wait_for_a_dead_backend(rabbit_site, redis_server, tmp_path, task):
    with Proxy(redis_server.port) as proxy:
        rabbit_site.env["PROJ_BACKEND"] = f"redis://127.0.0.1:{proxy.port}/1"
        worker = rabbit_site.worker("-c", "1", kind="native")
        log, gate = tmp_path / "runs", tmp_path / "gate"
        log.touch()
        getattr(rabbit_site.proj, task).delay(str(log), str(gate))
        eventually(lambda: runs(log), "it did not begin")
        proxy.cut(reopen=False)
        attempts = proxy.attempts
        gate.touch()
        eventually(lambda: proxy.attempts > attempts, "it did not try to store")
        worker.process.send_signal(signal.SIGQUIT)
        worker.process.wait(PATIENCE)
