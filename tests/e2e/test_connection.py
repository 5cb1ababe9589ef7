"""The broker's connection breaks: nothing runs twice, nothing hangs, and Celery's settings say what happens next."""

import os
import signal

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
