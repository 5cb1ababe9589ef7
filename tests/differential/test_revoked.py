"""Tasks that are revoked."""

import uuid

import pytest


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
        run.app.control.revoke(waiting, destination=[run.side.node], reply=True)
        gate.touch()

    why = "the command and the discarded task both store REVOKED, with and without children, in either order"
    found = base.compare(scenario, may_differ={"documents": why})
    assert "mark" not in found.did() and "revoked" in found.types()


def test_revoke_before_it_comes(base):
    def scenario(run):
        id = str(uuid.uuid4())
        run.app.control.revoke(id, destination=[run.side.node], reply=True)
        run.send("mark", "never", task_id=id)

    found = base.compare(scenario)
    assert found.states() == ["REVOKED"]


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_terminate(base, signal):
    def scenario(run):
        id, _ = gated(run)
        run.app.control.revoke(id, terminate=True, signal=signal, destination=[run.side.node], reply=True)
        run.wait_event("task-revoked", id)

    found = base.compare(scenario)
    assert found.event("revoked")["terminated"] is True


def test_terminate_with_links(base):
    def scenario(run):
        gate = run.side.directory / str(uuid.uuid4())
        id = run.send("wait_for", str(gate), link_error=run.sig("errback_old"))
        run.wait_record("waits")
        run.app.control.revoke(id, terminate=True, destination=[run.side.node], reply=True)
        run.wait_event("task-revoked", id)

    base.compare(scenario)


def test_revoke_of_what_runs(base):
    """Without terminate it runs on."""

    def scenario(run):
        id, gate = gated(run)
        run.app.control.revoke(id, destination=[run.side.node], reply=True)
        gate.touch()

    base.compare(scenario)


def test_revoke_of_an_eta_task(base):
    def scenario(run):
        id = run.send("mark", "never", countdown=0.8)
        run.wait_log("Task mark")
        run.app.control.revoke(id, destination=[run.side.node], reply=True)

    base.compare(scenario)


@pytest.mark.parametrize("value", ["a", ["a", "b"]], ids=str)
def test_revoke_by_stamp(base, value):
    def scenario(run):
        stamp = str(uuid.uuid4())
        headers = {"stamped_headers": ["mine"], "stamps": {"mine": stamp}}
        run.app.control.revoke_by_stamped_headers(
            {"mine": stamp if value == "a" else [stamp, "other"]}, destination=[run.side.node], reply=True
        )
        run.send("mark", "never", mine=stamp, **headers)

    base.compare(scenario)


def test_terminate_by_stamp(base):
    def scenario(run):
        stamp = str(uuid.uuid4())
        gate = run.side.directory / str(uuid.uuid4())
        id = run.send("wait_for", str(gate), stamped_headers=["mine"], stamps={"mine": stamp}, mine=stamp)
        run.wait_record("waits")
        run.app.control.revoke_by_stamped_headers({"mine": stamp}, terminate=True, destination=[run.side.node], reply=True)
        run.wait_event("task-revoked", id)

    base.compare(scenario)


def test_revoke_in_a_chain_and_in_a_chord(base):
    def scenario(run):
        _, gate = gated(run)
        in_chain = run.sig("mark", "never").set(task_id=str(uuid.uuid4()))
        part = run.sig("add", 1, 1).set(task_id=str(uuid.uuid4()))
        for signature in in_chain, part:
            run.app.control.revoke(signature.options["task_id"], destination=[run.side.node], reply=True)
        run.know(run.chain(in_chain, run.sig("add", 1)).apply_async())
        run.know(run.chord([part, run.sig("add", 2, 2)], run.sig("total")).apply_async())
        gate.touch()

    base.compare(scenario)
