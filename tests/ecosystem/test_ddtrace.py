"""ddtrace, patched by the project and by `ddtrace-run`."""

import re

import pytest

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|gen\d+@\S+|0x[0-9a-f]+")
#: Of the process, or of the moment.
VOLATILE = ("runtime-id", "_dd.p.", "error.stack", "process_id", "language", "_dd.tags.process", "_dd.svc_src", "celery.origin")
ENVIRONMENT = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CELERY_DISTRIBUTED_TRACING": "true",
    "DD_TRACE_PROPAGATION_STYLE": "datadog",
    "DD_TRACE_STARTUP_LOGS": "false",
}


def summary(found):
    # `ddtrace-run` traces clients of Redis as well, of which the two workers have different ones.
    spans = {span["id"]: span for span in found.of("span") if span["name"].split(".")[0] in ("celery", "compute", "request")}
    return {
        "code": found.code,
        "traces": len({span["trace"] for span in spans.values()}),
        "spans": sorted((of_span(spans, span) for span in spans.values() if span["role"] == "worker"), key=repr),
    }


def of_span(spans, span):
    tags = {key: ID.sub("<id>", value) for key, value in sorted(span["tags"].items()) if not key.startswith(VOLATILE)}
    return {"path": path(spans, span), "service": span["service"], "error": span["error"], "tags": tags}


def path(spans, span):
    names = []
    while span is not None:
        names.append(f"{span['role']}:{span['name']}:{span['resource']}")
        span = spans.get(span["parent"])
    return " < ".join(names)


@pytest.mark.parametrize("launcher", ["", "ddtrace-run"])
def test_ddtrace(both, launcher):
    found = both("ddtrace_app", summary, LAUNCHER=launcher, **ENVIRONMENT)
    paths = [span["path"] for span in found["spans"]]
    run, sent, request = "worker:celery.run:ddtrace_app", "celery.apply:ddtrace_app", "client:request:request"
    assert f"worker:compute:compute < {run}.add < client:{sent}.add < {request}" in paths
    assert f"{run}.add < worker:{sent}.add < {run}.sends < client:{sent}.sends < {request}" in paths
    assert {span["tags"].get("error.type") for span in found["spans"]} >= {"builtins.ValueError", None}
    assert found["traces"] == 1
