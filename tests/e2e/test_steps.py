"""Boot steps and remote control commands that an app adds: run in the steward, as Celery's main process runs them."""

import json
import os

import pytest
from conftest import PATIENCE, Site, eventually
from kombu import Connection, Exchange


class Steps(Site):
    """A site of `steps_app`, with the ledger of what its main process does."""

    app_name = "steps_app"

    def __init__(self, broker: str, backend: str, directory) -> None:
        directory.mkdir(exist_ok=True)
        self.ledger = directory / "ledger"
        self.ledger.touch()
        os.environ["MAIN_LEDGER"] = str(self.ledger)
        super().__init__(broker, backend, directory)

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.ledger.read_text().splitlines()]

    def whats(self) -> list[str]:
        """What was done, without the timer's beats."""
        return [record["what"] for record in self.records() if record["what"] != "worker.tick"]

    def wait(self, what: str, count: int = 1) -> None:
        eventually(lambda: [record["what"] for record in self.records()].count(what) >= count, f"no {what}: {self.whats()}")

    def alone(self, kind: str, **options):
        return self.worker("-c", "1", "--without-gossip", "--without-mingle", kind=kind, **options)

    def publish(self, body) -> None:
        with Connection(self.broker) as connection:
            connection.Producer().publish(
                body, exchange=Exchange("own"), routing_key="own", declare=[self.proj.own_queue], serializer="json",
            )


@pytest.fixture
def site(redis_server, rabbit_server, tmp_path):
    made = []

    def make(broker: str, number: int = 0) -> Steps:
        url = redis_server.url(number) if broker == "redis" else rabbit_server.url()
        made.append(Steps(url, redis_server.url(number + 1), tmp_path / str(len(made))))
        return made[-1]

    yield make
    for each in made:
        each.destroy()


def commands(site: Steps, name: str) -> list:
    """What the app's own commands answer, and one of Celery's under which the app has put its own."""
    control = site.proj.app.control

    def call(method, **arguments):
        reply = control.broadcast(method, arguments, destination=[name], reply=True, timeout=PATIENCE, limit=1)
        return reply[0][name]

    return [call("double", n=21), call("double"), call("steps"), call("clock"), call("double", nonsense=1), call("double", n="x" * 3)]


def life(site: Steps, kind: str) -> tuple[list[dict], list]:
    worker = site.alone(kind)
    site.wait("consumer.start")
    site.wait("worker.tick", 2)
    site.publish({"hello": "step"})
    site.wait("consumer.message")
    answers = commands(site, f"{kind}0@test")
    assert site.proj.pid.delay().get(timeout=PATIENCE)
    assert worker.terminate() == 0
    records = [record for record in site.records() if record["what"] != "worker.tick"]
    assert len({record.pop("pid") for record in records}) == 1
    for record in records:
        if "hostname" in record:
            record["hostname"] = record["hostname"].replace(kind, "it")
        if "consumer" in record:
            record["consumer"] = record["consumer"].replace(kind, "it")
    return records, answers


@pytest.mark.parametrize("broker", ["redis", "rabbit"])
def test_steps_and_commands_are_the_apps_own(site, broker):
    theirs, ours = [life(site(broker, number), kind) for number, kind in ((0, "celery"), (2, "ours"))]
    assert ours[1] == theirs[1]
    # Celery makes and starts the steps of worker and consumer in one order; between the two kinds ours may have another.
    for kind in ("worker.", "after.", "consumer.", "double"):
        mine, celerys = [[record for record in side[0] if record["what"].startswith(kind)] for side in (ours, theirs)]
        assert mine == celerys
    whats = [record["what"] for record in ours[0]]
    assert whats.index("worker.start") < whats.index("after.start") < whats.index("consumer.start")
    assert whats.index("after.stop") < whats.index("worker.stop")
    assert "never.start" not in whats


def test_what_only_the_parent_has_is_refused_in_words(site):
    steps = site("redis")
    steps.alone("ours")
    reply = steps.proj.app.control.broadcast("widen", {"n": 3}, reply=True, timeout=PATIENCE, limit=1)
    assert "consumer.qos.increment_eventually: celery-rs does this outside Python" in reply[0]["ours0@test"]["error"]


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_step_that_cannot_start_ends_the_worker(site, kind):
    steps = site("redis")
    worker = steps.alone(kind, env={"STEP_FAILS": "1"}, ready=False)
    assert worker.process.wait(PATIENCE) == 1
    assert "Unrecoverable error: RuntimeError('a step that cannot start')" in worker.text()


def test_steps_start_over_with_each_connection_and_each_steward(site):
    steps = site("rabbit")
    worker = steps.alone("ours")
    steps.wait("consumer.start")
    steward = steps.records()[0]["pid"]
    os.kill(steward, 9)
    steps.wait("consumer.start", 2)
    again = [record["what"] for record in steps.records() if record["pid"] != steward and record["what"] != "worker.tick"]
    assert again[:5] == ["worker.init", "worker.create", "worker.start", "after.start", "consumer.start"]
    steps.publish({"after": "the death of a steward"})
    steps.wait("consumer.message")
    assert worker.terminate() == 0
