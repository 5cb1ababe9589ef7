"""The ledger that tasks, hooks and receivers write: one line of JSON for each thing that happened."""

import json
import os

from billiard import current_process


def record(what, **fields):
    """`where` it happened is the kind of process: main, or a child."""
    where = "main" if current_process().name == "MainProcess" else "child"
    line = json.dumps({"where": where, "what": what, "pid": os.getpid(), **fields}, default=repr)
    descriptor = os.open(os.environ["DIFF_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)
