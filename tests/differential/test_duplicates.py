"""Messages that come again though their task has succeeded: `worker_deduplicate_successful_tasks`."""

import json
import uuid

import pytest

CONF = {"worker_deduplicate_successful_tasks": True}


@pytest.fixture(scope="module", params=[(), ("-P", "threads"), ("-P", "solo")], ids=["prefork", "threads", "solo"])
def pair(pair_for, request):
    return pair_for(*request.param, conf=CONF, receivers=False)


def runs(found, what: str) -> int:
    """How often; on pools without processes it is Celery's main process that runs tasks."""
    return sum(record["what"] == what for record in found["child"] + found["main"])


def again(run, name: str, *args, id: str, redelivered: bool = True, embed: dict | None = None, **headers) -> None:
    """As the broker hands a message out once more."""
    headers = {"id": id, "task": name, "lang": "py", "argsrepr": "?", "kwargsrepr": "?", "root_id": id, **headers}
    envelope = run.envelope(json.dumps([args, {}, embed or {}]).encode(), headers)
    envelope["properties"]["delivery_info"]["redelivered"] = redelivered
    run.push(envelope)


def test_a_success_is_not_run_again(pair):
    def scenario(run):
        id = run.send("late", "once")
        run.wait_event("task-succeeded", id)
        again(run, "late", "twice", id=id)

    found = pair.compare(scenario)
    assert runs(found, "late") == 1 and found.event("succeeded")["result"] is None


def test_what_is_not_redelivered_is_run_again(pair):
    def scenario(run):
        id = run.send("late", "once")
        run.wait_event("task-succeeded", id)
        again(run, "late", "twice", id=id, redelivered=False)

    assert runs(pair.compare(scenario), "late") == 2


def test_what_is_acknowledged_early_is_run_again(pair):
    def scenario(run):
        id = run.send("mark", "once")
        run.wait_event("task-succeeded", id)
        again(run, "mark", "twice", id=id)

    assert runs(pair.compare(scenario), "mark") == 2


@pytest.mark.parametrize("state", ["FAILURE", "PENDING"])
def test_what_has_not_succeeded_is_run(pair, state):
    def scenario(run):
        id = run.new_id()
        if state == "FAILURE":
            run.app.backend.store_result(id, ValueError("no"), state)
        again(run, "late", "again", id=id)

    found = pair.compare(scenario)
    assert runs(found, "late") == 1


def test_what_followed_is_sent_if_it_was_not(pair):
    """The document of a success that was stored without children: its links and its chain have not been sent."""

    def scenario(run):
        id = run.new_id()
        link, rest = run.sig("mark", "link", immutable=True), run.sig("add", 10)
        run.ids += [link.freeze().id, rest.freeze().id]
        run.app.backend.store_result(id, 5, "SUCCESS")
        again(run, "late", "again", id=id, embed={"callbacks": [link], "chain": [rest]})

    found = pair.compare(scenario)
    assert not runs(found, "late") and runs(found, "mark") == 1 and found.result(3) == 15


def test_ignored_results_cannot_tell(pair):
    def scenario(run):
        id = run.send("late", "once", ignore_result=True)
        run.wait_event("task-succeeded", id)
        again(run, "late", "twice", id=id, ignore_result=True)

    found = pair.compare(scenario)
    assert runs(found, "late") == (2 if "-P" not in pair.ours.worker.command else 1)
