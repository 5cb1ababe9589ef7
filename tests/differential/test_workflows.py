"""Links, chains, groups and chords."""

import pytest
from celery.canvas import StampingVisitor, chunks, xmap, xstarmap


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
