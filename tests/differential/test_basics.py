"""Tasks that end well, and what they leave."""

import pytest


def test_success(base):
    found = base.compare(lambda run: run.send("echo", 1, "two", kwargs={"three": [3.0, None]}))
    assert found.types() == ["received", "started", "succeeded"]
    assert found.result() == [[1, "two"], {"three": [3.0, None]}]


def test_many_in_order(base):
    """A worker with one child runs tasks in the order in which they were sent."""
    texts = [str(number) for number in range(20)]
    found = base.compare(lambda run: run.many(*(("mark", text) for text in texts)))
    assert [record["text"] for record in found["child"] if record["what"] == "mark"] == texts


@pytest.mark.parametrize("expression", ["object", "{1, 2}", "lambda: 1", "b'bytes'", "float('nan')", "2 ** 80", "{1: 2}"])
def test_odd_results(base, expression):
    """What JSON cannot carry is a failure that says so; the rest arrives as Celery writes it."""
    base.compare(lambda run: run.send("returns", expression))


def test_unencodable_result(base):
    found = base.compare(lambda run: run.send("returns", "object()", link_error=run.sig("errback")))
    assert found.states() == ["FAILURE"]
    assert found.result()["exc_type"] == "EncodeError"


def test_track_started(base):
    """STARTED with the child's pid and the node's name is stored while the task runs."""
    found = base.compare(lambda run: run.send("tracked"))
    stored = next(record for record in found["child"] if record["what"] == "stored")
    assert stored["status"] == "STARTED" and stored["own_pid"] and stored["hostname"] == "<node>"


def test_update_state(base):
    found = base.compare(lambda run: run.send("progress"))
    stored = next(record for record in found["child"] if record["what"] == "stored")
    assert stored["status"] == "PROGRESS" and stored["result"] == {"done": 1}
    assert found.states() == ["SUCCESS"]


@pytest.mark.parametrize("state", ["SUCCESS", "PENDING", "OWN"])
def test_update_state_to(base, state):
    """A success that the task has stored by itself is not overwritten by its end."""
    found = base.compare(lambda run: run.send("overwrites", state))
    assert found.result() == ({"by": "hand"} if state == "SUCCESS" else "done")


def test_update_state_to_retry_without_exception(base):
    """Celery reads the document before it writes, fails because a RETRY without an exception cannot be read, and
    fails again when it wants to say so. Nothing is read here: the task succeeds.
    """
    fields = ["events", "log.main", "log.child", "documents"]
    base.compare(lambda run: run.send("overwrites", "RETRY"), {field: "Celery fails" for field in fields}, {"child": "Celery fails"})


@pytest.mark.parametrize("name", ["ignored", "echo"])
@pytest.mark.parametrize("header", [None, True, False])
def test_ignore_result(base, name, header):
    """The header wins over the task, in both directions; without it the task decides."""

    def scenario(run):
        id = run.new_id()
        headers = {"id": id, "task": name} | ({} if header is None else {"ignore_result": header})
        run.publish([[], {}, None], headers)

    found = base.compare(scenario)
    assert found.types() == ["received", "started", "succeeded"]
    kept = name == "echo" if header is None else not header
    assert found.states() == (["SUCCESS"] if kept else [])


@pytest.mark.parametrize("name", ["fail_ignored", "fail_kept"])
@pytest.mark.parametrize("header", [None, True, False])
def test_store_errors_even_if_ignored(base, name, header):
    found = base.compare(lambda run: run.send(name, **({} if header is None else {"ignore_result": header})))
    assert found.states() == (["FAILURE"] if name == "fail_kept" or header is False else [])


def test_no_events_of_the_task(base):
    found = base.compare(lambda run: run.send("silent"))
    assert found.types() == [] and found.states() == ["SUCCESS"]


def test_resultrepr_maxsize(base):
    found = base.compare(lambda run: run.send("short_repr"))
    assert len(found.event("succeeded")["result"]) < 40


def test_log_and_redirected_output(base):
    found = base.compare(lambda run: run.send("speaks"))
    levels = [(level, text.partition(": ")[2] or text) for level, _, text in found["log.child"]]
    assert ("WARNING", "to standard output") in levels
    assert [text for _, text in levels].count("by the task's logger") == 1


def test_event_of_the_task(base):
    found = base.compare(lambda run: run.send("announces"))
    assert [(event["type"], event["done"], event["of"]) for event in found["events.custom"]] == [
        ("task-progress", 1, "two")
    ]


def test_builtin_tasks(base):
    add = {"task": "add", "args": [], "kwargs": {}, "options": {}}
    calls = [("celery.accumulate", 1, 2), ("celery.map", add, [1, 2]), ("celery.backend_cleanup",)]
    found = base.compare(lambda run: run.many(*calls))
    assert found.states() == ["SUCCESS"] * 3
