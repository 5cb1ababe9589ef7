"""What a task sees of its request."""

import uuid

import pytest


def test_the_whole_request(base):
    found = base.compare(lambda run: run.send("request", 1, kwargs={"a": 2}))
    assert found.result()["id"] == "'<id 1>'"


def test_the_request_with_all_options(base):
    def scenario(run):
        run.send(
            "request", "x", kwargs={"k": 1}, headers={"own": [1, 2], "another": "header"}, shadow="other.name",
            link=run.sig("echo"), link_error=run.sig("errback"), time_limit=60, soft_time_limit=30.5, priority=3,
            expires=300, reply_to="somebody", correlation_id="correlated", root_id="root", parent_id="parent",
            group_id="group", group_index=3, ignore_result=False, argsrepr="args", kwargsrepr="kwargs",
            stamped_headers=["stamp"], stamps={"stamp": "value"}, stamp="value", compression="zlib",
            delivery_mode=1, replaced_task_nesting=2, queue=run.side.queue,
        )

    base.compare(scenario)


@pytest.mark.parametrize(
    "value", [1.5, 2**70, -(2**63), "\ud83d\ude00 \u00fc", {"deep": [None, True, {"__type__": "no more"}]}, uuid.UUID(int=1)], ids=repr
)
def test_a_header_of_any_kind(base, value):
    base.compare(lambda run: run.send("request", headers={"own": value, "time_limit": 1, "__type__": "mine"}))


def test_the_request_in_a_workflow(base):
    """Roots, parents, groups and their indices."""

    def scenario(run):
        part = run.sig("request")
        run.apply(run.chain(run.sig("request"), run.chord([part.clone(), part.clone()], run.sig("request"))))

    base.compare(scenario)


@pytest.mark.parametrize("protocol", ["minimal", 1])
def test_the_request_of_other_messages(base, protocol):
    def scenario(run):
        if protocol == 1:
            run.publish({"task": "request", "id": run.new_id(), "args": [1], "kwargs": {}, "retries": 1, "timelimit": [60, 50]})
        else:
            run.publish([[], {}, None], {"task": "request", "id": run.new_id(), "unheard": "of"})

    base.compare(scenario)


def test_the_request_of_a_retry(base):
    base.compare(lambda run: run.send("sends_to", "request", [1], {"countdown": 0, "headers": {"h": 1}}))


def test_the_process(base):
    """billiard's current process, the current task and the stacks."""
    base.compare(lambda run: run.send("context"))


def test_sending_by_a_task(base):
    # One after the other: where a message of low priority meets others, it depends on when each comes.
    for call in ("add", [1, 2], {"priority": 6, "expires": 100}), ("tracked",), ("ignored",):
        base.compare(lambda run: run.send("sends_to", *call))  # noqa: B023


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_the_process_where_there_is_only_one(pair_with, pool):
    """The current task, the stacks and the request on other pools."""
    pair = pair_with("-P", pool)
    # Ours are two processes.
    order = {"main": "what is received while a task runs stands somewhere among what is told of that"}
    for call in ("context",), ("request", 1), ("sends_to", "tracked"):
        assert pair.compare(lambda run: run.send(*call), may_differ=order).states()[0] == "SUCCESS"
