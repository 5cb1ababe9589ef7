"""What an app wants of its worker and this one does not do: it is refused at start, and told by `celery-rs doctor`."""
from typing import NamedTuple

from celery.worker import components

from celery_rs import manifest, steps

POOLS = {
    'celery.concurrency.prefork:TaskPool': 'prefork',
    'celery.concurrency.thread:TaskPool': 'threads',
    'celery.concurrency.solo:TaskPool': 'solo',
    'celery.concurrency.gevent:TaskPool': 'gevent',
    'celery.concurrency.eventlet:TaskPool': 'eventlet',
}
PYTHONS = "run this worker with Python's celery"


class Refusal(NamedTuple):
    """A pair of texts."""

    #: What is refused.
    line: str
    #: What to do about it, in half a line.
    way_out: str

    def __str__(self):
        return f'{self.line}: {self.way_out}'


def found(app, worker):
    """All of them, in the order in which a worker looks: it stops at the first."""
    yield from own_pool(worker)
    yield from green_beat(worker)
    yield from own_strategies(app)
    yield from misplaced_steps(app)


def pool_name(worker):
    """Ours, or the path of one that is not."""
    path = f'{worker.pool_cls.__module__}:{worker.pool_cls.__name__}'
    return POOLS.get(path, path)


def own_pool(worker):
    name = pool_name(worker)
    if name not in POOLS.values():
        yield Refusal(
            f'celery-rs has no pool {name!r}', f'use prefork, threads, solo, gevent or eventlet, or {PYTHONS}',
        )


def green_beat(worker):
    """As Celery has it."""
    if worker.options.get('beat') and pool_name(worker) in components.GREEN_POOLS:
        line, _, way_out = components.ERR_B_GREEN.strip().partition(': ')
        yield Refusal(line, way_out.rstrip('.'))


def own_strategies(app):
    """What such a task is called with is its Strategy's business: without it, it would do something else."""
    for name, task in app.tasks.items():
        if strategy := manifest.custom_strategy(task):
            yield Refusal(
                f"celery-rs cannot run the task {name!r}, whose Strategy {strategy} works with Celery's consumer",
                f"leave it out of this worker's app, or {PYTHONS}",
            )


def misplaced_steps(app):
    for step in steps.misplaced(app):
        yield Refusal(
            f"celery-rs cannot run boot step {step}, which takes the place of one of Celery's own", PYTHONS,
        )
