"""The state database (`--statedb`): the file in which Celery's worker keeps revoked tasks and its clock over a restart.

Celery's own code reads and writes it: what a file is called and how it is made up depends on the `dbm` of this Python.
"""
import time


def read(worker):
    """The fields of `SavedState`; none without a state database."""
    if not worker.statedb:
        return None
    state, clock = worker.state, worker.app.clock
    state.Persistent(state, worker.statedb, clock).close()
    now, inserted = time.monotonic(), state.revoked.as_dict()
    revoked = [[id, max(now - inserted[id], 0.0)] for id in state.revoked if isinstance(id, str)]
    # The parent has them from now on; children shall not carry them along.
    state.revoked.clear()
    return {'revoked': revoked, 'clock': clock.value}


def save(state, path, clock, revoked, value):
    """To be called in a process of its own: it changes what Celery's worker knows."""
    clock.value = value
    now = time.monotonic()
    state.revoked.clear()
    for id, age in revoked:
        state.revoked.add(id, now - age)

    class Read(state.Persistent):
        def merge(self):
            """The file was read at the start, as Celery does it; what has expired since shall not come back."""

    Read(state, path, clock).save()
