"""Tasks that are revoked."""

import uuid

import pytest

STORED_TWICE = "the command and the discarded task both store REVOKED, with and without children, in either order"


def gated(run, name: str = "wait_for") -> tuple[str, object]:
    """A task that runs until its gate is opened."""
    gate = run.side.directory / str(uuid.uuid4())
    id = run.send(name, str(gate))
    run.wait_record("waits")
    return id, gate


def test_revoke_of_what_waits(base):
    def scenario(run):
        _, gate = gated(run)
        waiting = run.send("mark", "never")
        run.wait_log("Task mark")
        run.revoke(waiting)
        gate.touch()

    found = base.compare(scenario, may_differ={"documents": STORED_TWICE})
    assert "mark" not in found.did() and "revoked" in found.types()


def test_revoke_before_it_comes(base):
    def scenario(run):
        id = str(uuid.uuid4())
        run.revoke(id)
        run.send("mark", "never", task_id=id)

    found = base.compare(scenario)
    assert found.states() == ["REVOKED"]


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_terminate(base, signal):
    def scenario(run):
        id, _ = gated(run)
        run.revoke(id, terminate=True, signal=signal)
        run.wait_event("task-revoked", id)

    found = base.compare(scenario)
    assert found.event("revoked")["terminated"] is True


def test_terminate_with_links(base):
    def scenario(run):
        gate = run.side.directory / str(uuid.uuid4())
        id = run.send("wait_for", str(gate), link_error=run.sig("errback_old"))
        run.wait_record("waits")
        run.revoke(id, terminate=True)
        run.wait_event("task-revoked", id)

    base.compare(scenario)


def test_revoke_of_what_runs(base):
    """Without terminate it runs on."""

    def scenario(run):
        id, gate = gated(run)
        run.revoke(id)
        gate.touch()

    base.compare(scenario)


def test_revoke_of_an_eta_task(base):
    def scenario(run):
        id = run.send("mark", "never", countdown=5)
        run.wait_log("Task mark")
        run.revoke(id)

    base.compare(scenario)


@pytest.mark.parametrize("value", ["a", ["a", "b"]], ids=str)
def test_revoke_by_stamp(base, value):
    def scenario(run):
        stamp = str(uuid.uuid4())
        headers = {"stamped_headers": ["mine"], "stamps": {"mine": stamp}}
        run.revoke_by_stamps({"mine": stamp if value == "a" else [stamp, "other"]})
        run.send("mark", "never", mine=stamp, **headers)

    base.compare(scenario)


def test_terminate_by_stamp(base):
    def scenario(run):
        stamp = str(uuid.uuid4())
        gate = run.side.directory / str(uuid.uuid4())
        id = run.send("wait_for", str(gate), stamped_headers=["mine"], stamps={"mine": stamp}, mine=stamp)
        run.wait_record("waits")
        run.revoke_by_stamps({"mine": stamp}, terminate=True)
        run.wait_event("task-revoked", id)

    base.compare(scenario)


def test_revoke_in_a_chain_and_in_a_chord(base):
    def scenario(run):
        _, gate = gated(run)
        in_chain = run.sig("mark", "never").set(task_id=str(uuid.uuid4()))
        part = run.sig("add", 1, 1).set(task_id=str(uuid.uuid4()))
        for signature in in_chain, part:
            run.revoke(signature.options["task_id"])
        run.know(run.chain(in_chain, run.sig("add", 1)).apply_async())
        run.know(run.chord([part, run.sig("add", 2, 2)], run.sig("total")).apply_async())
        gate.touch()

    base.compare(scenario)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("options", [{"countdown": 0.6}, {"countdown": 0.6, "expires": 300}, {"expires": 300}], ids=repr)
def test_stamp_and_time(base, when, options):
    """A stamp is looked at when the task is to start, and earlier only where its expiry has to be looked at."""

    def scenario(run):
        stamp = str(uuid.uuid4())

        def revoke():
            run.revoke_by_stamps({"mine": [stamp]})

        if when == "before":
            revoke()
        with run.held():
            run.send("mark", "never", stamped_headers=["mine"], stamps={"mine": stamp}, mine=stamp, **options)
            run.wait_log("Task mark")
            if when == "after":
                revoke()

    found = base.compare(scenario)
    assert "mark" not in found.did() and found.types()[-1] == "revoked"


def test_revoke_of_a_rate_limited_task(base):
    def scenario(run):
        with run.held():
            ids = [run.send("rated", n) for n in range(3)]
            run.wait_log("Task rated", 3)
            run.revoke(ids[2])

    found = base.compare(scenario, may_differ={"documents": STORED_TWICE})
    assert found.types().count("revoked") == 1


def test_revoke_of_a_group(base):
    """By its result: all parts at once."""

    def scenario(run):
        with run.held():
            result = run.group(*[run.sig("mark", str(n)) for n in range(3)]).apply_async()
            run.know(result)
            run.wait_log("Task mark", 3)
            result.revoke(wait=True, timeout=10)

    found = base.compare(scenario, may_differ={"documents": STORED_TWICE, "log.main": "the ids are a set in Celery's log"})
    assert "mark" not in found.did() and found.types().count("revoked") == 3


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED", "RETRY", "RECEIVED", "OWN", "REVOKED"])
def test_revoke_of_what_has_a_state(base, state):
    """The command stores REVOKED for what nobody has begun, as far as the backend knows."""

    def scenario(run):
        id = run.new_id()
        run.app.backend.store_result(id, ValueError("no") if state in ("FAILURE", "RETRY", "REVOKED") else {"by": "hand"}, state)
        run.revoke(id)

    base.compare(scenario)


def test_revoke_between_retries(base):
    def scenario(run):
        id = run.send("retry_options", {"countdown": 5})
        run.wait_event("task-retried", id)
        run.revoke(id)

    found = base.compare(scenario)
    assert found.states() == ["REVOKED"]


def test_revoke_of_what_has_ended(base):
    def scenario(run):
        id = run.send("add", 1, 1)
        run.wait_event("task-succeeded", id)
        run.revoke(id, terminate=True)

    assert base.compare(scenario).states() == ["SUCCESS"]


def test_terminate_of_what_waits_for_its_time(base):
    """It is revoked when it is due."""

    def scenario(run):
        id = run.send("mark", "never", countdown=5)
        run.wait_log("Task mark")
        run.revoke(id, terminate=True)

    found = base.compare(scenario)
    assert "mark" not in found.did()


@pytest.mark.parametrize("signal", ["SIGINT", "SIGUSR1", "SIGQUIT"])
def test_terminate_by_other_signals(base, signal):
    """One is ignored, one is a soft time limit, one is fatal."""

    def scenario(run):
        id, gate = gated(run)
        run.revoke(id, terminate=True, signal=signal)
        run.wait_event("task-revoked", id)
        gate.touch()

    why = "the main process stores REVOKED, and the child the failure that the limit is, in either order"
    base.compare(scenario, may_differ={"documents": why} if signal == "SIGUSR1" else {})


def test_revokes_grow_old(pair_with):
    """Once there are more than so many, the old ones are forgotten."""
    pair = pair_with(env={"CELERY_WORKER_REVOKES_MAX": "2", "CELERY_WORKER_REVOKE_EXPIRES": "1000"})

    def scenario(run):
        ids = [str(uuid.uuid4()) for _ in range(4)]
        for id in ids:
            run.revoke(id)
        run.side.backend_db.flushdb()
        for id in ids:
            run.send("mark", str(ids.index(id)), task_id=id)

    found = pair.compare(scenario)
    assert [record["text"] for record in found["child"] if record["what"] == "mark"] == ["0", "1"]
