"""What is said to the broker, for each end and each option, on Redis and on RabbitMQ."""

import pytest
from test_failures import IN_CHILD
from test_limits import differs, may_differ

#: Ends that the child reports; then those of which another message comes, whose place among others is not certain.
REPORTED = ["success", "failure", "ignore", "reject"]
AGAIN = ["requeue", "retry"]


def came_back(found) -> list[str]:
    return [record["how"] for record in found["child"] if record["what"] == "ends" and record["redelivered"]]


def reported(pair, options: str) -> tuple[list[str], list[dict]]:
    """Who came back, and who was refused, after both sides were found the same."""
    first = pair.compare(lambda run: run.many(*((f"ends {options}", how) for how in REPORTED)), may_differ=IN_CHILD)
    others = [pair.compare(lambda run: run.send(f"ends {options}", how)) for how in AGAIN]
    return sum(map(came_back, [first, *others]), []), first["refused"]


@pytest.mark.parametrize("options", ["early", "late", "late, failures", "late, both", "late, both and one"])
def test_reported_ends(acks, options):
    """Whether it comes back, is refused or is gone; `Reject` says so itself where the message is still held."""
    late = options.startswith("late")
    back, refused = reported(acks, options)
    assert back == (["requeue"] if late else [])
    if acks.ours.broker.startswith("amqp"):
        refuses_failures = options in {"late, failures", "late, both"}
        assert len(refused) == (1 + refuses_failures if late else 0)


@pytest.mark.parametrize("options", ["late", "late, failures", "late, lost", "early, lost", "late, lost, both", "late, retry"])
def test_lost_children(acks, options):
    """Only who asks for it comes back, and as often as its child is lost."""
    again = {"late, lost", "late, lost, both"}
    for how in "kill", "exit":
        found = acks.compare(lambda run: run.send(f"ends {options}", how))
        assert came_back(found) == ([how] if options in again else [])


@pytest.mark.parametrize("options", ["early", "late", "late, timeouts", "late, both"])
def test_hard_limits(acks, options):
    goes_back, limit = options in {"late, timeouts", "late, both"}, {"time_limit": 3}
    found = acks.compare(
        lambda run: run.send(f"ends {options}", "too long", **limit), differs(limit, goes_back), may_differ(limit)
    )
    assert came_back(found) == (["too long"] if goes_back else [])


def test_a_child_that_is_lost_again_and_again(acks):
    """It comes back for as long as that goes on."""
    found = acks.compare(lambda run: run.send("dies_often", str(run.side.directory / run.new_id()), 3))
    counts = [(record["count"], record["redelivered"]) for record in found["child"] if record["what"] == "dies_often"]
    assert counts == [(1, False), (2, True), (3, True), (4, True)]


def test_settings_for_all_tasks(pair_with):
    """Late acknowledgements, and what happens then, for tasks that say nothing themselves."""
    conf = {"task_acks_late": True, "task_acks_on_failure_or_timeout": False, "task_reject_on_worker_lost": True}
    pair = pair_with(conf=conf)
    assert reported(pair, "early")[0] == ["requeue"]
    found = pair.compare(lambda run: run.many(("ends early", "kill")))
    assert came_back(found) == ["kill"]
    limit = {"time_limit": 3}
    found = pair.compare(
        lambda run: run.send("ends early", "too long", **limit), differs(limit, goes_back=True), may_differ(limit)
    )
    assert came_back(found) == ["too long"]
