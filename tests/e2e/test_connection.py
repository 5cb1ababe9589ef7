"""The broker's connection breaks: nothing runs twice, nothing hangs, and Celery's settings say what happens next."""

import json
import os
import re
import signal
import socket
import time

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

    def window():
        # After a connect it takes messages before it takes commands.
        return eventually(inspect.stats)["ours0@test"]["prefetch_count"]

    eventually(lambda: worker.text().count("received") == 3, "they were not received")
    assert window() == 4 + 3
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count("received") == 6, "they were not received again")
    assert window() == 4 + 3


def test_what_waits_for_a_token_comes_again_and_what_is_active_runs_on(cut_site, tmp_path):
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = cut_site.worker("-c", "2", "--without-gossip")
    control = cut_site.proj.app.control
    control.rate_limit("proj.add", "1/h", destination=["ours0@test"], reply=True, timeout=20, limit=1)
    active = cut_site.proj.hold_here.delay(str(log), str(gate))
    limited = [cut_site.proj.add.delay(n, 1) for n in range(3)]
    assert limited[0].get(timeout=PATIENCE) == 1
    eventually(lambda: runs(log), "it did not begin")
    received = [f"Task proj.add[{result.id}] received" for result in limited]
    eventually(lambda: all(line in worker.text() for line in received), "they were not received")
    cut_site.proxy.cut()
    eventually(lambda: all(worker.text().count(line) == 2 for line in received[1:]), "they were not received again")
    # They wait as before: the token has been taken.
    inspect = control.inspect(destination=["ours0@test"], timeout=20, limit=1)
    assert [task["id"] for task in eventually(inspect.active)["ours0@test"]] == [active.id]
    gate.touch()
    assert active.get(timeout=PATIENCE) == 0
    control.rate_limit("proj.add", None, destination=["ours0@test"], reply=True, timeout=20, limit=1)
    assert [result.get(timeout=PATIENCE) for result in limited] == [1, 2, 3]
    assert runs(log) == [active.id]
    assert worker.text().count(" succeeded in ") == 4


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


def test_how_often_it_tries(cut_site):
    """The same lines, and the same end; what they say of the reason is each library's own."""
    cut_site.proxy.cut(reopen=False)
    told = {}
    for kind in ("celery", "ours"):
        worker = cut_site.worker("-c", "1", "broker.connection_max_retries=2", kind=kind, ready=False)
        code = worker.process.wait(PATIENCE)
        attempts = re.findall(r"ERROR/MainProcess\] consumer: Cannot connect to (\S+): (?:.*)\.\n(Trying again .*)\n", worker.text())
        told[kind] = (code, attempts)
    broker = f"amqp://guest:**@127.0.0.1:{cut_site.proxy.port}//"
    assert told["ours"] == told["celery"]
    assert told["ours"][1] == [
        (broker, "Trying again in 2.00 seconds... (1/2)"),
        (broker, "Trying again in 4.00 seconds... (2/2)"),
    ]


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


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_the_window_is_reduced_while_tasks_are_active(cut_site, tmp_path, kind):
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = cut_site.worker("-c", "2", "--without-gossip", kind=kind)
    name = f"{kind}0@test"
    cut_site.proj.hold_here.delay(str(log), str(gate))
    eventually(lambda: runs(log), "it did not begin")
    inspect = cut_site.proj.app.control.inspect(destination=[name], timeout=2, limit=1)
    window = lambda: eventually(inspect.stats)[name]["prefetch_count"]  # noqa: E731
    assert window() == 8
    cut_site.proxy.cut()
    eventually(lambda: "Temporarily reducing the prefetch count to 4" in worker.text(), "it was not reduced")
    eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
    assert window() == 4
    assert cut_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    eventually(lambda: "Prefetch count has been restored to the maximum of 8" in worker.text(), "it was not restored")
    assert window() == 8


def test_the_window_is_not_reduced_when_told(cut_site, tmp_path):
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = cut_site.worker("-c", "1", "--without-gossip", "worker.enable_prefetch_count_reduction=False")
    cut_site.proj.hold_here.delay(str(log), str(gate))
    eventually(lambda: runs(log), "it did not begin")
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
    inspect = cut_site.proj.app.control.inspect(destination=["ours0@test"], timeout=2, limit=1)
    assert eventually(inspect.stats)["ours0@test"]["prefetch_count"] == 4
    assert "Temporarily reducing" not in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_late_acks_are_cancelled_on_a_loss_when_told(cut_site, tmp_path, kind):
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    options = ("-c", "1", "worker.cancel_long_running_tasks_on_connection_loss=True")
    worker = cut_site.worker(*options, kind=kind, env={"PROJ_ACKS_LATE": "1"})
    result = cut_site.proj.native_hold.delay(str(log), str(gate))
    eventually(lambda: runs(log), "it did not begin")
    cut_site.proxy.cut()
    eventually(lambda: len(runs(log)) == 2, "it was not cancelled, or did not come again")
    assert f"[{result.id}] cannot be acknowledged after a connection loss" in worker.text()
    gate.touch()
    assert result.get(timeout=PATIENCE) == 0


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_heartbeats_go_on_while_the_last_task_ends(rabbit_site, tmp_path, kind):
    """RabbitMQ gives up who has been silent for two intervals, and hands out again what was not acknowledged. Celery's worker
    does not get as far with intervals as short as these.
    """
    site, log, gate = rabbit_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = site.worker("-c", "1", "broker.heartbeat=3", kind=kind, env={"PROJ_ACKS_LATE": "1"})
    result = site.proj.native_hold.delay(str(log), str(gate))
    eventually(lambda: runs(log), "it did not begin")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.text(), "it did not hear")
    silence = time.monotonic() + 10
    eventually(lambda: worker.ended() or time.monotonic() > silence)
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    assert result.get(timeout=PATIENCE) == 0
    with site.proj.app.connection_for_write() as connection:
        assert connection.default_channel.queue_declare(site.queue, passive=True).message_count == 0


