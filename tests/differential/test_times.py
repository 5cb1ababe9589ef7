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
    found = base.compare(lambda run: [run.send("mark", "second", countdown=6), run.send("mark", "first", countdown=3)])
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
    found = base.compare(lambda run: run.send("mark", "x", countdown=5, expires=4))
    assert found.states() == ["REVOKED"]


def test_protocol_1_with_local_times(base):
    """`utc` false: times without a zone are the app's."""

    def scenario(run):
        soon = (now() + datetime.timedelta(seconds=0.3)).replace(tzinfo=None).isoformat()
        run.publish({"task": "mark", "id": run.new_id(), "args": ["x"], "eta": soon, "utc": False})

    base.compare(scenario)


ZONES = {
    "named": {"timezone": "Europe/Berlin"},
    "named, no UTC": {"timezone": "America/St_Johns", "enable_utc": False},
    "system's": {"enable_utc": False},
}


@pytest.mark.parametrize("conf", ZONES.values(), ids=ZONES)
def test_zones(pair_with, conf):
    """`timezone` and `enable_utc`: what the client makes of times, when the tasks run, and how their times are shown."""

    def without_offset(run):
        """Around the hours that are skipped and repeated in Berlin, and in protocol 1."""
        later = (now() + datetime.timedelta(hours=1)).isoformat()
        for text in ("2025-03-30T00:59:59", "2025-03-30T01:00:00", "2025-10-26T00:30:00.25", "2025-10-26T01:30:00"):
            run.publish([[text], {}, {}], {"id": run.new_id(), "task": "mark", "eta": text, "expires": later})
            run.publish({"task": "mark", "id": run.new_id(), "args": [text], "eta": text, "utc": text < "2025-10"})

    def aware(run):
        zone = datetime.timezone(datetime.timedelta(hours=-9))
        run.send("mark", "x", eta=now().astimezone(zone) + datetime.timedelta(seconds=0.3))

    pair = pair_with(conf=conf)
    assert len(pair.compare(without_offset).results()) == 8
    assert pair.compare(aware).states() == ["SUCCESS"]
    assert pair.compare(lambda run: run.send("mark", "x", countdown=0.3)).states() == ["SUCCESS"]
    assert pair.compare(lambda run: run.send("mark", "x", expires=3600)).states() == ["SUCCESS"]
    later = now() + datetime.timedelta(hours=1)
    assert pair.compare(lambda run: run.send("mark", "x", expires=later)).states() == ["SUCCESS"]
