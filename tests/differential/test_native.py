"""Workflows in which some tasks are Rust handlers here: what clients see of them is the same."""

import json

import pytest
import test_workflows as workflows
from side import Pair
from test_messages import COMPRESSIONS

#: What is different wherever a task runs outside Python.
WHY = "native tasks have no child, no receivers, and a line in the log of the worker itself"
SAME = [
    workflows.test_link, workflows.test_several_links, workflows.test_chain, workflows.test_chain_that_fails,
    workflows.test_group, workflows.test_chord, workflows.test_chord_with_a_failing_part, workflows.test_chord_with_chains,
    workflows.test_chord_whose_body_fails, workflows.test_add_to_chord, workflows.test_immutable_signatures,
    workflows.test_replace_in_a_chord, workflows.test_tasks_sent_by_a_task,
]


class NativePair:
    """A pair whose ledgers are compared without the texts of tracebacks, which Rust has none of; without the kind of the
    sequence that arguments are in, which in Python is a list where they come from another message, and a tuple elsewhere;
    and without the ids of parents: which part of a chord ends last is not certain where several run at once.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def compare(self, scenario, differs=None, may_differ=None):
        theirs, ours = self.pair.both(lambda side: side.play(scenario))
        for ledger in theirs, ours:
            ledger.fields = {name: plain(field) for name, field in ledger.fields.items()}
        theirs.must_equal(ours, differs or {}, {**self.pair.everywhere, **(may_differ or {})})
        return theirs


def plain(value):
    if isinstance(value, dict):
        return {key: PLAIN.get(key, plain)(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


PLAIN = {"traceback": bool, "parent_id": bool, "args": lambda args: args.strip("[(,)]") if isinstance(args, str) else args}


def native_pair(pair: Pair) -> NativePair:
    pair.everywhere |= dict.fromkeys(["child", "main", "log.main", "log.child", "log.received"], WHY)
    return NativePair(pair)


@pytest.fixture(scope="module")
def native(pair_for):
    return native_pair(pair_for(native=True))


@pytest.fixture(scope="module")
def extended(pair_for):
    return native_pair(pair_for(native=True, conf={"result_extended": True}))


@pytest.mark.parametrize("scenario", SAME, ids=lambda scenario: scenario.__name__)
def test_workflow(native, scenario):
    scenario(native)


@pytest.mark.parametrize("kind", ["task", "chain", "group"])
def test_replace(native, kind):
    workflows.test_replace_in_a_chain(native, kind)


def test_native_failure_in_the_middle(native):
    """Of a chain, of a chord's header, and of a chain in a chord in a chain."""

    def scenario(run):
        fails = run.sig("fail_plainly", "no luck", immutable=True)
        run.apply(run.chain(run.sig("add", 1, 1), fails, run.sig("echo")).on_error(run.sig("errback_old")))
        run.apply(run.chord([run.sig("add", 1, 1), fails.clone()], run.sig("total").on_error(run.sig("errback_old"))))
        inner = run.chord([run.sig("add", 1, 1), run.chain(fails.clone(), run.sig("add", 1))], run.sig("total"))
        run.apply(run.chord([inner, run.sig("add", 2, 2)], run.sig("echo")))

    found = Tolerant(native).compare(scenario)
    assert "no luck" in json.dumps(found["documents"])


def test_nested_three_deep(native):
    """Both kinds on every level."""

    def scenario(run):
        inner = run.chord([run.sig("add", 1, 1), run.chain(run.sig("echo"), run.sig("mark", "x", immutable=True))], run.sig("echo"))
        run.apply(run.chord([inner, run.chain(run.sig("add", 5, 5), run.sig("add", 1))], run.sig("echo")))

    assert native.compare(scenario).types().count("succeeded") == 7


def test_chord_in_a_chain(native):
    """A native task that sends a chord names it as its child, and not the tasks that it sends for it."""
    workflows.test_chord_in_a_chain(Tolerant(native))


def test_stamps(native):
    def scenario(run):
        """What a native task sends on bears the stamps that it has."""
        for rest in run.sig("stamps"), run.group(run.sig("add", 1), run.sig("stamps")):
            signature = run.chain(run.sig("add", 1, 1), rest, run.sig("echo"))
            signature.stamp(visitor=workflows.Stamps())
            run.apply(signature)

    found = Tolerant(native).compare(scenario)
    assert json.dumps(found["documents"]).count('"by": "us"') >= 2


def test_extended_results_have_stamps(extended):
    def scenario(run):
        for signature in run.sig("add", 1, 2), run.sig("fail_plainly", "no luck"):
            signature.stamp(visitor=workflows.Stamps())
            run.apply(signature)

    documents = extended.compare(scenario)["documents"].values()
    assert [(document["by"], document["list"]) for document in documents] == [("us", ["a", "b"])] * 2


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_body(native, compression):
    assert native.compare(lambda run: run.send("add", 1, 2, compression=compression)).result() == 3


class Tolerant:
    """Does not look at the children in documents."""

    def __init__(self, native: NativePair) -> None:
        self.native = native

    def compare(self, scenario):
        return self.native.compare(scenario, may_differ={"documents": "the children of native tasks are whole workflows"})
