"""Time limits and rate limits."""

import pytest

TWICE = "Celery tells of the failure twice, and kills the child where ours asks it to end first"


def differs(limits: dict, goes_back: bool = False) -> dict[str, str]:
    """What is different after a hard limit. Where the message goes back, Celery tells of the failure once, too."""
    fields = ["log.pool"] if goes_back else ["events", "log.pool"]
    return dict.fromkeys(fields, TWICE) if limits.get("time_limit", 5) < 5 else {}


#: Receivers hear of it twice as well, where there are any.
MAIN = {"main": TWICE}


@pytest.mark.parametrize("name", ["sleep", "sleep_late", "sleep_late_unacked", "sleep_hooked"])
@pytest.mark.parametrize("limits", [{"soft_time_limit": 0.2}, {"time_limit": 0.3}, {"soft_time_limit": 0.2, "time_limit": 5}], ids=repr)
def test_limit_of_the_message(base, name, limits):
    def scenario(run):
        id = run.send(name, 5, **limits)
        # A hard limit is told of in every case; what has hooks is stored by the steward, which may have to be forked first.
        if "time_limit" in limits and len(limits) == 1 or name == "sleep_hooked":
            run.wait_event("task-failed", id)

    found = base.compare(scenario, differs(limits, name == "sleep_late_unacked"), MAIN)
    assert "succeeded" not in found.types() or name == "sleep_late_unacked"


@pytest.mark.parametrize("whole", [{"soft_time_limit": 1}, {"time_limit": 1}], ids=repr)
def test_limit_in_whole_seconds(base, whole):
    base.compare(lambda run: run.send("sleep", 5, **whole), differs(whole), MAIN)


def test_limit_of_the_task(base):
    calls = [("limited", 5), ("limited_softly", 5), ("limited_softly", 5, True)]
    found = base.compare(lambda run: run.many(*calls), differs({"time_limit": 0.4}), MAIN)
    assert found.result(3) == "caught"


def test_limit_of_the_message_wins(base):
    found = base.compare(lambda run: run.send("limited", 0.6, time_limit=30))
    assert found.result() == 0.6


def test_limit_with_links(base):
    """Celery also calls the error callbacks twice."""
    fields = ["events", "child", "log.main", "log.pool", "log.received", "log.child", "documents"]

    def scenario(run):
        run.send("sleep", 5, link_error=run.sig("errback_old"), time_limit=0.3)
        run.wait_record("errback_old", 2 if run.side.kind == "celery" else 1)

    found = base.compare(scenario, {}, {**dict.fromkeys(fields, TWICE), **MAIN})
    assert found.did().count("errback_old") == 2


def test_limit_in_a_chord(base):
    def scenario(run):
        run.apply(run.chord([run.sig("add", 1, 1), run.sig("sleep", 5).set(time_limit=0.3)], run.sig("total")))

    why = "where receivers listen, the chord's failure is logged after the limit, of which Celery tells twice"
    base.compare(scenario, differs({"time_limit": 0.3}), {**MAIN, "log.main": why})


def test_rate_limit(base):
    found = base.compare(lambda run: run.many(*(("rated", n) for n in range(3))))
    assert found.types().count("succeeded") == 3
