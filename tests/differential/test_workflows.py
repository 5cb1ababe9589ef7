"""Links, chains, groups and chords."""

import pytest
from celery.canvas import StampingVisitor, chunks, xmap, xstarmap
from celery.result import result_from_tuple
from workers import PATIENCE


def test_link(base):
    found = base.compare(lambda run: run.apply(run.sig("add", 1, 2), link=run.sig("add", 10)))
    assert sorted(map(str, [d["result"] for d in found["documents"].values()])) == ["13", "3"]


def test_several_links(base):
    def scenario(run):
        links = [run.sig("mark", immutable=True, kwargs={"text": "a"}), run.sig("add", 5), run.group(run.sig("add", 7), run.sig("add", 8))]
        run.apply(run.sig("add", 1, 2), link=links)

    base.compare(scenario)


@pytest.mark.parametrize("name", ["errback", "errback_old", "errback_bound"])
def test_errback(base, name):
    """A new-style error callback is called in place, an old-style one is a task."""
    found = base.compare(lambda run: run.send("fail", link_error=run.sig(name)))
    assert name in found.did()


def test_errback_that_fails_and_one_that_nobody_knows(base):
    why = "that the failure cannot be recorded is logged in the child"
    base.compare(
        lambda run: run.send("fail", link_error=[run.sig("fail", "key"), run.sig("no.such.task")]),
        {"log.main": why, "log.child": why},
    )


def test_errback_that_cannot_be_called(base):
    """The failure cannot be recorded: Celery logs that in main, ours where it happens; nobody gets a result."""
    why = "logged in the child"
    base.compare(
        lambda run: run.send("fail", link_error=run.group(run.sig("errback"), run.sig("errback_old"))),
        {"log.main": why, "log.child": why},
    )


def test_chain(base):
    found = base.compare(lambda run: run.apply(run.chain(run.sig("add", 1, 1), run.sig("add", 2), run.sig("add", 3))))
    assert found.result(3) == 7


def test_chain_that_fails(base):
    """What comes after the failed one has failed, too."""
    found = base.compare(lambda run: run.apply(run.chain(run.sig("add", 1, 1), run.sig("fail"), run.sig("add", 3), run.sig("add", 4))))
    assert found.types().count("failed") == 1


def test_group(base):
    found = base.compare(lambda run: run.apply(run.group(*[run.sig("add", n, n) for n in range(4)])))
    assert found.states() == ["SUCCESS"] * 4


def test_chord(base):
    found = base.compare(lambda run: run.apply(run.chord([run.sig("add", n, n) for n in range(4)], run.sig("total"))))
    assert 12 in found.results()


def test_chord_with_a_failing_part(base):
    def scenario(run):
        body = run.sig("total").on_error(run.sig("errback_old"))
        run.apply(run.chord([run.sig("add", 1, 1), run.sig("fail")], body))

    found = base.compare(scenario)
    assert "errback_old" in found.did()


def test_chord_with_a_new_style_errback(base):
    def scenario(run):
        run.apply(run.chord([run.sig("fail"), run.sig("add", 1, 1)], run.sig("total").on_error(run.sig("errback"))))

    base.compare(scenario)


def test_chord_with_nested_groups(base):
    def scenario(run):
        header = [run.sig("add", 1, 1), run.group(run.sig("add", 2, 2), run.sig("add", 3, 3))]
        run.apply(run.chord(header, run.sig("echo")))

    base.compare(scenario)


def test_chord_with_chains(base):
    def scenario(run):
        header = [run.chain(run.sig("add", n, n), run.sig("add", 1)) for n in range(2)]
        run.apply(run.chord(header, run.sig("total")))

    base.compare(scenario)


def test_chord_in_a_chain(base):
    def scenario(run):
        parts = run.group(run.sig("add", 1), run.sig("add", 2))
        run.apply(run.chain(run.sig("add", 1, 1), parts, run.sig("total"), run.sig("add", 100)))

    found = base.compare(scenario)
    assert 107 in found.results()


def test_chord_whose_body_fails(base):
    base.compare(lambda run: run.apply(run.chord([run.sig("add", 1, 1), run.sig("add", 1, 1)], run.sig("fail", "key", immutable=True))))


def test_chord_with_ignored_and_rejected_parts(base):
    """Celery's main process finishes the chord; here the child does, in which the traceback is a longer one."""
    fields = ["child", "main", "documents", "log.main", "log.child", "log.received"]
    why = "main fails a rejected task; here the child does"
    found = base.compare(
        lambda run: run.apply(run.chord([run.sig("add", 1, 1), run.sig("rejects_part")], run.sig("total"))),
        may_differ=dict.fromkeys(fields, why),
    )
    assert "failed" in found.types()


def test_add_to_chord(base):
    found = base.compare(lambda run: run.apply(run.chord([run.sig("more_parts"), run.sig("add", 1, 1)], run.sig("total"))))
    assert 6 in found.results()


@pytest.mark.parametrize("kind", ["task", "chain", "group", "chord"])
def test_replace(base, kind):
    base.compare(lambda run: run.send("replace", kind))


@pytest.mark.parametrize("kind", ["task", "chain", "group"])
def test_replace_in_a_chain(base, kind):
    base.compare(lambda run: run.apply(run.chain(run.sig("replace", kind), run.sig("echo"))))


