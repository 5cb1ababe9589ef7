"""Time limits and rate limits."""

import pytest

TWICE = "Celery tells of the failure twice, and kills the child where ours asks it to end first"


def differs(limits: dict, goes_back: bool = False) -> dict[str, str]:
    """What is different after a hard limit. Where the message goes back, Celery tells of the failure once, too."""
    return {} if goes_back or not is_exceeded(limits) else {"events": TWICE}


def may_differ(limits: dict) -> dict[str, str]:
    """Receivers hear of it twice as well, where there are any. Who has not ended 0.1 s after he was asked to is killed by
    either, and then has no last words.
    """
    return dict.fromkeys(["main", "child", "log.pool"], TWICE) if is_exceeded(limits) else {}


def is_exceeded(limits: dict) -> bool:
    return limits.get("time_limit", 30) < 30


@pytest.mark.parametrize("name", ["sleep", "sleep_late", "sleep_late_unacked", "sleep_hooked"])
@pytest.mark.parametrize("limits", [{"soft_time_limit": 1.5}, {"time_limit": 2.5}, {"soft_time_limit": 1.5, "time_limit": 30}], ids=repr)
def test_limit_of_the_message(base, name, limits):
    def scenario(run):
        id = run.send(name, 60, **limits)
        # A hard limit is told of in every case; what has hooks is stored by the steward, which may have to be forked first.
        if "time_limit" in limits and len(limits) == 1 or name == "sleep_hooked":
            run.wait_event("task-failed", id)

    found = base.compare(scenario, differs(limits, name == "sleep_late_unacked"), may_differ(limits))
    assert "succeeded" not in found.types() or name == "sleep_late_unacked"


@pytest.mark.parametrize("whole", [{"soft_time_limit": 2}, {"time_limit": 2}], ids=repr)
def test_limit_in_whole_seconds(base, whole):
    base.compare(lambda run: run.send("sleep", 60, **whole), differs(whole), may_differ(whole))


def test_limit_of_the_task(base):
    calls, limits = [("limited", 60), ("limited_softly", 60), ("limited_softly", 60, True)], {"time_limit": 1.5}
    found = base.compare(lambda run: run.many(*calls), differs(limits), may_differ(limits))
    assert found.result(3) == "caught"


def test_limit_of_the_message_wins(base):
    found = base.compare(lambda run: run.send("limited", 2.5, time_limit=30))
    assert found.result() == 2.5


def test_limit_with_links(base):
    """Celery also calls the error callbacks twice."""
    fields = ["events", "main", "child", "log.main", "log.pool", "log.received", "log.child", "documents"]

    def scenario(run):
        run.send("sleep", 60, link_error=run.sig("errback_old"), time_limit=2)
        run.wait_record("errback_old", 2 if run.side.kind == "celery" else 1)

    found = base.compare(scenario, {}, dict.fromkeys(fields, TWICE))
    assert found.did().count("errback_old") == 2


def test_limit_in_a_chord(base):
    limits = {"time_limit": 2}

    def scenario(run):
        run.apply(run.chord([run.sig("add", 1, 1), run.sig("sleep", 60).set(**limits)], run.sig("total")))

    why = "where receivers listen, the chord's failure is logged after the limit, of which Celery tells twice"
    base.compare(scenario, differs(limits), {**may_differ(limits), "log.main": why})


def test_rate_limit(base):
    found = base.compare(lambda run: run.many(*(("rated", n) for n in range(3))))
    assert found.types().count("succeeded") == 3
