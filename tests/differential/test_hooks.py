"""Hooks, classes and signals of tasks, in their order."""

import pytest


@pytest.mark.parametrize("how", ["success", "failure", "retry"])
def test_hooks(base, how):
    """Every hook is called when it is, with what it is, and finds stored what it finds with Celery."""
    found = base.compare(lambda run: run.send("hooked", how))
    hooks = [what for what in found.did() if what.startswith(("on_", "before", "after"))]
    assert hooks[:2] == ["before_start", f"on_{how}"]


def test_hooks_of_a_late_acknowledged_task(base):
    base.compare(lambda run: run.send("hooked_late"))


def test_hooks_of_a_task_with_links(base):
    base.compare(lambda run: run.send("hooked", "failure", link_error=[run.sig("errback"), run.sig("errback_old")]))


@pytest.mark.parametrize("fails", [True, False])
def test_hooks_that_raise(base, fails):
    why = "what Celery's main process fails of a child's report is failed in the child here, where the exception is"
    base.compare(lambda run: run.send("bad_hooks", fails), may_differ={"child": why, "main": why} if fails else {})


def test_before_start_that_raises(base):
    base.compare(lambda run: run.send("bad_start"))


def test_call_of_its_own(base):
    found = base.compare(lambda run: run.send("wrapped", 3))
    assert found.result() == ["wrapped", 3]


def test_class_with_state(base):
    found = base.compare(lambda run: run.send("counter"))
    assert found.result() == "Counter"


def test_receivers_that_raise(pair_with):
    """They are logged, and nothing else suffers from it, least of all the task."""
    pair = pair_with(receivers=False, env={"DIFF_BAD_RECEIVERS": "1"})
    calls = [("echo", 1), ("fail", "value"), ("retry", "exc"), ("hooked", "success"), ("ignore",)]
    found = pair.compare(lambda run: run.many(*calls))
    assert {"task_prerun", "task_postrun", "task_success", "task_retry", "task_failure"} <= {
        record["signal"] for record in found["child"] if record["what"] == "good"
    }


def test_internal_error(base):
    """Where the tracer itself fails there is a signal for it, and where it has no request yet nothing else is told."""

    def scenario(run):
        run.publish([[1], [2], {}], {"id": run.new_id(), "task": "echo"})

    found = base.compare(scenario)
    assert found.types() == ["received", "started", "succeeded"] and found.states() == []


def test_ways_to_find_tasks(pair_with):
    """`-I`, `autodiscover_tasks`, and annotations for what was found."""
    annotations = {"named_on_the_command_line": {"max_retries": 7, "time_limit": 40}, "*": {"rate_limit": "100/s"}}
    pair = pair_with("-I", "project.named", env={"DIFF_AUTODISCOVER": "1"}, conf={"task_annotations": annotations})
    found = pair.compare(lambda run: run.many(("found_by_itself",), ("named_on_the_command_line",)))
    assert found.result(1) == "found" and found.result(2) == [7, "100/s", 40]
