"""Process signals under load, and what a service manager is told."""

import collections
import contextlib
import os
import signal
import socket

import pytest
from conftest import PATIENCE, eventually

TERM, INT, QUIT, HUP, USR1, USR2 = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)
REMAPPED = {"REMAP_SIGTERM": "SIGQUIT"}
#: What is sent, with which environment, and the exit code; none where the worker goes on.
SIGNALS = [
    ([USR1], {}, None),
    ([USR2], {}, None),
    ([HUP], {}, None),
    ([TERM], {}, 0),
    ([INT], {}, 1),
    ([INT, INT], {}, 1),
    ([QUIT], {}, 0),
    ([TERM], REMAPPED, 0),
]
#: How often each is answered by a line of the worker's, which has to be seen before the next is sent.
SAID = {TERM: "worker: ", INT: "Hitting Ctrl+C again", QUIT: "worker: ", HUP: "Restarting celery worker", USR1: "MainProcess (pid", USR2: "USR2: "}


class Load:
    """Tasks that are acknowledged late and write down each beginning."""

    def __init__(self, site, directory, count):
        self.site, self.log, self.gate = site, directory / "runs", directory / "gate"
        self.log.touch()
        #: Where tasks do not have to wait for all others.
        self.urgent = f"{site.queue}-urgent"
        self.results = {}
        for _ in range(count):
            self.add(site.proj.mark.delay(str(self.log), 0.02))

    def add(self, result):
        self.results[result.id] = result
        return result.id

    def occupy(self, seats):
        """Keeps that many seats busy until there is a file `gate`."""
        hold = self.site.proj.hold_here.s(str(self.log), str(self.gate))
        held = {self.add(hold.apply_async(queue=self.urgent)) for _ in range(seats)}
        eventually(lambda: held <= set(self.begun()), "the seats are not occupied")

    def begun(self):
        return self.log.read_text().split()

    def goes_on(self, by=6):
        """Waits for so many further beginnings. There is more load where a slow start has let it be used up."""
        before = len(self.begun())
        for _ in range(before + 10 * by - len(self.results)):
            self.add(self.site.proj.mark.delay(str(self.log), 0.02))
        eventually(lambda: len(self.begun()) >= before + by, "no further task began")

    def cut_short(self):
        """Those that have begun and not ended."""
        return {id for id in set(self.begun()) if not self.results[id].ready()}


def test_no_task_is_lost_and_none_runs_twice_that_did_not_run(broker_site, tmp_path):
    site = broker_site
    load = Load(site, tmp_path, 600)
    allowed = collections.Counter()
    options, late = ("-c", "2", "--without-mingle", "-Q", f"{site.queue},{load.urgent}"), {"PROJ_ACKS_LATE": "1"}
    worker = None
    for signals, env, code in SIGNALS:
        worker = worker or site.worker(*options, env={**late, **env})
        load.goes_on()
        if len(signals) > 1:
            # The second is to come while the first is still being obeyed.
            load.occupy(2)
        for number in signals:
            before = worker.text().count(SAID[number])
            worker.process.send_signal(number)
            eventually(lambda: worker.text().count(SAID[number]) > before, f"no answer to {number.name}")  # noqa: B023
        if code is None:
            continue
        assert worker.process.wait(PATIENCE) == code, (signals, worker.text())
        cut_short = load.cut_short()
        is_cold = len(signals) == 2 or QUIT in signals or env
        assert is_cold or not cut_short, f"a warm shutdown has cut tasks short: {cut_short}"
        allowed.update(cut_short)
        if len(signals) > 1:
            load.gate.touch()
        worker = None
    site.worker(*options, env=late)
    for result in load.results.values():
        result.get(timeout=PATIENCE)
    ran = collections.Counter(load.begun())
    assert all(ran[id] >= 1 for id in load.results)
    allowed.update(load.results.keys())
    assert not (ran - allowed), f"ran too often: {ran - allowed}"
    assert ran.total() <= len(load.results) + 2 * 3, "more than the seats were cut short"


