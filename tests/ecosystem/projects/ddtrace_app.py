"""ddtrace, without an agent: each trace that it would send is written down and dropped."""

import ddtrace
from celery import chain
from ddtrace.trace import TraceFilter, tracer

from record import new_app, record

ddtrace.patch(celery=True)


class Records(TraceFilter):
    def process_trace(self, trace):
        for span in trace:
            record(
                "span", name=span.name, resource=span.resource, id=f"{span.span_id:x}", trace=f"{span.trace_id:x}",
                parent=f"{span.parent_id:x}" if span.parent_id else None, error=span.error, service=span.service,
                tags={str(key): str(value) for key, value in span.get_tags().items()},
            )
        return None


tracer.configure(trace_processors=[Records()])
app = new_app("ddtrace_app")


@app.task
def add(x, y):
    with tracer.trace("compute"):
        return x + y


@app.task
def sends():
    add.delay(1, 1)


@app.task
def fails():
    raise ValueError("no")


@app.task(throws=(KeyError,))
def throws():
    raise KeyError("expected")


@app.task(bind=True, max_retries=1)
def retries(self):
    raise self.retry(exc=OSError("again"), countdown=0)


def client():
    with tracer.trace("request"):
        for task in (add.s(1, 2), sends.s(), fails.s(), throws.s(), retries.s()):
            task.delay().get(propagate=False, timeout=60)
        chain(add.s(1, 2), add.s(3)).delay().get(timeout=60)
    tracer.shutdown()
