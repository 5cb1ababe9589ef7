"""Children that are replaced, and time limits of the whole worker."""

import pytest
from ledger import Ledger

def ended(ledger: Ledger) -> set[str]:
    """How children have told of their ends. Fences run in children too, and how many of those there are is each side's own."""
    return {str(record["fields"]) for record in ledger["child"] if record["what"] == "worker_process_shutdown"}


def test_children_are_replaced(pair_with):
    """Each has the place of the one before, and leaves with the same code."""
    pair = pair_with("--max-tasks-per-child", "1")
    ledgers = pair.both(lambda side: side.play(lambda run: [run.send("place") for _ in range(4)]))
    results = [[ledger.result(number) for number in range(1, 5)] for ledger in ledgers]
    for places in results:
        assert [index for index, _ in places] == [0, 0, 0, 0]
        assert len({pid for _, pid in places}) == 4
    theirs, ours = map(ended, ledgers)
    assert theirs == ours == {"{'exitcode': 155, 'pid': '<pid>'}"}


def test_children_that_grow_are_replaced(pair_with):
    pair = pair_with("--max-memory-per-child", "1")
    ledgers = pair.both(lambda side: side.play(lambda run: run.many(("add", 1), ("add", 2))))
    assert ended(ledgers[0]) == ended(ledgers[1]) == {"{'exitcode': 155, 'pid': '<pid>'}"}


@pytest.fixture
def limited(pair_with):
    return pair_with("--time-limit", "5", "--soft-time-limit", "1.5")


def test_limits_of_the_worker_are_for_tasks_without_their_own(limited):
    """The message's come first, then the task's, then the worker's."""
    softly = [("sleep", 60), ("limited_softly", 60, True)]
    found = limited.compare(lambda run: run.many(*softly))
    assert found.states() == ["FAILURE", "SUCCESS"]


@pytest.mark.parametrize("name, limits", [("limited", {}), ("sleep", {"time_limit": 0.3})], ids=repr)
def test_hard_limits_before_those_of_the_worker(pair_with, name, limits):
    """What else comes of a hard limit is compared in `test_limits.py`."""
    pair = pair_with("--time-limit", "30", "--soft-time-limit", "20")
    for ledger in pair.both(lambda side: side.play(lambda run: run.send(name, 60, **limits))):
        assert ledger.states() == ["FAILURE"]
        assert "TimeLimitExceeded" in str(ledger.result())


def test_a_message_with_one_limit_has_none_of_the_worker(limited):
    """Longer than the worker's hard limit."""
    found = limited.compare(lambda run: run.send("sleep", 6, soft_time_limit=30))
    assert found.states() == ["SUCCESS"]