def test_usr1_tells_what_runs(redis_site, tmp_path):
    site, log, gate = redis_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = site.worker("-c", "2")
    result = site.proj.hold_here.delay(str(log), str(gate))
    eventually(log.read_text, "it did not begin")
    eventually(worker.idle, "it does not come to rest")
    worker.process.send_signal(USR1)
    told = lambda text: text.count("most recent call first") == 2 and "in hold_here" in text  # noqa: E731
    eventually(lambda: told(worker.text()), "not both children have told")
    text = worker.text()
    assert f"MainProcess (pid {worker.process.pid}): 1 running" in text
    assert f"proj.hold[{result.id}] for " in text
    # Its frames, innermost first.
    assert text.index("e2e_app.py", text.index("most recent call first")) < text.index("in hold_here")
    gate.touch()
    assert result.get(timeout=PATIENCE) == 0
    assert worker.terminate() == 0


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_cold_shutdown_leaves_retry_behind(redis_site, tmp_path, kind):
    """Of what was acknowledged when it began: nobody runs it again, but whoever waits for it is told so."""
    site, log = redis_site, tmp_path / "runs"
    log.touch()
    worker = site.worker("-c", "1", kind=kind)
    result = site.proj.mark_early.delay(str(log), 600)
    eventually(log.read_text, "it did not begin")
    worker.process.send_signal(QUIT)
    worker.process.wait(PATIENCE)
    assert (result.state, type(result.result).__name__) == ("RETRY", "Retry")


@pytest.mark.parametrize("written", [4, 4.5])
def test_soft_shutdown(redis_site, tmp_path, written):
    """What ends within the time ends well, what does not is cut short; an idle worker waits only if told to."""
    site, log, gate = redis_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    soft = {"PROJ_CONF": f'{{"worker_soft_shutdown_timeout": {written}}}', "PROJ_ACKS_LATE": "1"}
    worker = site.worker("-c", "2", env=soft)
    short, long = site.proj.hold_here.delay(str(log), str(gate)), site.proj.mark.delay(str(log), 600)
    eventually(lambda: len(log.read_text().split()) == 2, "they did not begin")
    worker.process.send_signal(QUIT)
    line = f"Initiating Soft Shutdown, terminating in {written} seconds"
    eventually(lambda: line in worker.text(), "it does not wait")
    gate.touch()
    assert worker.process.wait(PATIENCE) == 0
    assert short.get(timeout=PATIENCE) == 0 and not long.ready()

    long.revoke()
    for on_idle in (False, True):
        conf = f'{{"worker_soft_shutdown_timeout": {written}, "worker_enable_soft_shutdown_on_idle": {str(on_idle).lower()}}}'
        worker = site.worker("-c", "1", "-Q", "idle", env={"PROJ_CONF": conf})
        worker.process.send_signal(QUIT)
        if on_idle:
            eventually(lambda: "Initiating Soft Shutdown" in worker.text(), "it did not wait")  # noqa: B023
            # A further word ends the wait.
            worker.process.send_signal(QUIT)
        assert worker.process.wait(PATIENCE) == 0
        assert ("Initiating Soft Shutdown" in worker.text()) == on_idle


@contextlib.contextmanager
def service_manager(path):
    """systemd's end of `NOTIFY_SOCKET`: the messages, as they come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        yield lambda: manager.recv(4096).decode().strip().split("\n")


def test_a_service_manager_is_told(redis_site, tmp_path):
    """Ready once it consumes, alive as long as it is watched, reloading at HUP and ready again, stopping."""
    with service_manager(tmp_path / "notify") as message:
        def next_but_alive():
            while (found := message()) == ["WATCHDOG=1"]:
                pass
            return found

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        worker = redis_site.worker("-c", "1", env=env, ready=False)
        assert message() == ["READY=1"]
        worker.wait_ready()
        assert message() == message() == ["WATCHDOG=1"]
        worker.process.send_signal(HUP)
        reloading, now = next_but_alive()
        assert (reloading, now.split("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
        assert next_but_alive() == ["READY=1"]
        assert redis_site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
        worker.process.send_signal(TERM)
        assert next_but_alive() == ["STOPPING=1"]
        assert worker.process.wait(PATIENCE) == 0
    assert "NOTIFY_SOCKET" not in os.environ


def test_a_service_manager_that_does_not_read_stops_nobody(redis_site, tmp_path):
    """Its socket is full: whoever tells it anything has to wait."""
    path = str(tmp_path / "notify")
    with service_manager(path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(path)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"STATUS=full")
        worker = redis_site.worker("-c", "1", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        assert redis_site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
        assert worker.terminate() == 0
