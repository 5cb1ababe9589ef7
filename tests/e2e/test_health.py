"""Probes and metrics: what they say while things happen to the worker, and what they have counted of it."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request

import pytest
from conftest import PATIENCE, Site, eventually
from proxy import Proxy
from redis import Redis as Client

#: One line of the text format, version 0.0.4.
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"\\]*",?)*)\})? ([0-9.e+-]+)')


class Health:
    """The health server of one worker."""

    def __init__(self, worker) -> None:
        found = lambda: re.search(r"Health and metrics on (http://127\.0\.0\.1:[0-9]+)$", worker.text(), re.M)  # noqa: E731
        self.url = eventually(found, "it does not say where it listens").group(1)

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def codes(self) -> tuple[int, int, int]:
        return tuple(self.get(path)[0] for path in ("/livez", "/readyz", "/startupz"))

    def samples(self) -> dict[tuple, float]:
        """Values by name and sorted labels."""
        status, text = self.get("/metrics")
        assert status == 200
        found = {}
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = re.findall(r'([a-z_]+)="([^"]*)"', labels or "")
            assert (name, *sorted(pairs)) not in found, line
            found[(name, *sorted(pairs))] = float(value)
        return found


def by_task(samples: dict, name: str) -> dict:
    """The values of one metric by its labels' values but `task`'s first."""
    values = {}
    for (found, *labels), value in samples.items():
        if found == name and value:
            labels = dict(labels)
            values[(labels.pop("task"), *labels.values())] = value
    return values


@pytest.fixture
def cut_redis_site(redis_server, tmp_path):
    """Redis behind a proxy for the worker; the client goes there directly."""
    with Proxy(redis_server.port) as proxy:
        found = Site(redis_server.url(0), redis_server.url(1), tmp_path)
        found.env["PROJ_BROKER"] = f"redis://127.0.0.1:{proxy.port}/0"
        found.proxy = proxy
        yield found
        found.destroy()


def test_probes_tell_what_happens_to_the_worker(cut_redis_site, tmp_path):
    site, gate, log = cut_redis_site, tmp_path / "gate", tmp_path / "runs"
    site.proxy.cut(reopen=False)
    worker = site.worker("-c", "1", "--health-addr", "0", ready=False)
    health = Health(worker)
    # It tries to connect: that is life, and nothing else.
    eventually(lambda: "Cannot connect to" in worker.text(), "it did not try")
    assert health.codes() == (200, 503, 503)
    assert "[-]broker failed: there is no connection\n" in health.get("/readyz")[1]
    site.proxy.reopen()
    eventually(lambda: health.codes() == (200, 200, 200), "it did not become ready")
    # All of its children are busy for as long as they like.
    held = site.proj.hold_here.delay(str(log), str(gate))
    eventually(log.exists, "it did not begin")
    assert health.codes() == (200, 200, 200)
    site.proxy.cut(reopen=False)
    eventually(lambda: health.codes() == (200, 503, 200), "it did not notice the loss")
    site.proxy.reopen()
    eventually(lambda: health.codes() == (200, 200, 200), "it did not come back")
    assert health.samples()[("celery_broker_reconnects_total",)] >= 1
    assert health.get("/")[0] == 404
    assert health.get("/livez", "POST")[0] == 405
    assert health.get("/livez", "HEAD") == (200, "")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: health.codes() == (200, 503, 200), "it does not say that it stops")
    assert "[-]stopping failed: it takes no more tasks\n" in health.get("/readyz")[1]
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    assert held.get(timeout=PATIENCE) == 0


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_metrics_are_what_was_run(redis_site, tmp_path, kind):
    site, proj = redis_site, redis_site.proj
    worker = site.worker("-c", "2", env={"CELERY_WORKER_HEALTH_ADDR": "127.0.0.1:0"}, kind=kind)
    health = Health(worker)
    control = proj.app.control
    add = proj.native_add if kind == "native" else proj.add
    assert [add.delay(n, 1).get(timeout=PATIENCE) for n in range(3)] == [1, 2, 3]
    for task, state in [(proj.fail.delay("x"), "FAILURE"), (proj.retry.delay(1), "SUCCESS"), (proj.die.delay(3), "FAILURE")]:
        task.get(timeout=PATIENCE, propagate=False)
        assert task.state == state
    proj.ignore.delay()
    proj.reject.delay()
    proj.app.send_task("proj.nobody_knows", queue=site.queue).get(timeout=PATIENCE, propagate=False)
    Client.from_url(site.broker).lpush(site.queue, json.dumps({"properties": {"delivery_info": {}}, "headers": {}, "body": ""}))
    later = proj.add.apply_async((1, 1), countdown=3600)
    eventually(lambda: f"[{later.id}] received" in worker.text(), "it was not received")
    gate, log = tmp_path / "gate", tmp_path / "runs"
    killed = proj.hold_here.delay(str(log), str(gate))
    eventually(log.exists, "it did not begin")
    control.revoke(killed.id, terminate=True, signal="SIGKILL", reply=True)
    eventually(lambda: killed.state == "REVOKED", "it was not killed")
    running = proj.hold_here.delay(str(log), str(gate))
    eventually(lambda: running.id in log.read_text(), "it did not begin")

    finished = {
        (add.name, "SUCCESS"): 3,
        ("proj.fail", "FAILURE"): 1,
        ("proj.retry", "RETRY"): 2,
        ("proj.retry", "SUCCESS"): 1,
        ("proj.die", "FAILURE"): 1,
        ("proj.ignore", "IGNORED"): 1,
        ("proj.reject", "REJECTED"): 1,
        ("proj.hold", "REVOKED"): 1,
        ("(unregistered)", "FAILURE"): 1,
    }

    def counted():
        samples = health.samples()
        found = {(task, state): n for (task, state), n in by_task(samples, "celery_tasks_finished_total").items()}
        return samples if found == finished and samples[("celery_pool_children",)] == 2 else None

    samples = eventually(counted, f"not what was run: {by_task(health.samples(), 'celery_tasks_finished_total')}")
    started = {(add.name,): 3, ("proj.fail",): 1, ("proj.retry",): 3, ("proj.die",): 1, ("proj.ignore",): 1}
    started |= {("proj.reject",): 1, ("proj.hold",): 2}
    assert by_task(samples, "celery_tasks_started_total") == started
    received = {**started, ("proj.add",): started.get(("proj.add",), 0) + 1, ("(unregistered)",): 1}
    assert by_task(samples, "celery_tasks_received_total") == received
    assert by_task(samples, "celery_task_wait_seconds_count") == started
    assert by_task(samples, "celery_task_run_seconds_count") == {**started, ("proj.hold",): 1}
    value = lambda name, **labels: samples[(name, *sorted(labels.items()))]  # noqa: E731
    # Retries wait for their countdown, which is no waiting.
    assert value("celery_task_wait_seconds_bucket", task="proj.retry", le="+Inf") == 3
    assert value("celery_messages_refused_total") == 1
    assert value("celery_pool_seats", runner="python") == 2
    assert value("celery_pool_seats_busy", runner="python") == value("celery_tasks_active") == 1
    assert value("celery_pool_child_exits_total", end="died") + value("celery_pool_child_exits_total", end="left") == 2
    assert value("celery_tasks_scheduled") == 1
    assert value("celery_prefetch_count") == 8 + 1
    assert value("celery_tasks_reserved") == value("celery_tasks_settling") == 0
    assert value("celery_events_dropped_total") == value("celery_broker_reconnects_total") == 0
    assert value("celery_broker_connected") == 1
    resident = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{worker.process.pid}/status").read()).group(1)) * 1024
    assert resident / 2 < value("process_resident_memory_bytes") < resident * 2
    children = value("celery_children_resident_memory_bytes")
    assert children / 2 <= value("celery_children_resident_memory_max_bytes") < children
    assert (value("celery_pool_seats", runner="native") == 2) if kind == "native" else True
    assert any(name == "celery_worker_info" and ("hostname", f"{kind}0@test") in labels for name, *labels in samples)
    gate.touch()
    assert running.get(timeout=PATIENCE) == 0


def test_a_port_that_is_taken_keeps_the_worker_from_starting(redis_site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for value, said in [
            (str(port), f"--health-addr 127.0.0.1:{port}: Address already in use (os error 98)"),
            ("nowhere", "Invalid value for '--health-addr': 'nowhere' is neither HOST:PORT nor PORT."),
        ]:
            worker = redis_site.worker("--health-addr", value, ready=False)
            assert worker.process.wait(PATIENCE) == 2
            assert said in worker.text()
