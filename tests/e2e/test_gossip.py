"""Workers among themselves: one of Celery's and two of ours on one broker, who hear and agree."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys

import pytest
from conftest import PATIENCE, TESTS, eventually

from workers import Worker

NODES = ("celery0@test", "ours1@test", "ours2@test")


@pytest.fixture(params=["redis", "rabbit"])
def site(request):
    return request.getfixturevalue(f"{request.param}_site")


class Party:
    """The three of them, with a queue for all and one for each."""

    def __init__(self, site) -> None:
        self.site, self.control = site, site.proj.app.control
        self.workers = {}

    def join(self, name: str) -> None:
        queues = f"{self.site.queue},{self.queue(name)}"
        kind = name.split("@")[0][:-1]
        # `-l INFO` comes before it.
        args = ("-c", "1", "-l", "DEBUG", "--heartbeat-interval", "1", "-Q", queues)
        if nodes := sum(other != name and not worker.ended() for other, worker in self.workers.items()):
            self.workers[name] = self.site.mingled(*args, nodes=nodes, kind=kind, name=name)
        else:
            self.workers[name] = self.site.worker(*args, kind=kind, name=name)

    def queue(self, name: str) -> str:
        return f"{self.site.queue}-{name.split('@')[0]}"

    def text(self, name: str) -> str:
        return self.workers[name].text()

    def says(self, name: str, text: str) -> None:
        eventually(lambda: text in self.text(name), f"{name} does not say {text!r}")

    def ask(self, name: str, method: str):
        return eventually(lambda: getattr(self.control.inspect(destination=[name], timeout=20, limit=1), method)())[name]


def test_three_of_a_kind(site, tmp_path, request):
    party, proj = Party(site), site.proj
    party.join(NODES[0])
    party.control.revoke("early", destination=[NODES[0]], reply=True, timeout=20, limit=1)
    for name in NODES[1:]:
        party.join(name)
        assert "mingle: sync complete" in party.text(name)
    for name in NODES:
        for other in set(NODES) - {name}:
            party.says(name, f"{other} joined the party")
    # An epidemic: what one had revoked before the others came, and what all were told.
    party.control.revoke("late", reply=True, timeout=20, limit=3)
    for name in NODES:
        assert set(party.ask(name, "revoked")) == {"early", "late"}
        for id in ("early", "late"):
            proj.add.apply_async((1, 2), task_id=id, queue=party.queue(name))
            party.says(name, f"Discarding revoked task: proj.add[{id}]")
    # An election: one of them does it.
    log = tmp_path / "elected"
    log.touch()
    party.control.election("the-id", "task", dict(proj.mark.s(str(log))))
    eventually(lambda: log.read_text(), "nobody does it")
    won = [name for name in NODES if "I won the election 'the-id'" in party.text(name)]
    assert len(won) == 1
    for name in set(NODES) - set(won):
        party.says(name, f"node {won[0]}.")
        assert re.search(rf"node {re.escape(won[0])}\.\d+ elected for 'the-id'", party.text(name))
    assert proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert len(log.read_text().split()) == 1
    # A clock that is far ahead draws all others along.
    proj.app.clock.adjust(1_000_000)
    with proj.app.connection_for_write() as connection:
        with proj.app.events.Dispatcher(connection, hostname="stranger@test", groups=["worker"]) as stranger:
            stranger.send("worker-heartbeat", freq=1)
    for name in NODES:
        eventually(lambda n=name: party.ask(n, "clock")["clock"] > 1_000_000, f"{name} does not adjust its clock")
        party.says(name, "missed heartbeat from stranger@test")
    if "rabbit" in request.node.name:
        queues_are_alike(request.getfixturevalue("rabbit_server"))
    # One dies, one leaves.
    party.workers[NODES[2]].kill()
    for name in NODES[:2]:
        party.says(name, f"missed heartbeat from {NODES[2]}")
    party.workers[NODES[0]].process.send_signal(signal.SIGTERM)
    party.says(NODES[1], f"{NODES[0]} left")
    party.join(NODES[0])
    party.workers[NODES[1]].process.send_signal(signal.SIGTERM)
    party.says(NODES[0], f"{NODES[1]} left")


def queues_are_alike(server) -> None:
    """Mailboxes and event queues have the same arguments."""
    queues = server.queues()
    own = {name: rest for (name, *rest) in queues if name.endswith(".celery.pidbox") and "reply" not in name}
    assert own.keys() == {f"{name}.celery.pidbox" for name in NODES}
    assert len({repr(rest) for rest in own.values()}) == 1, own
    events = [rest for (name, *rest) in queues if name.startswith("celeryev.")]
    assert len(events) == 3 and len({repr(rest) for rest in events}) == 1, events


def test_without_gossip(redis_site):
    party = Party(redis_site)
    party.join(NODES[0])
    worker = redis_site.worker("-c", "1", "-l", "DEBUG", "--without-gossip", name=NODES[1])
    party.says(NODES[0], f"{NODES[1]} joined the party")
    party.workers[NODES[0]].terminate()
    party.says(NODES[0], f"{NODES[1]} joined the party")
    assert worker.terminate() == 0
    assert "joined the party" not in worker.text() and "left" not in worker.text()


def test_a_name_that_is_taken(rabbit_site):
    """The second one says so, and is heard once the first one has gone. Celery's worker does not come up at all."""
    first = rabbit_site.worker("-c", "1", "--without-mingle", name="same@test")
    second = rabbit_site.worker("-c", "1", "--without-mingle", name="same@test")
    eventually(lambda: "A node named same@test is already using this process mailbox!" in second.text(), "nothing is said")
    assert first.terminate() == 0
    ping = lambda: rabbit_site.proj.app.control.ping(destination=["same@test"], timeout=2, limit=1)  # noqa: E731
    assert eventually(ping) == [{"same@test": {"ok": "pong"}}]


