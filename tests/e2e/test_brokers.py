"""Every URL of a broker: Celery's client, a worker of ours and one of Celery's, and one of ours that was killed before.

Results are on a Redis server of their own.
"""

import uuid
from datetime import datetime

import pytest
from celery import chord, group
from celery.exceptions import TaskRevokedError
from conftest import PATIENCE, QUIET, Fleet, eventually

SCHEMES = ["amqp", "amqps", "redis", "rediss", "redis+socket", "sentinel", "sqs", "filesystem"]
#: What a killed worker held comes back soon. RabbitMQ and folders know when it is gone.
VISIBILITY = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}


@pytest.fixture(scope="module", params=SCHEMES)
def fleet(request, way, one_redis, tmp_path_factory):
    """With `held`: what a worker of ours was killed over, by the kind of the worker that is given its queue."""
    found, directory = way(request.param), tmp_path_factory.mktemp("fleet")
    options = VISIBILITY if request.param in ("redis", "rediss", "redis+socket", "sentinel", "sqs") else {}
    conf = {"broker_transport_options": {**options, **found.options}, **found.conf}
    fleet = Fleet(found.url(0), one_redis.url(1), directory, **conf)
    try:
        fleet.held = held_by_a_killed_worker(fleet)
        fleet.broadcasts = found.broadcasts
        yield fleet.start(found.broadcasts)
    finally:
        fleet.destroy()


def held_by_a_killed_worker(fleet):
    """Half of it had begun, the other half waited to be tried again after a first time."""
    log, gate, proj = fleet.directory / "begun", fleet.directory / "gate", fleet.proj
    log.touch()
    queues = ",".join(fleet.queues.values())
    victim = fleet.worker("-c", "4", "-Q", queues, *QUIET, kind="native", env={"PROJ_ACKS_LATE": "1"})
    begun, waiting = [], []
    for queue in fleet.queues.values():
        waiting += [task.apply_async((5,), queue=queue) for task in (proj.retry_in, proj.native_retry_in)]
        begun += [task.apply_async((str(log), str(gate)), queue=queue) for task in (proj.hold_here, proj.native_hold)]
    eventually(lambda: set(log.read_text().split()) == {result.id for result in begun}, victim.text())
    for result in waiting:
        eventually(lambda: victim.text().count(f"[{result.id}] received") >= 2, f"{result.id} is not tried again")
    victim.kill()
    gate.touch()
    # Who was slow may have run them a second time.
    shares = {kind: slice(2 * n, 2 * n + 2) for n, kind in enumerate(fleet.queues)}
    return {kind: begun[share] + [result for result in waiting[share] if not result.ready()] for kind, share in shares.items()}


def test_tasks_of_both_languages(fleet):
    proj = fleet.proj
    for add, fail, when in (proj.add, proj.fail, proj.when), (proj.native_add, proj.native_fail, proj.native_when):
        assert add.delay(2, y=40).get(timeout=PATIENCE) == 42
        with pytest.raises(ValueError, match="no luck"):
            fail.delay("no luck").get(timeout=PATIENCE)
        began, eta = when.apply_async(countdown=0.3).get(timeout=PATIENCE)
        assert began >= datetime.fromisoformat(eta).timestamp()


def test_workflows_go_from_one_worker_to_the_other(fleet):
    add, native, total = fleet.proj.add, fleet.proj.native_add, fleet.proj.total
    assert group(add.s(1, 1), native.s(2, 2)).apply_async().get(timeout=PATIENCE) == [2, 4]
    joined = chord([add.s(1, 1), native.s(2, 2)])(total.s().set(queue=fleet.theirs))
    assert joined.get(timeout=PATIENCE) == 6
    assert joined.worker == "celery@test"


def test_what_one_sends_is_run_by_the_other(fleet):
    """A native task sends one that Celery's worker runs, and this one sends one back."""
    back = fleet.proj.add.s(1, 2)
    there = fleet.proj.native_send.s(back).set(queue=fleet.theirs)
    sent = fleet.proj.app.AsyncResult(fleet.proj.native_send.delay(there).get(timeout=PATIENCE))
    result = fleet.proj.app.AsyncResult(sent.get(timeout=PATIENCE))
    assert result.get(timeout=PATIENCE) == 3
    assert (sent.worker, result.worker) == ("celery@test", "native@test")


def test_broadcasts(fleet):
    if not fleet.broadcasts:
        pytest.skip("kombu has none there")
    assert set(fleet.pongs()) == {"native@test", "celery@test"}
    id = uuid.uuid4().hex
    fleet.proj.app.control.revoke(id, reply=True, timeout=PATIENCE, limit=2)
    with pytest.raises(TaskRevokedError):
        fleet.proj.add.apply_async((1, 2), task_id=id).get(timeout=PATIENCE)


@pytest.mark.parametrize("kind", ["native", "celery"])
def test_what_a_killed_worker_held_is_finished(fleet, kind):
    """After the others, since it takes its time to come back."""
    for result in fleet.held[kind]:
        assert result.get(timeout=PATIENCE) is not None
        assert result.worker == f"{kind}@test"


def test_a_warm_end(fleet):
    """And nobody has been told a password."""
    assert fleet.ours.terminate() == 0
    assert "p@ss" not in fleet.ours.text() and "p%40ss" not in fleet.ours.text()
