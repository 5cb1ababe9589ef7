"""The main job: Python's `apply_async`, our worker, `AsyncResult.get()`."""

from datetime import datetime

import pytest
from celery import chain, chord, group
from celery.exceptions import TimeoutError
from conftest import eventually

PATIENCE = 60


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_python_task_with_each_serializer(site, serializer, pool):
    site.worker("-c", "2", "-P", pool)
    result = site.proj.add.apply_async((2, 3), serializer=serializer)
    assert result.get(timeout=PATIENCE) == 5
    assert site.proj.add.apply_async((2,), {"y": 40}, serializer=serializer).get(timeout=PATIENCE) == 42


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_native_task_with_each_serializer(site, serializer):
    worker = site.worker("-c", "2", kind="native")
    result = site.proj.native_add.apply_async((2, 3), serializer=serializer)
    assert result.get(timeout=PATIENCE) == 5
    assert site.proj.native_add.apply_async((), {"x": 40, "y": 2}, serializer=serializer).get(timeout=PATIENCE) == 42
    assert site.proj.native_add.apply_async((41,), serializer=serializer).get(timeout=PATIENCE) == 42
    assert "Task proj.native_add[" in worker.text()


def test_failure_arrives_as_the_exception(site):
    site.worker()
    result = site.proj.fail.delay("no luck")
    with pytest.raises(ValueError, match="no luck") as caught:
        result.get(timeout=PATIENCE)
    assert caught.value.args[1] == {"n": 1}
    assert result.state == "FAILURE"
    assert "in fail" in result.traceback


def test_native_wrong_call_is_a_type_error(site):
    site.worker(kind="native")
    with pytest.raises(TypeError, match="native_add"):
        site.proj.app.send_task("proj.native_add", kwargs={"z": 1}).get(timeout=PATIENCE)


def test_retry_runs_again_and_succeeds(site):
    site.worker()
    assert site.proj.retry.delay("k").get(timeout=PATIENCE) == 2


def test_ignore_leaves_no_result(redis_site):
    redis_site.worker()
    ignored = redis_site.proj.ignore.delay()
    assert redis_site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2
    with pytest.raises(TimeoutError):
        ignored.get(timeout=0.2)


def test_lost_child_is_a_failure_and_the_next_task_runs(redis_site):
    from billiard.exceptions import WorkerLostError

    redis_site.worker("-c", "1")
    with pytest.raises(WorkerLostError, match="exitcode 7"):
        redis_site.proj.die.delay(7).get(timeout=PATIENCE)
    assert redis_site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_exits_are_losses_where_tasks_share_a_process(redis_site, pool):
    """Celery's pool says the same of these, which its own request cannot read: the message is never acknowledged."""
    from billiard.exceptions import WorkerLostError

    redis_site.worker("-c", "1", "-P", pool)
    for how, words in ("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt"):
        with pytest.raises(WorkerLostError, match=words):
            redis_site.proj.leave_by.delay(how).get(timeout=PATIENCE)
    assert redis_site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_workflows(redis_site, kind):
    """Chains, groups and chords; with Rust handlers, the parts of both kinds are mixed."""
    redis_site.worker("-c", "4", kind=kind)
    add, native, total = redis_site.proj.add, redis_site.proj.native_add, redis_site.proj.total
    assert chain(add.s(1, 2), native.s(3), add.s(4))().get(timeout=PATIENCE) == 10
    assert group(add.s(1, 1), native.s(2, 2)).apply_async().get(timeout=PATIENCE) == [2, 4]
    assert chord([native.s(n, n) for n in range(5)])(total.s()).get(timeout=PATIENCE) == 20
    assert chord([add.s(1, 1), native.s(2, 2), add.s(3, 3)])(total.s()).get(timeout=PATIENCE) == 12


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_link_and_link_error(redis_site, kind):
    redis_site.worker(kind=kind)
    native = redis_site.proj.native_add
    linked = native.s(10)
    linked.freeze("linked-" + redis_site.queue)
    native.apply_async((1, 2), link=linked)
    assert redis_site.proj.app.AsyncResult(linked.id).get(timeout=PATIENCE) == 13
    for task in (redis_site.proj.fail, redis_site.proj.native_fail):
        errback = redis_site.proj.note_id.s()
        errback.freeze(f"errback-{task.name}-{redis_site.queue}")
        failed = task.apply_async(("no luck",), link_error=errback)
        assert redis_site.proj.app.AsyncResult(errback.id).get(timeout=PATIENCE) == failed.id
        assert failed.state == "FAILURE"


def test_new_errbacks_are_called(redis_site, tmp_path):
    """With request, exception and traceback."""
    log = tmp_path / "errors"
    log.touch()
    redis_site.worker()
    failed = redis_site.proj.native_fail.apply_async(("no luck",), link_error=redis_site.proj.note_error.s(str(log)))
    with pytest.raises(ValueError, match="no luck"):
        failed.get(timeout=PATIENCE)
    eventually(log.read_text, "the errback was not called")
    assert log.read_text() == f"{failed.id} ValueError('no luck')\n"


def test_custom_state(redis_site):
    redis_site.worker()
    assert redis_site.proj.state.delay().get(timeout=PATIENCE) == "done"


@pytest.mark.parametrize("kind", ["ours", "native"])
def test_countdown_is_waited_for(site, kind):
    site.worker(kind=kind)
    for task in (site.proj.when, site.proj.native_when):
        # Less than a second: Celery 5.6 takes a second's silence on rpc:// for a lost connection, and may lose the result.
        began, eta = task.apply_async(countdown=0.5).get(timeout=PATIENCE)
        assert began >= datetime.fromisoformat(eta).timestamp()
