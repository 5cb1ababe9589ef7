"""Tasks that fail, that give up, and that take their child with them."""

import json

import pytest

IN_CHILD = dict.fromkeys(
    ["child", "main"], "what Celery's main process fails of a child's report is failed in the child here, where the exception is"
)
KINDS = [
    "value", "key", "odd", "unpicklable", "silent", "unicode", "bytes", "object", "no args", "oserror", "assertion",
    "stop", "group", "bad reduce", "odd reduce", "bad text", "bad arguments", "local", "recursion", "no exception", "import",
    "decode", "nested", "timeout", "celery",
]


@pytest.mark.parametrize("kind", KINDS)
def test_exception(base, kind):
    """With all arguments and of all classes, also those that cannot be made again or not be pickled."""
    found = base.compare(lambda run: run.send("fail", kind))
    assert found.types() == ["received", "started", "failed"] and found.states() == ["FAILURE"]


@pytest.mark.parametrize("explicit", [True, False])
def test_chained_tracebacks(base, explicit):
    found = base.compare(lambda run: run.send("fail_chained", explicit))
    assert "KeyError: 'missing'" in json.dumps(found["documents"])


@pytest.mark.parametrize("kind", ["key", "value"])
def test_throws(base, kind):
    """What is expected is logged as information, without a traceback."""
    found = base.compare(lambda run: run.send("fail_expected", kind))
    assert found["log.child"][0][0] == ("INFO" if kind == "key" else "ERROR")


@pytest.mark.parametrize("name", ["ignore", "ignore_with_state"])
def test_ignore(base, name):
    found = base.compare(lambda run: run.send(name))
    assert found.types() == ["received", "started"]
    assert found.states() == (["OWN"] if name == "ignore_with_state" else [])


@pytest.mark.parametrize("requeue", [True, False])
def test_reject(base, requeue):
    found = base.compare(lambda run: run.send("reject", requeue), may_differ={} if requeue else IN_CHILD)
    assert found.did().count("reject") == (2 if requeue else 1)
    assert "rejected" in found.types()


@pytest.mark.parametrize("requeue", [True, False])
def test_reject_of_what_is_acknowledged(base, requeue):
    found = base.compare(lambda run: run.send("reject_early", requeue), may_differ={} if requeue else IN_CHILD)
    assert "rejected" not in found.types()


@pytest.mark.parametrize("name", ["fail_late", "fail_late_unacked"])
def test_late_acknowledged_failure(base, name):
    base.compare(lambda run: run.send(name))


def test_base_exception(base):
    base.compare(lambda run: run.send("raises_base"), may_differ=IN_CHILD)


@pytest.mark.parametrize("name", ["die", "die_late", "die_once"])
@pytest.mark.parametrize("how", ["exit", "kill", "segv", "abort", "fault"])
def test_lost_child(base, name, how):
    """Only a task that asks for it comes back, and once."""
    found = base.compare(lambda run: run.many((name, how), ("add", 1, 1)))
    assert found.did().count("dies") == (2 if name == "die_once" else 1)
    assert found.result(2) == 2


@pytest.mark.parametrize("name", ["die", "die_late", "die_once"])
@pytest.mark.parametrize("how", ["sys.exit", "SystemExit", "SystemExit text", "KeyboardInterrupt"])
def test_exit_by_exception(base, name, how):
    """Since 5.7 the child tells of its exit before it ends."""
    why = {"main": "the end of the process and what it is to the task are told in either order"}

    def scenario(run):
        run.many((name, how), ("add", 1, 1))
        if how == "sys.exit":
            run.wait_log("exited with 'exitcode 3'")

    found = base.compare(scenario, may_differ=why if how == "sys.exit" else {})
    assert found.did().count("dies") == (2 if name == "die_once" else 1)


@pytest.mark.parametrize("name", ["die", "die_late", "die_once"])
def test_memory_error(base, name):
    """Celery's worker ends of it, and its next one gets what is not acknowledged once more; so does a new child here. A
    second time it is a failure like any other.
    """
    ours = base.poison(lambda run: run.many((name, "MemoryError"), ("add", 1, 1)))
    assert ours.did().count("dies") == (1 if name == "die" else 2)
    assert ours.result(2) == 2 and ours.states().count("SUCCESS") == (2 if name == "die_once" else 1)


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
def test_failures_and_odd_results_in_each_serializer(pair_with, serializer):
    """What can be written, and what is written where the result cannot be."""
    pair = pair_with(conf={"result_serializer": serializer})
    expressions = ["object()", "{1, 2}", "lambda: 1", "b'bytes'", "2 ** 80", "{1: 2}", "[[[[]]]]", "float('inf')", "(1, 2)"]
    pair.compare(lambda run: run.many(*(("fail", kind) for kind in KINDS)))
    pair.compare(lambda run: run.many(*(("returns", expression) for expression in expressions)))
    pair.compare(lambda run: run.many(("retry", "exc"), ("reject", False)), may_differ=IN_CHILD)
    pair.compare(lambda run: run.send("die", "kill"))


def test_huge_exception(base):
    def scenario(run):
        run.wait_event("task-failed", run.send("fail", "huge"))

    base.compare(scenario)


def test_huge_results(base):
    found = base.compare(lambda run: run.many(("returns", "'x' * 5_000_000"), ("returns", "list(range(200_000))"), ("add", 1, 1)))
    assert found.result(3) == 2


def test_deep_results(base):
    """Deeper than any encoder goes."""
    found = base.compare(lambda run: run.many(("returns", "nested(300)"), ("returns", "nested(5000)"), ("add", 1, 1)))
    assert found.result(3) == 2


def test_lost_child_with_links(base):
    """The error callbacks of a task whose child is lost, and the rest of its chain."""

    def scenario(run):
        run.apply(run.chain(run.sig("die", "kill"), run.sig("add", 1)).on_error(run.sig("errback_old")))

    found = base.compare(scenario)
    assert "errback_old" in found.did()


def test_lost_child_in_a_chord(base):
    base.compare(lambda run: run.apply(run.chord([run.sig("add", 1, 1), run.sig("die", "kill")], run.sig("total"))))


def test_retry_on_worker_lost(base):
    base.compare(lambda run: run.send("retry_lost"))
