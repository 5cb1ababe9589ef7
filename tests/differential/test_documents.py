"""What is told where there is no result backend, and where results tell more than usual."""

import uuid

import pytest
from test_failures import IN_CHILD
from test_workflows import Stamps

#: Everything that a task may do with its result, by name and arguments.
CALLS = [
    ("echo", 1), ("tracked",), ("progress",), ("ignored",), ("fail", "value"), ("fail_expected", "key"), ("ignore",),
    ("retry", "exc"), ("retry_exceeded",), ("hooked", "success"), ("hooked", "failure"), ("hooked", "retry"),
    ("returns", "object()"), ("replace", "chain"), ("calls", "mark"), ("sends_to", "add", [1, 2]),
]


@pytest.fixture(scope="module")
def disabled(pair_for):
    return pair_for(store=None)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(map(str, call)))
def test_no_backend(disabled, call):
    """Where Celery's `DisabledBackend` says nothing, nothing is said; where it raises, it raises."""
    disabled.compare(lambda run: run.send(*call), may_differ=IN_CHILD if call[0] == "hooked" else {})


def test_no_backend_and_links(disabled):
    disabled.compare(lambda run: run.send("fail", link_error=[run.sig("errback"), run.sig("errback_old")]))
    disabled.compare(
        lambda run: run.apply(run.chain(run.sig("add", 1, 1), run.sig("add", 2), run.sig("fail"), run.sig("add", 3)))
    )
    disabled.compare(lambda run: run.apply(run.group(run.sig("add", 1, 1), run.sig("add", 2, 2))))


def test_no_backend_and_ends_that_no_child_tells(disabled):
    calls = ("die", "kill"), ("die_late", "exit"), ("no.such.task",), ("mark", "still there")

    def ends(run):
        with run.held():
            for call in calls:
                run.send(*call)
            run.wait_log("Received unregistered task")

    disabled.compare(ends)

    def scenario(run):
        id = str(uuid.uuid4())
        run.revoke(id)
        run.send("mark", "never", task_id=id)
        run.send("mark", "too late", expires=-10)

    why = "that a task is revoked is logged before anything that comes of it"
    disabled.compare(scenario, may_differ={"log.main": why})


@pytest.fixture(scope="module")
def extended(pair_for):
    return pair_for(conf={"result_extended": True})


ENDS = [
    ("echo", 1, "two"), ("fail", "value"), ("retry", "exc"), ("tracked",), ("progress",), ("die", "kill"), ("no.such.task", 1),
    ("hooked", "success"), ("ignore_with_state",), ("reject", False),
]


@pytest.mark.parametrize("call", ENDS, ids=lambda call: " ".join(map(str, call)))
def test_extended_results(extended, call):
    """Name, arguments, worker, retries and queue."""
    extended.compare(lambda run: run.send(*call), may_differ=IN_CHILD)


def test_extended_results_of_what_is_revoked_and_of_a_chain_that_fails(extended):
    def scenario(run):
        id = str(uuid.uuid4())
        run.revoke(id)
        run.send("mark", "never", task_id=id)
        run.send("mark", "too late", expires=-10)
        run.apply(run.chain(run.sig("fail"), run.sig("add", 1), run.sig("add", 2)))

    extended.compare(scenario)


def test_extended_results_have_stamps(extended):
    def scenario(run):
        for signature in (
            run.sig("echo", 1), run.sig("fail"), run.sig("die", "kill"), run.sig("retry", "plain"),
            run.chain(run.sig("fail"), run.sig("add", 1)), run.chord([run.sig("add", 1, 1), run.sig("add", 2, 2)], run.sig("total")),
        ):
            signature.stamp(visitor=Stamps())
            run.apply(signature)

    found = extended.compare(scenario)
    stamped = [document for document in found["documents"].values() if "stamped_headers" in document]
    assert stamped and all(document["by"] == "us" and document["list"] == ["a", "b"] for document in stamped)
