"""The same load without and with `-E`, in turn, several rounds, while Celery's own event receiver listens.

First at a fixed rate, then as fast as the worker drains a queue that is full. Prints the throughput and the CPU time per task
of the worker's tree. Every round is checked: each task has its result, and with `-E` the receiver has counted every event.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import statistics
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from bench import Rig, System, Worker  # noqa: E402
from brokers import RabbitMQ, Redis  # noqa: E402
from tree import cpu_seconds  # noqa: E402

KINDS = ("task-received", "task-started", "task-succeeded")
#: What is sent at a fixed rate goes out this many times a second.
TICKS = 50


def listen(env: dict[str, str], listening, stop, heard) -> None:
    """Counts task events, in a process of its own."""
    os.environ.update(env)
    from bench_app import app

    def count(event) -> None:
        heard[KINDS.index(event["type"])] += 1

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers=dict.fromkeys(KINDS, count))

        def watch() -> None:
            stop.wait()
            receiver.should_stop = True

        threading.Thread(target=watch, daemon=True).start()
        receiver.on_consume_ready = lambda *_, **__: listening.set()
        receiver.capture(limit=None, timeout=None, wakeup=False)


class Listener:
    """Celery's event receiver, from `with` on."""

    def __init__(self, env: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.listening, self.stop = context.Event(), context.Event()
        self.heard = context.Array("q", len(KINDS))
        self.process = context.Process(target=listen, args=(env, self.listening, self.stop, self.heard))

    def __enter__(self) -> "Listener":
        self.process.start()
        if not self.listening.wait(60):
            raise SystemExit("the receiver did not begin to listen")
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        self.process.join()

    def expect(self, each: int) -> None:
        """Waits for that many of each kind, as long as some come."""
        before, since = 0, time.monotonic()
        while any(count != each for count in self.heard):
            if sum(self.heard) != before:
                before, since = sum(self.heard), time.monotonic()
            if time.monotonic() - since > 10:
                raise SystemExit(f"of {each} events of each kind these were heard: {dict(zip(KINDS, self.heard))}")
            time.sleep(0.05)


def feed(rig: Rig, rate: int, seconds: int) -> None:
    """Sends at that rate, without waiting for anything."""
    start, sent = time.monotonic(), 0
    for tick in range(1, TICKS * seconds + 1):
        due = rate * tick // TICKS
        rig.fill_redis([str(uuid.uuid4()) for _ in range(due - sent)])
        sent = due
        time.sleep(max(0.0, start + tick / TICKS - time.monotonic()))


def run(rig: Rig, command: str, events: bool, tasks: int, rate: int | None, log: pathlib.Path) -> tuple[float, float]:
    """Tasks per second, and CPU microseconds per task, of one worker."""
    rig.clear()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(rig.env)) if events else None
        if rate is None:
            rig.fill(tasks)
        worker = stack.enter_context(Worker(rig, System("worker", command + (" -E" if events else ""), tasks), log))
        low, high = (0, tasks) if rate else (tasks // 10, tasks * 9 // 10)
        if rate:
            rig.fill(1)
            until(rig, worker, 1)
            rig.results.flushdb()
            threading.Thread(target=feed, args=(rig, rate, tasks // rate), daemon=True).start()
        begun = until(rig, worker, low), cpu_seconds(worker.process.pid)
        ended = until(rig, worker, high), cpu_seconds(worker.process.pid)
        until(rig, worker, tasks)
        if listener:
            listener.expect(tasks + (1 if rate else 0))
    done = ended[0][1] - begun[0][1]
    return done / (ended[0][0] - begun[0][0]), (ended[1] - begun[1]) / done * 1e6


def until(rig: Rig, worker: Worker, results: int) -> tuple[float, int]:
    """When there were at least that many results, and how many there were."""
    while (done := rig.results.dbsize()) < results:
        worker.alive()
        time.sleep(0.02)
    return time.monotonic(), done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="our worker")
    parser.add_argument("--native", required=True, help="our worker with a native handler")
    parser.add_argument("--broker", choices=["redis", "amqp"], default="redis", help="amqp is drained only")
    parser.add_argument("--rate", type=int, default=2000, help="tasks per second")
    parser.add_argument("--seconds", type=int, default=10, help="how long that rate is kept up")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks that are drained")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    log = pathlib.Path(os.environ.get("BENCH_LOG", "/tmp/celery-rs-bench.log"))
    quiet = "-l WARNING --without-gossip --without-mingle --without-heartbeat"
    workers = {
        "python": f"{args.bin} -A bench_app worker {quiet} -c 8",
        "native": f"{args.native} -b {{broker}} --result-backend {{backend}} worker {quiet} -Q bench -c 64",
    }
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Redis())
        rig = Rig(args.broker, store, stack.enter_context(RabbitMQ()) if args.broker == "amqp" else None)
        loads = {"drain": (args.tasks, None)}
        if args.broker == "redis":
            loads = {f"{args.rate}/s": (args.rate * args.seconds, args.rate), **loads}
        print(f"{args.broker}: {args.rounds} rounds, median; every event was heard")
        print(f"  {'':16} {'tasks/s':>9} {'with -E':>9} {'ratio':>6} {'CPU us/task':>12} {'with -E':>9}")
        for name, command in workers.items():
            for load, (tasks, rate) in loads.items():
                found = {False: [], True: []}
                for number in range(args.rounds):
                    for events in (False, True) if number % 2 == 0 else (True, False):
                        found[events].append(run(rig, command, events, tasks, rate, log))
                rates, costs = ([statistics.median(cell[n] for cell in found[e]) for e in (False, True)] for n in (0, 1))
                ratio = statistics.median(b[0] / a[0] for a, b in zip(found[False], found[True]))
                print(f"  {name:7} {load:8} {rates[0]:9.0f} {rates[1]:9.0f} {ratio:6.2f} {costs[0]:12.1f} {costs[1]:9.1f}", flush=True)


if __name__ == "__main__":
    main()