class Unit(Worker):
    """A worker as a service manager starts it: a line of a shell, options from an environment file, files of its own."""

    #: Celery's own documentation has it like this.
    LINE = (
        "exec ${CELERY_BIN} -A $CELERY_APP worker -n $NODE@%h --pidfile=${CELERYD_PID_FILE} --logfile=${CELERYD_LOG_FILE} "
        '--loglevel="${CELERYD_LOG_LEVEL}" $CELERYD_OPTS'
    )

    def __init__(self, site, program: str, node: str, options: str) -> None:
        self.name = f"{node}@{socket.gethostname()}"
        self.own, self.pidfile = site.directory / f"{node}.log", site.directory / f"{node}.pid"
        env = {
            "CELERY_BIN": program, "CELERY_APP": site.app_name, "NODE": node, "CELERYD_OPTS": options, "CELERYD_LOG_LEVEL": "DEBUG",
            "CELERYD_PID_FILE": f"{site.directory}/%n.pid", "CELERYD_LOG_FILE": f"{site.directory}/%n.log",
        }
        site.workers.append(self)
        super().__init__(["/bin/sh", "-c", self.LINE], {**site.env, **env}, site.directory / f"{node}.out", TESTS / "apps")

    def text(self) -> str:
        return self.own.read_text() if self.own.exists() else ""


def test_units_of_a_service_manager(site):
    """Two of ours and one of Celery's on one host, with names, queues, log files and concurrencies of their own."""
    ours, theirs = os.environ["CELERY_RS_BIN"], f"{sys.executable} -m celery"
    control, proj, units = site.proj.app.control, site.proj, {}
    for node, program, seats in [("one", ours, 1), ("two", ours, 2), ("three", theirs, 3)]:
        unit = Unit(site, program, node, f"-Q {site.queue},{site.queue}-{node} -c {seats} --heartbeat-interval=1")
        units[node] = unit.wait_ready()
        ask = lambda u=unit: control.inspect(destination=[u.name], timeout=20, limit=1)  # noqa: E731
        stats = eventually(lambda: ask().stats(), unit.text())[unit.name]
        assert int(unit.pidfile.read_text()) == unit.process.pid == stats["pid"]
        assert (stats["pool"]["max-concurrency"], len(stats["pool"]["processes"])) == (seats, seats)
        if node == "one":
            control.revoke("before", destination=[unit.name], reply=True, timeout=20, limit=1)
    for unit, other in [(units[a], units[b]) for a in units for b in units if a != b]:
        eventually(lambda: f"sync with {other.name}" in unit.text() or f"{other.name} joined the party" in unit.text())  # noqa: B023
    # Whatever one of them was told before the others came, and what all are told.
    control.revoke("after", reply=True, timeout=20, limit=3)
    for node, unit in units.items():
        assert set(control.inspect(destination=[unit.name], timeout=20, limit=1).revoked()[unit.name]) == {"before", "after"}
        for id in ("before", "after"):
            proj.add.apply_async((1, 2), task_id=id, queue=f"{site.queue}-{node}")
            eventually(lambda: f"Discarding revoked task: proj.add[{id}]" in unit.text(), unit.text())  # noqa: B023
        done = proj.add.apply_async((1, 2), queue=f"{site.queue}-{node}")
        assert done.get(timeout=PATIENCE) == 3
        told = [name for name, each in units.items() if done.id in each.text()]
        assert told == [node]
        assert unit.log.read_text().count("proj.add[") == 0
    assert sorted(result.get(timeout=PATIENCE) for result in [proj.add.delay(n, 1) for n in range(30)]) == list(range(1, 31))
    for unit in units.values():
        assert unit.terminate() == 0
        assert not unit.pidfile.exists()
