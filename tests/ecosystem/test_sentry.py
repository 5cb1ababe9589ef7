"""Sentry's SDK: events and transactions, of whatever the process that runs a task has been told to capture."""

import re

import pytest

ID = re.compile(r"^[0-9a-f]{8}-")
#: What the SDK measures, and what names the process.
VOLATILE = {"messaging.message.receive.latency", "thread.id", "thread.name", "messaging.message.id"}


def names_of_spans(transactions):
    """Each span by what it is; of those alike, one is the other's double."""
    names = {}
    for transaction in transactions:
        trace = transaction["contexts"]["trace"]
        names[trace["span_id"]] = f"transaction {trace['op']} {transaction['transaction']}"
        for span in transaction["spans"]:
            names[span["span_id"]] = f"{span['op']} {span.get('description')} in {transaction['transaction']}"
    return names


def summary(found):
    """Plain data without what is different on every run."""
    transactions = [record["payload"] for record in found.of("transaction")]
    names = names_of_spans(transactions)
    traces = {transaction["contexts"]["trace"]["trace_id"] for transaction in transactions}
    worker = [record["payload"] for record in found.records if record["role"] == "worker"]
    return {
        "code": found.code,
        "traces": len(traces),
        "transactions": sorted(
            (of_transaction(found, item, names) for item in worker if item.get("type") == "transaction"), key=repr
        ),
        "events": sorted((of_event(item, names) for item in worker if item.get("type") != "transaction"), key=repr),
    }


def of_transaction(found, item, names):
    trace = item["contexts"]["trace"]
    return {
        "task": item["transaction"],
        "op": trace["op"],
        "parent": names.get(trace.get("parent_span_id")),
        "status": trace.get("status"),
        "source": item["transaction_info"],
        "job": item.get("extra", {}).get("celery-job"),
        "id": found.returned[0].index(item["tags"]["celery_task_id"])
        if item.get("tags", {}).get("celery_task_id") in found.returned[0] else None,
        "tags": sorted(item.get("tags", {})),
        "spans": [
            {
                "op": span["op"],
                "name": span.get("description"),
                "parent": names.get(span.get("parent_span_id")),
                "status": span.get("status"),
                "data": {key: value for key, value in span.get("data", {}).items() if key not in VOLATILE},
                "measured": sorted(VOLATILE & set(span.get("data", {}))),
            }
            for span in item["spans"]
        ],
    }


def of_event(item, names):
    raised = (item.get("exception") or {}).get("values", [])
    return {
        "raised": [(value["type"], value["value"], value["mechanism"]["type"], frames(value)) for value in raised],
        "message": (item.get("logentry") or {}).get("message"),
        "task": item.get("transaction"),
        "span": names.get(item["contexts"]["trace"]["span_id"]),
        "tags": {key: value for key, value in item.get("tags", {}).items() if not ID.match(str(value))},
        "extra": {key: value for key, value in item.get("extra", {}).items() if key not in ("sys.argv", "asctime")},
        "basket": item["contexts"].get("basket"),
        "breadcrumbs": [
            (crumb.get("category"), crumb.get("message")) for crumb in (item.get("breadcrumbs") or {}).get("values", [])
        ],
        "fingerprint": item.get("fingerprint"),
    }


def frames(value):
    """Functions of the stack, as Sentry shows it."""
    return [(frame["module"], frame["function"]) for frame in value["stacktrace"]["frames"]]


@pytest.mark.parametrize("where", ["module", "celeryd_init", "worker_init", "worker_process_init"])
def test_sentry(both, where):
    found = both("sentry_app", summary, ECO_INIT=where)
    raised = {name for event in found["events"] for name, *_ in event["raised"]}
    if where == "worker_process_init":
        # Too late for Celery's tracer, with either worker: only what is logged is captured.
        assert not found["transactions"]
        return
    assert raised == {"ValueError", "KeyError", "SoftTimeLimitExceeded", "OSError"}
    assert found["traces"] == 1
    parents = {item["parent"] for item in found["transactions"]}
    assert None not in parents
    assert "queue.submit.celery sentry_app.works in sentry_app.sends" in parents
    (event,) = [event for event in found["events"] if event["raised"][:1] and event["raised"][0][0] == "ValueError"]
    assert event["tags"]["shop"] == "books"
    assert event["breadcrumbs"][-2:] == [("basket", "has 3"), ("shop", "almost")]


def test_sentry_in_threads(both):
    both("sentry_app", summary, "-P", "threads", ECO_INIT="worker_init")