@pytest.mark.parametrize("how", ["ack", "reject"])
@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_what_cannot_be_settled_any_more_is_said(cut_site, tmp_path, kind, how):
    """A tag belongs to the channel that is gone: nothing of the next one is settled in its place."""
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = cut_site.worker("-c", "1", kind=kind, env={"PROJ_ACKS_LATE": "1"})
    task = cut_site.proj.hold_here if how == "ack" else cut_site.proj.hold_and_reject
    result = task.delay(str(log), str(gate))
    eventually(lambda: runs(log), "it did not begin")
    cut_site.proxy.cut()
    eventually(lambda: worker.text().count(f"[{result.id}] received") == 2, "it did not come again")
    gate.touch()
    eventually(lambda: f"Couldn't {how} " in worker.text(), "nothing is said")
    said = re.search(rf"CRITICAL/MainProcess\] (Couldn't {how} .*)", worker.text())[1]
    space = "" if how == "ack" else " "
    assert said == f"Couldn't {how} 1, reason:{space}RecoverableConnectionError(None, 'connection already closed', None, '')"
    eventually(lambda: len(runs(log)) == 2, "it did not run again")


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_channel_error_ends_the_worker_or_is_tried_again(rabbit_site, kind):
    """A queue that exists with other arguments."""
    with rabbit_site.proj.app.connection_for_write() as connection:
        declare = lambda: connection.channel().queue_declare(  # noqa: E731
            rabbit_site.queue, durable=True, auto_delete=False, arguments={"x-max-length": 7}
        )
        declare()
        worker = rabbit_site.worker("-c", "1", kind=kind, ready=False)
        assert worker.process.wait(PATIENCE) == 1
        assert "PRECONDITION_FAILED" in worker.text()
        worker = rabbit_site.worker("-c", "1", "broker.channel_error_retry=True", kind=kind, ready=False)
        eventually(lambda: worker.text().count("PRECONDITION_FAILED") > 1, "it was not tried again")
        connection.channel().queue_delete(rabbit_site.queue)
        worker.wait_ready()


@pytest.mark.parametrize("kind", ["celery", "ours", "native"])
def test_priority_is_inherited_when_told(rabbit_site, kind):
    """The next link of a chain and a link have the priority of the task that sends them."""
    site = rabbit_site
    native, add = site.proj.native_add, site.proj.add
    elsewhere = site.queue + "-next"
    with site.proj.app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_declare(elsewhere, durable=True, auto_delete=False)
        for told in (True, False):
            worker = site.worker("-c", "1", f"task.inherit_parent_priority={told}", kind=kind)
            (native.s(1, 2) | add.s(3).set(queue=elsewhere)).apply_async(priority=5)
            native.apply_async((1, 2), priority=6, link=add.s(3).set(queue=elsewhere))
            found = sorted(
                eventually(lambda: channel.basic_get(elsewhere, no_ack=True)).properties.get("priority") or 0 for _ in range(2)
            )
            assert found == ([5, 6] if told else [0, 0])
            assert worker.terminate() == 0


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_rate_limits_can_be_off(redis_site, kind):
    redis_site.worker("-c", "1", "--without-gossip", "worker.disable_rate_limits=True", kind=kind)
    name = f"{kind}0@test"
    replies = redis_site.proj.app.control.rate_limit("proj.add", "1/h", destination=[name], reply=True, timeout=20, limit=1)
    assert replies == [{name: {"ok": "new rate limit set successfully"}}]
    results = [redis_site.proj.add.delay(n, n) for n in range(3)]
    assert [result.get(timeout=PATIENCE) for result in results] == [0, 2, 4]


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_revoked_ids_are_as_many_as_told(redis_site, kind):
    redis_site.worker("-c", "1", "--without-gossip", kind=kind, env={"CELERY_WORKER_REVOKES_MAX": "2"})
    name = f"{kind}0@test"
    control = redis_site.proj.app.control
    for id_ in "abc":
        control.revoke(id_, destination=[name], reply=True, timeout=20, limit=1)
    assert sorted(control.inspect(destination=[name], timeout=20, limit=1).revoked()[name]) == ["b", "c"]


def test_a_silent_subscription_is_noticed(redis_server, tmp_path):
    """Only the connection for broadcasts is dead, and nobody has said so: the worker can be reached again soon."""
    with Proxy(redis_server.port) as proxy:
        site = Site(redis_server.url(0), redis_server.url(1), tmp_path)
        conf = {"broker_transport_options": {"health_check_interval": 4}}
        env = {"PROJ_BROKER": f"redis://127.0.0.1:{proxy.port}/0", "PROJ_CONF": json.dumps(conf)}
        try:
            worker = site.worker("-c", "1", "--without-mingle", "--without-gossip", env=env)
            ping = lambda: site.proj.app.control.ping(timeout=2, limit=1)  # noqa: E731
            assert eventually(ping) == [{"ours0@test": {"ok": "pong"}}]
            before = worker.text().count("Connected to")
            assert proxy.silence(b"PSUBSCRIBE") >= 1
            eventually(lambda: worker.text().count("Connected to") > before, "it did not notice")
            assert "did not answer a PING" in worker.text()
            assert eventually(ping) == [{"ours0@test": {"ok": "pong"}}]
        finally:
            site.destroy()
