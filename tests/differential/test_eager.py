"""`task_always_eager` inside a worker: what its tasks send is called in place."""

import pytest
from test_failures import IN_CHILD


@pytest.fixture(scope="module", params=[{}, {"task_store_eager_result": True, "task_eager_propagates": True}], ids=["", "stored"])
def eager(pair_for, request):
    return pair_for(conf={"task_always_eager": True, **request.param})


CALLS = [
    ("sends_to", "add", [1, 2]), ("sends_to", "fail", ["value"]), ("sends_to", "retry", ["exc"]), ("sends_to", "hooked", ["failure"]),
    ("sends_to", "ignored"), ("sends_to", "ignore"), ("sends_to", "tracked"), ("sends_to", "add", [1, 2], {"link": None}),
    ("retry", "exc"), ("retry", "countdown"), ("retry_exceeded",), ("autoretry", True), ("replace", "task"), ("replace", "chain"),
    ("replace", "group"), ("replace", "chord"), ("calls", "mark"), ("waits_inside",), ("runs_workflows",), ("fail", "value"),
]


#: Those that reject themselves, where exceptions of what is called in place come through.
REJECT = ("retry_exceeded", "autoretry")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(map(str, call)))
def test_always_eager(eager, call):
    eager.compare(lambda run: run.send(*call), may_differ=IN_CHILD if call[0] in REJECT else {})


def test_always_eager_and_links(eager):
    def scenario(run):
        run.send("add", 1, 2, link=run.sig("mark", "linked", immutable=True), link_error=run.sig("errback_old"))
        run.send("fail", link_error=[run.sig("errback_old"), run.sig("errback")])

    eager.compare(scenario)
