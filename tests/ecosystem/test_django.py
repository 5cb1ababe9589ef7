"""A Django project: its fixup, its task class, and django-celery-results as its result backend."""

import json
import re

VOLATILE = re.compile(r"gen\d+@\S+?'|[0-9a-f]{8}-[0-9a-f-]{27}|Job: \d+|(?<=\"pid\": )\d+|(?<=pid\\\": )\d+")


def summary(found):
    told = found.returned[1]
    known = {id: f"<{number}>" for number, id in enumerate(told.pop("ids"))}

    def named(text):
        for id, name in known.items():
            text = text.replace(id, name)
        return VOLATILE.sub("<id>", text)

    rows = [
        {key: named(value) if isinstance(value, str) else value for key, value in row.items() if key != "id"}
        for row in told.pop("rows")
    ]
    for row in rows:
        # The way to where it was raised is in the process that has raised it.
        row["traceback"] = (row["traceback"] or "").strip().rpartition("\n")[2]
    return {
        "code": found.code,
        "rows": sorted(rows, key=lambda row: row["task_id"]),
        "told": json.loads(named(json.dumps(told))),
        "records": records(found),
    }


def records(found):
    return [
        {key: value for key, value in record.items() if key not in ("pid", "role")}
        for record in found.records if record["role"] == "worker"
    ]


def test_django(both):
    """Rows of every way to end, of workflows, groups and chords; connections and transactions."""
    found = both("shop", summary, calls=("prepare", "client"))
    rows = {row["task_id"]: row for row in found["rows"]}
    assert (rows["<0>"]["task_name"], rows["<0>"]["worker"]) == ("shop.tasks.add", "eco@test")
    assert (rows["<0>"]["status"], rows["<0>"]["result"], rows["<0>"]["task_args"]) == ("SUCCESS", "3", '"(1,)"')
    assert (rows["<1>"]["status"], rows["<1>"]["traceback"]) == ("FAILURE", "ValueError: no")
    assert json.loads(rows["<2>"]["meta"]) == {"children": [], "noted": "<2>"}
    told = found["told"]
    assert told["chords"] == [] and told["restored"] == [2, 4] and len(told["groups"]) == 1
    assert [record["sent"] for record in found["records"] if record["what"] == "in transaction"] == [2, 2]
    assert "DjangoTask" in json.dumps(rows["<5>"]["result"]) and rows["<6>"]["result"] == '"rolled back"'
    # Celery's main process has a connection when it forks, its children have none.
    opened = {what: [record["open"] for record in found["records"] if record["what"] == what] for what in ("main", "child")}
    assert opened["main"] == [True] and set(opened["child"]) == {False}
    assert {record["open"] for record in found["records"] if record["what"] in ("prerun", "postrun")} == {False}


def test_django_connections_are_reused_when_told(both):
    found = both("shop", records, calls=("prepare", "client"), ECO_REUSE="3")
    assert {record["open"] for record in found if record["what"] == "postrun"} == {False, True}


def test_ends_that_no_child_has_seen(both):
    """A child that dies, also over a part of a chord, one that is killed, and a task that is too late: Celery's main process
    writes their rows.
    """
    # Whether there is a child in the place of the last one before the worker is told to stop, nobody can say.
    rows = both("shop", lambda found: summary(found)["rows"], calls=("prepare", "lost"))
    lost, killed, late, part, lost_part, body = rows
    assert [row["status"] for row in rows] == ["FAILURE", "FAILURE", "REVOKED", "SUCCESS", "FAILURE", "FAILURE"]
    assert "WorkerLostError" in lost["result"] and "TimeLimitExceeded" in killed["result"]
    assert "expired" in late["result"] and "WorkerLostError" in lost_part["result"] and "ChordError" in body["result"]
