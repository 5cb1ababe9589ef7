"""New Relic's agent, which wraps what a pool process begins and ends with."""


def summary(found):
    worker = [record for record in found.records if record["role"] == "worker" and record["what"] == "transaction"]
    traces = {}
    for record in worker:
        # Named by the first who is in it.
        record["trace"] = traces.setdefault(record["trace"], f"trace {len(traces)}")
    transactions = [{key: value for key, value in record.items() if key not in ("pid", "role", "what")} for record in worker]
    children = {record["pid"] for record in worker}
    return {
        "code": found.code, "returned": found.returned, "transactions": transactions,
        "shut down": all(any(end["pid"] == pid for end in found.of("shutdown")) for pid in children),
    }


def test_newrelic(both):
    found = both(
        "newrelic_app", summary, LAUNCHER="newrelic-admin run-program", NEW_RELIC_DEVELOPER_MODE="true",
        NEW_RELIC_LICENSE_KEY="0" * 40, NEW_RELIC_APP_NAME="eco", NEW_RELIC_STARTUP_TIMEOUT="10",
    )
    names = [transaction["name"] for transaction in found["transactions"]]
    assert names == [f"Celery/newrelic_app.{name}" for name in ("add", "wrapped", "fails", "sends", "add")]
    assert [transaction["errors"] for transaction in found["transactions"]][2] == [["builtins:ValueError", "no"]]
    assert found["shut down"]
