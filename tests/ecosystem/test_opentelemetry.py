"""OpenTelemetry's instrumentation: spans under those of whoever has sent the task."""

import re
from collections import Counter

#: Attributes that are different on every run.
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|gen\d+@\S+")


def summary(found):
    spans = {span["id"]: span for span in found.of("span")}
    return {
        "code": found.code,
        "traces": len({span["trace"] for span in spans.values()}),
        "spans": sorted(of_span(spans, span) for span in spans.values() if span["service"] == "worker"),
        "carriers": [carrier["same"] for carrier in found.of("carrier")],
    }


def of_span(spans, span):
    attributes = {key: ID.sub("<id>", str(value)) for key, value in sorted(span["attributes"].items())}
    return repr({
        "name": span["name"], "path": path(spans, span), "kind": span["kind"], "status": span["status"],
        "attributes": attributes, "events": span["events"], "links": span["links"],
    })


def path(spans, span):
    """Who has sent it, and who has sent that, back to the client."""
    names = []
    while span is not None:
        names.append(f"{span['service']}:{span['name']}")
        span = spans.get(span["parent"], {"service": "?", "name": span["parent"], "parent": None}) if span["parent"] else None
    return " < ".join(names)


def test_opentelemetry(both):
    found = both("otel_app", summary)
    assert found["traces"] == 1 and found["carriers"] == [True]
    spans = [eval(span) for span in found["spans"]]
    paths = [span["path"] for span in spans]
    assert paths.count("worker:compute < worker:run/otel_app.add < client:apply_async/otel_app.add < client:request") >= 2
    of_sends = "worker:call < worker:run/otel_app.sends < client:apply_async/otel_app.sends < client:request"
    assert f"worker:run/otel_app.add < worker:apply_async/otel_app.add < {of_sends}" in paths
    status = {span["name"]: span["status"][0] for span in spans}
    assert status["run/otel_app.fails"] == "ERROR" and status["run/otel_app.add"] == "UNSET"
    assert Counter(path.split(" < ")[-1] for path in paths) == {"client:request": len(paths)}


def test_opentelemetry_with_links(both):
    found = both("otel_app", summary, ECO_LINKS="1")
    assert any(eval(span)["links"] for span in found["spans"])


def test_opentelemetry_in_threads(both):
    assert both("otel_app", summary, "-P", "threads", ECO_POOL="threads")["spans"]
