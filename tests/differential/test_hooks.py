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
