"""Tasks in the pools that Celery has in its main process and that leave it time to tell of them."""

import json
import uuid

import pytest
from ledger import Ledger
from side import Pair, Side

#: By a name, what is sent.
SCENARIOS = {
    "success": lambda run: run.send("echo", 1, "two", kwargs={"three": [3.0, None]}),
    "failure": lambda run: run.send("fail"),
    "failure with errbacks": lambda run: run.send("fail", link_error=[run.sig("errback"), run.sig("errback_old")]),
    "unencodable": lambda run: run.send("returns", "object()"),
    "started": lambda run: run.send("tracked"),
    "own state": lambda run: run.send("progress"),
    "retry": lambda run: run.send("retry", "plain"),
    "retries used up": lambda run: run.send("retry_exceeded"),
    "autoretry": lambda run: run.send("autoretry", True),
    "link": lambda run: run.apply(run.sig("add", 1, 2), link=run.sig("add", 10)),
    "chain": lambda run: run.apply(run.chain(run.sig("add", 1, 1), run.sig("add", 2), run.sig("add", 3))),
    "chord": lambda run: run.apply(run.chord([run.sig("add", n, n) for n in range(4)], run.sig("total"))),
    "chord that fails": lambda run: run.apply(run.chord([run.sig("add", 1, 1), run.sig("fail")], run.sig("total"))),
    "soft limit": lambda run: run.send("sleep", 2.5, soft_time_limit=1.5),
}


@pytest.fixture(scope="module", params=["threads", "gevent", "eventlet"])
def pool(databases, tmp_path_factory, request):
    directory = tmp_path_factory.mktemp(request.param)
    pair = Pair(*(Side(kind, databases.url(), databases.url(), directory) for kind in ("celery", "ours")))
    yield pair.start("-P", request.param)
    pair.destroy()


def compare(pool, scenario, differs=None):
    """Celery's ledger, after both have been found equal, but for the order of what happens in main: that is two processes of
    ours, one that runs the tasks and the steward.
    """
    theirs, ours = pool.both(lambda side: side.survive(scenario))
    for ledger in theirs, ours:
        assert isinstance(ledger, Ledger), str(ledger)
        ledger["main"].sort(key=lambda record: json.dumps(record, sort_keys=True))
    theirs.must_equal(ours, differs or {}, {})
    return theirs


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_the_main_process(pool, name):
    compare(pool, SCENARIOS[name])


@pytest.mark.parametrize("pool", ["gevent", "eventlet"], indirect=True)
def test_killed(pool):
    def scenario(run):
        gate = run.side.directory / str(uuid.uuid4())
        id = run.send("wait_for", str(gate))
        run.wait_record("waits")
        run.revoke(id, terminate=True)
        run.wait_event("task-revoked", id)

    found = compare(pool, scenario, {"events": "Celery says that a killed task has succeeded, too"})
    assert found.states() == ["REVOKED"] and "succeeded" in found.types()
