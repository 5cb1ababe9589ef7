"""Tasks that wait for their time, and those that come too late."""

import datetime

import pytest

UTC = datetime.timezone.utc


def now() -> datetime.datetime:
    return datetime.datetime.now(UTC)


@pytest.mark.parametrize("zone", [0, 5.5, -8], ids=str)
def test_eta_in_a_zone(base, zone):
    zone = datetime.timezone(datetime.timedelta(hours=zone))
    eta = now().astimezone(zone) + datetime.timedelta(seconds=0.3)
    found = base.compare(lambda run: run.send("mark", "late", eta=eta))
    assert found.event("received")["eta"]


@pytest.mark.parametrize("text", ["naive", "Z", "past", "date"])
def test_eta_as_text(base, text):
    def scenario(run):
        soon = (now() + datetime.timedelta(seconds=0.3)).replace(tzinfo=None).isoformat()
        eta = {"naive": soon, "Z": f"{soon}Z", "past": "2020-01-01T00:00:00+00:00", "date": "2020-01-01"}[text]
        run.publish([["late"], {}, {}], {"id": run.new_id(), "task": "mark", "eta": eta})

    base.compare(scenario)


def test_empty_eta(base):
    """Celery's worker ends of it."""
    base.poison(lambda run: run.publish([["x"], {}, {}], {"id": run.new_id(), "task": "mark", "eta": ""}))


def test_countdown(base):
    found = base.compare(lambda run: [run.send("mark", "second", countdown=0.5), run.send("mark", "first", countdown=0.2)])
    assert [record["text"] for record in found["child"] if record["what"] == "mark"] == ["first", "second"]


@pytest.mark.parametrize("expires", [-10, "past", "naive past", "future", 300], ids=str)
def test_expires(base, expires):
    moments = {
        "past": now() - datetime.timedelta(hours=1),
        "naive past": (now() - datetime.timedelta(hours=1)).replace(tzinfo=None),
        "future": now() + datetime.timedelta(hours=1),
    }
    found = base.compare(lambda run: run.send("mark", "x", expires=moments.get(expires, expires)))
    late = expires in (-10, "past", "naive past")
    assert found.states() == (["REVOKED"] if late else ["SUCCESS"])


def test_expires_while_it_waits(base):
    found = base.compare(lambda run: run.send("mark", "x", countdown=0.5, expires=0.2))
    assert found.states() == ["REVOKED"]


def test_protocol_1_with_local_times(base):
    """`utc` false: times without a zone are the app's."""

    def scenario(run):
        soon = (now() + datetime.timedelta(seconds=0.3)).replace(tzinfo=None).isoformat()
        run.publish({"task": "mark", "id": run.new_id(), "args": ["x"], "eta": soon, "utc": False})

    base.compare(scenario)