def test_replace_in_a_chord(base):
    base.compare(lambda run: run.apply(run.chord([run.sig("replace", "task"), run.sig("add", 1, 1)], run.sig("total"))))


def test_map_starmap_and_chunks(base):
    def scenario(run):
        add = run.sig("add")
        run.apply(xmap(add, [1, 2], app=run.app))
        run.apply(xstarmap(add, [(1, 2), (3, 4)], app=run.app))
        run.apply(chunks(add, [(1, 1), (2, 2), (3, 3)], 2, app=run.app).group())

    base.compare(scenario)


def test_tasks_sent_by_a_task(base):
    """They are its children."""
    found = base.compare(lambda run: run.send("calls", "mark", "echo"))
    assert found.result() == 2


def test_results_must_not_be_waited_for(base):
    base.compare(lambda run: run.send("waits_inside"))


class Stamps(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"by": "us", "list": ["a", "b"], "stamped_headers": ["by", "list"]}


def test_stamps(base):
    def scenario(run):
        signature = run.chain(run.sig("request"), run.group(run.sig("add", 1), run.sig("add", 2)), run.sig("total"))
        signature.stamp(visitor=Stamps())
        run.apply(signature)

    base.compare(scenario)


@pytest.mark.parametrize("kind", ["chain", "group", "chord"])
def test_replace_by_a_workflow_in_a_chord(base, kind):
    base.compare(lambda run: run.apply(run.chord([run.sig("replace", kind), run.sig("add", 1, 1)], run.sig("echo"))))


def test_replace_again_and_again(base):
    found = base.compare(lambda run: run.apply(run.chain(run.sig("nested_replace", 3), run.sig("echo"))))
    assert [[3], {}] in found.results()


def test_replace_by_what_fails(base):
    found = base.compare(lambda run: run.apply(run.chain(run.sig("replace_with_error"), run.sig("add", 1))))
    assert "errback_old" in found.did()


def test_add_to_no_chord(base):
    base.compare(lambda run: run.send("adds_to_nothing"))


def test_join_where_it_is_allowed(base):
    def scenario(run):
        id = run.send("add", 1, 2)
        run.wait_event("task-succeeded", id)
        run.send("joins", id)

    assert base.compare(scenario).result(2) == 3


def test_workflows_three_deep(base):
    def scenario(run):
        inner = run.chord([run.sig("add", 1, 1), run.chain(run.sig("add", 2, 2), run.sig("add", 1))], run.sig("total"))
        middle = run.group(inner, run.chain(run.sig("add", 5, 5), run.sig("add", 1)))
        run.apply(run.chain(run.sig("mark", "first"), run.chord([middle, run.sig("echo", "x").set(immutable=True)], run.sig("echo"))))

    base.compare(scenario)


def test_failure_three_deep(base):
    def scenario(run):
        inner = run.chord([run.sig("add", 1, 1), run.chain(run.sig("fail"), run.sig("add", 1))], run.sig("total"))
        run.apply(run.chain(run.sig("add", 1, 1), run.group(inner, run.sig("add", 1)), run.sig("echo")).on_error(run.sig("errback_old")))

    base.compare(scenario)


def test_immutable_signatures(base):
    def scenario(run):
        run.apply(run.chain(run.sig("add", 1, 1), run.sig("echo", "own", immutable=True), run.sig("add", 5, 5, immutable=True)))
        run.apply(run.chord([run.sig("add", 1, 1)] * 2, run.sig("mark", "body", immutable=True)))
        run.apply(run.sig("add", 1, 2), link=run.sig("mark", "linked", immutable=True))

    base.compare(scenario)


def test_all_builtin_tasks(base):
    """Those that Celery calls itself, and those that nobody may call."""
    add = {"task": "add", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
    calls = [("celery.accumulate", 1, 2), ("celery.chain", 1), ("celery.map", add, [1, 2]), ("celery.starmap", add, [[1, 2]])]
    found = base.compare(lambda run: run.many(*calls, ("celery.backend_cleanup",)))
    assert found.states().count("SUCCESS") == 4

    def chunks(run):
        made = run.app.AsyncResult(run.send("celery.chunks", add, [[1, 2]], 1)).get(timeout=PATIENCE)
        # Its only part may be heard of before or after the group.
        run.know(result_from_tuple(made, run.app))

    assert [3] in base.compare(chunks).results()

    def scenario(run):
        with run.held():
            parts = [{**add, "args": [n, n], "options": {"task_id": run.new_id()}} for n in (1, 2)]
            run.send("celery.chord", parts, {**add, "task": "total", "options": {"task_id": run.new_id()}})

    assert 6 in base.compare(scenario).results()


@pytest.mark.parametrize("store", ["file", "rpc"])
def test_chords_where_the_backend_cannot_count(pair_with, store):
    """`celery.chord_unlock` looks again and again whether all parts are ready; `rpc://` has no chords at all."""
    pair = pair_with(store=store)

    def scenario(run):
        try:
            result = run.apply(run.chord([run.sig("add", n, n).set(task_id=run.new_id()) for n in range(3)], run.sig("total")))
        except NotImplementedError:
            return run.send("mark", "refused")
        run.wait_event("task-succeeded", result.id)

    found = pair.compare(scenario)
    assert "mark" in found.did() if store == "rpc" else found.types().count("succeeded") >= 5
