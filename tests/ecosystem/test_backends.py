"""Result backends that this worker does not speak: Celery's own are written to in the children."""

import json
import re

import pytest

from brokers import Memcached

VOLATILE = ("id", "date_done")


def summary(found):
    told = found.returned[0]
    known = {id: f"<{number}>" for number, id in enumerate(told.pop("ids"))}
    rows = told.pop("rows")
    for row in (rows or {}).get("celery_taskmeta", ()):
        # What is pickled names the child, and the ids.
        row["result"] = bool(row["result"])
    told["rows"] = {
        table: sorted((stable(row) for row in of_table), key=lambda row: str(known.get(row.get("task_id"))))
        for table, of_table in (rows or {}).items()
    }
    text = json.dumps(told)
    for id, name in known.items():
        text = text.replace(id, name)
    text = re.sub(r"0x[0-9a-f]+|'pid': \d+|[0-9a-f]{8}-[0-9a-f-]{27}|Job: \d+", "<id>", text)
    return {"code": found.code, **json.loads(text)}


def stable(row):
    found = {key: value for key, value in row.items() if key not in VOLATILE}
    return {**found, "traceback": bool(row.get("traceback")), "dated": bool(row.get("date_done"))}


@pytest.fixture
def memcached():
    with Memcached() as server:
        yield server.url()


@pytest.mark.parametrize("url", ["db+sqlite:///{}/results.sqlite", "file://{}", "backend_app:Own", "redis", "memcached"])
def test_backend(both, request, url):
    """Also those that tasks have of their own. Where the backend cannot count, `celery.chord_unlock` waits for a chord."""
    url = request.getfixturevalue(url) if url == "memcached" else url
    found = both("backend_app", summary, ECO_RESULTS=url)
    assert found["elsewhere"] == "there"
    assert found["got"][0] == "3" and found["code"] == 0


def test_counted_chords(both):
    """In the memory of the only child, which is the only one to see it."""
    seen = both("backend_app", states, calls=("client_of_memory",), ECO_RESULTS="cache+memory://")
    assert [state for state, _ in seen] == ["SUCCESS", "FAILURE"] and seen[0][1] == "10"


def states(found):
    return found.of("seen")[0]["states"]
