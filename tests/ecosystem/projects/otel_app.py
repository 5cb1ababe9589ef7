"""opentelemetry-instrumentation-celery, set up in `worker_process_init` as its documentation says."""

import os

from celery import Task, chain, chord, signals
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from record import new_app, record

app = new_app("otel_app")


class Records(SpanExporter):
    """A line for each span; what `export` does in a thread of the processor's."""

    def export(self, spans):
        for span in spans:
            record(
                "span", name=span.name, kind=span.kind.name, id=f"{span.context.span_id:x}",
                trace=f"{span.context.trace_id:x}", parent=f"{span.parent.span_id:x}" if span.parent else None,
                status=[span.status.status_code.name, span.status.description], attributes=dict(span.attributes),
                events=[event.name for event in span.events], links=len(span.links),
                service=span.resource.attributes["service.name"],
            )
        return SpanExportResult.SUCCESS


provider = None


def init(**_):
    global provider
    provider = TracerProvider(resource=Resource({"service.name": os.environ["ECO_ROLE"]}))
    # Nothing is exported until it is told to: what it has is lost with its process.
    provider.add_span_processor(BatchSpanProcessor(Records(), schedule_delay_millis=3_600_000))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument(use_span_links=os.environ.get("ECO_LINKS") == "1")


def flush(**_):
    provider.force_flush()


if os.environ["ECO_ROLE"] == "client":
    init()
elif os.environ.get("ECO_POOL") == "threads":
    # Its `worker_process_init` is never sent: all is in Celery's main process.
    signals.worker_init.connect(init, weak=False)
    import atexit

    atexit.register(flush)
else:
    signals.worker_process_init.connect(init, weak=False)
    signals.worker_process_shutdown.connect(flush, weak=False)


class Wrapped(Task):
    abstract = True

    def __call__(self, *args, **kwargs):
        with trace.get_tracer("project").start_as_current_span("call"):
            return self.run(*args, **kwargs)


@app.task
def add(x, y):
    with trace.get_tracer("project").start_as_current_span("compute"):
        return x + y


@app.task(base=Wrapped, bind=True)
def sends(self):
    carrier = {}
    propagate.inject(carrier)
    record("carrier", same=carrier["traceparent"].split("-")[1] == self.request.traceparent.split("-")[1])
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


@app.task
def total(numbers):
    return sum(numbers)


def client():
    with trace.get_tracer("project").start_as_current_span("request"):
        for task in (add.s(1, 2), sends.s(), fails.s(), throws.s(), retries.s()):
            task.delay().get(propagate=False, timeout=60)
        chain(add.s(1, 2), add.s(3)).delay().get(timeout=60)
        chord([add.s(1, 2), add.s(3, 4)], total.s()).delay().get(timeout=60)
        # Its name is all that the sender knows.
        app.send_task("otel_app.add", (5, 6)).get(timeout=60)
    provider.shutdown()
