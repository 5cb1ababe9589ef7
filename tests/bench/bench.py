"""Celery's worker, ours and a raw client drain the same pre-filled queue, in turn, several rounds.

Prints tasks per second, CPU time per task of the whole worker tree, peak memory and latency, as ratios to Celery in the
same round, with their spread. Every round's results are checked; a round that fails is an error, not a slow round.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import redis  # noqa: E402
from brokers import RabbitMQ, Redis  # noqa: E402
from tree import cpu_seconds, pss_mib  # noqa: E402

QUEUE = "bench"
RESULTS_DB = 1


@dataclasses.dataclass
class System:
    """A contender: how to start it, and how much it drains per round so that it runs a few seconds."""

    name: str
    command: str
    tasks: int
    is_raw: bool = False


@dataclasses.dataclass
class Cell:
    """What one system did in one round."""

    rate: float
    cpu_us: float
    broker_us: float
    pss: float


class Rig:
    """A broker, a result store, and the messages."""

    def __init__(self, kind: str, store: Redis, rabbit: RabbitMQ | None) -> None:
        self.kind, self.store, self.rabbit = kind, store, rabbit
        self.broker_url = store.url(0) if kind == "redis" else rabbit.url()
        self.backend_url = store.url(RESULTS_DB)
        self.queue = redis.Redis(port=store.port, db=0)
        self.results = redis.Redis(port=store.port, db=RESULTS_DB)
        self.env = {
            **os.environ,
            "BENCH_BROKER": self.broker_url,
            "BENCH_BACKEND": self.backend_url,
            "PYTHONPATH": str(HERE),
        }
        self.template = self.capture()

    def capture(self) -> str:
        """One message as Celery's own producer writes it for Redis, its id replaced by a mark."""
        with Redis() as scratch:
            code = (
                "import bench_app as b; b.app.conf.broker_url=%r; b.app.conf.result_backend=%r;"
                "b.add.apply_async((1, 2), task_id='@ID@')" % (scratch.url(0), scratch.url(1))
            )
            env = {**self.env, "BENCH_BROKER": scratch.url(0), "BENCH_BACKEND": scratch.url(1)}
            subprocess.run([sys.executable, "-c", code], env=env, check=True, cwd=HERE)
            return redis.Redis(port=scratch.port).rpop(QUEUE).decode()

    def clear(self) -> None:
        self.queue.flushall()
        with contextlib.suppress(redis.ResponseError):
            self.queue.execute_command("MEMORY", "PURGE")

    def fill(self, count: int) -> None:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        if self.kind == "redis":
            self.fill_redis(ids)
        else:
            self.fill_rabbit(ids)

    def fill_redis(self, ids: list[str]) -> None:
        for start in range(0, len(ids), 2000):
            pipe = self.queue.pipeline(transaction=False)
            for id_ in ids[start : start + 2000]:
                pipe.lpush(QUEUE, self.template.replace("@ID@", id_))
            pipe.execute()

    def fill_rabbit(self, ids: list[str]) -> None:
        import amqp

        envelope = json.loads(self.template)
        body = base64.b64decode(envelope["body"]).decode()
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as connection:
            channel = connection.channel()
            channel.exchange_declare(QUEUE, "direct", durable=True, auto_delete=False)
            channel.queue_declare(QUEUE, durable=True, auto_delete=False)
            channel.queue_bind(QUEUE, QUEUE, QUEUE)
            channel.queue_purge(QUEUE)
            for id_ in ids:
                headers = {**envelope["headers"], "id": id_, "root_id": id_}
                message = amqp.Message(
                    body.replace("@ID@", id_),
                    content_type="application/json",
                    content_encoding="utf-8",
                    correlation_id=id_,
                    delivery_mode=2,
                    application_headers=headers,
                )
                channel.basic_publish(message, "", QUEUE)
            # A synchronous call: everything before it has arrived.
            channel.queue_declare(QUEUE, passive=True)

    def broker_pid(self) -> int:
        return (self.store if self.kind == "redis" else self.rabbit).process.pid

    def check(self, count: int, raw: bool) -> None:
        """Every task has its result, and nothing is left behind."""
        found = self.results.dbsize()
        if found != count:
            raise SystemExit(f"{count} tasks, {found} results")
        if not raw:
            wrong = 0
            for keys in batched(self.results.scan_iter("celery-task-meta-*", count=5000), 5000):
                for text in self.results.mget(keys):
                    document = json.loads(text)
                    wrong += document["status"] != "SUCCESS" or document["result"] != 3
            if wrong:
                raise SystemExit(f"{wrong} wrong results")
        if self.kind == "redis":
            deadline = time.monotonic() + 10
            while left := self.queue.llen(QUEUE) + self.queue.hlen("unacked") + self.queue.zcard("unacked_index"):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{left} entries left in the queue or unacked")
                time.sleep(0.05)


def batched(items, size: int):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Worker:
    """A contender's process."""

    def __init__(self, rig: Rig, system: System, log: pathlib.Path) -> None:
        env = dict(rig.env)
        env.pop("CARGO_TARGET_DIR", None)
        command = [part.format(broker=rig.broker_url, backend=rig.backend_url, tasks=system.tasks) for part in shlex.split(system.command)]
        self.process = subprocess.Popen(command, env=env, cwd=HERE, stdout=open(log, "ab"), stderr=subprocess.STDOUT, start_new_session=True)
        self.system, self.log = system, log

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise SystemExit(f"{self.system.name} did not stop; see {self.log}")

    def alive(self) -> None:
        code = self.process.poll()
        if code is not None and not (self.system.is_raw and code == 0):
            raise SystemExit(f"{self.system.name} ended with {code}; see {self.log}")


def drain(rig: Rig, system: System, log: pathlib.Path) -> Cell:
    """Fills the queue, starts the system, and measures between the first and the last tenth."""
    rig.clear()
    rig.fill(system.tasks)
    low, high = system.tasks * 0.1, system.tasks * 0.9
    first = last = None
    pss = looked_at = weighed_at = 0.0
    with Worker(rig, system, log) as worker:

        def sample(done: int) -> tuple:
            return (time.monotonic(), done, cpu_seconds(worker.process.pid), cpu_seconds(rig.broker_pid()))

        # Looking costs CPU time that the contender does not get, so it is done seldom, and memory is weighed outside.
        while (done := rig.results.dbsize()) < system.tasks:
            now = time.monotonic()
            if first is None and done >= low:
                first, looked_at = sample(done), now
            elif first and done <= high and now - looked_at >= 0.2:
                last, looked_at = sample(done), now
            if done and (first is None or done > high) and now - weighed_at >= 1:
                pss, weighed_at = max(pss, pss_mib(worker.process.pid)), now
            worker.alive()
            time.sleep(0.02)
        pss = max(pss, pss_mib(worker.process.pid))
        rig.check(system.tasks, system.is_raw)
    if not first or not last or first[1] >= last[1]:
        raise SystemExit(f"{system.name} drained {system.tasks} tasks too fast to be measured: ask for more with --tasks")
    tasks = last[1] - first[1]
    return Cell(
        rate=tasks / (last[0] - first[0]),
        cpu_us=(last[2] - first[2]) / tasks * 1e6,
        broker_us=(last[3] - first[3]) / tasks * 1e6,
        pss=pss,
    )


def latency(rig: Rig, system: System, log: pathlib.Path, rate: int, seconds: int) -> list[float]:
    """Milliseconds from the intended time of sending to the result's arrival, at a fixed rate, open loop."""
    rig.clear()
    sent: dict[str, float] = {}
    arrived: dict[str, float] = {}
    listener = rig.results.pubsub()
    listener.psubscribe("celery-task-meta-*")
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            message = listener.get_message(timeout=0.2)
            if message and message["type"] == "pmessage":
                arrived[message["channel"].decode().removeprefix("celery-task-meta-")] = time.monotonic()

    thread = threading.Thread(target=listen)
    thread.start()
    with Worker(rig, system, log):
        warm = str(uuid.uuid4())
        rig.fill_redis([warm])
        while warm not in arrived:
            time.sleep(0.01)
        start = time.monotonic()
        for n in range(rate * seconds):
            due = start + n / rate
            time.sleep(max(0.0, due - time.monotonic()))
            id_ = str(uuid.uuid4())
            sent[id_] = due
            rig.queue.lpush(QUEUE, rig.template.replace("@ID@", id_))
        deadline = time.monotonic() + 10
        while len(arrived) <= len(sent) and any(id_ not in arrived for id_ in sent):
            if time.monotonic() > deadline:
                raise SystemExit(f"{system.name}: results are missing")
            time.sleep(0.01)
    stop.set()
    thread.join()
    return sorted((arrived[id_] - at) * 1000 for id_, at in sent.items())


def idle(rig: Rig, system: System, log: pathlib.Path, seconds: int) -> tuple[float, float]:
    """CPU milliseconds per second, and PSS, of a worker that has run one task and has nothing to do."""
    rig.clear()
    with Worker(rig, system, log) as worker:
        rig.fill(1)
        while not rig.results.dbsize():
            worker.alive()
            time.sleep(0.05)
        time.sleep(1)
        before = cpu_seconds(worker.process.pid)
        time.sleep(seconds)
        return (cpu_seconds(worker.process.pid) - before) / seconds * 1000, pss_mib(worker.process.pid)


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and a bootstrap 95 % interval of it."""
    rng = random.Random(7)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[-51]


def contenders(args, kind: str) -> list[System]:
    quiet = "-l WARNING --without-gossip --without-mingle --without-heartbeat"
    celery = f"{sys.executable} -m celery -A bench_app worker {quiet}"
    ours = f"{args.bin} -A bench_app worker {quiet}"
    native = f"{args.native} -b {{broker}} --result-backend {{backend}} worker {quiet}"
    # Each at its best on two cores: a Rust seat is a permit, a Python seat is a process.
    seats = args.celery_seats or {"redis": 8, "amqp": 2}[kind]
    python_seats = args.seats or {"redis": 8, "amqp": 16}[kind]
    scale = 1 if kind == "redis" else 0.6
    if args.max_tasks_per_child:
        # What is measured is how children are replaced: as many of them, and as many tasks, for both.
        celery, ours = (f"{worker} --max-tasks-per-child {args.max_tasks_per_child}" for worker in (celery, ours))
        return [System("celery", f"{celery} -c {seats}", args.tasks), System("python", f"{ours} -c {seats}", args.tasks)]
    return [
        System("celery", f"{celery} -c {seats}", args.tasks),
        System("python", f"{ours} -c {python_seats}", int(args.tasks * 10 * scale)),
        System("native", f"{native} -Q bench -c {args.native_seats}", int(args.tasks * 30 * scale)),
        System("raw", f"{args.raw} {kind} {{broker}} {{backend}} {{tasks}}", int(args.tasks * 40 * scale), is_raw=True),
    ]


def bench_drain(args, rig: Rig, systems: list[System], log: pathlib.Path) -> None:
    cells: dict[str, list[Cell]] = collections.defaultdict(list)
    for number in range(args.rounds):
        shift = number % len(systems)
        for system in systems[shift:] + systems[:shift]:
            cells[system.name].append(drain(rig, system, log))
            print(f"  round {number + 1} {system.name:7} {cells[system.name][-1]}", file=sys.stderr, flush=True)
    print(f"\n{rig.kind}, Redis results: {args.rounds} rounds")
    print(f"  {'':8} {'tasks/s':>9} {'CPU us/task':>12} {'broker us':>10} {'PSS MiB':>8}   tasks/s, ratio to Celery (95 %)")
    for system in systems:
        mine, base = cells[system.name], cells[systems[0].name]
        middle = [statistics.median(getattr(cell, field) for cell in mine) for field in ("rate", "cpu_us", "broker_us", "pss")]
        ratio, low, high = interval([a.rate / b.rate for a, b in zip(mine, base)])
        print(f"  {system.name:8} {middle[0]:9.0f} {middle[1]:12.1f} {middle[2]:10.1f} {middle[3]:8.1f}   {ratio:6.1f} ({low:.1f} to {high:.1f})")


def bench_rest(args, rig: Rig, systems: list[System], log: pathlib.Path) -> None:
    print("\nlatency at 100 tasks/s, ms from intended sending to result")
    for system in systems[:3]:
        times = latency(rig, system, log, 100, 5)
        print(f"  {system.name:8} p50 {times[len(times) // 2]:.2f}  p99 {times[len(times) * 99 // 100]:.2f}")
    print("\nidle with 8 children: CPU ms per second, PSS MiB")
    for system in systems[:2]:
        eight = dataclasses.replace(system, command=f"{system.command} -c 8")
        cpu, pss = idle(rig, eight, log, args.idle)
        print(f"  {system.name:8} {cpu:.2f}  {pss:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="our worker")
    parser.add_argument("--native", required=True, help="our worker with a native handler")
    parser.add_argument("--raw", required=True, help="the raw client")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=2500, help="what Celery drains per round")
    parser.add_argument("--seats", type=int)
    parser.add_argument("--native-seats", type=int, default=64)
    parser.add_argument("--celery-seats", type=int)
    parser.add_argument("--idle", type=int, default=20)
    parser.add_argument("--max-tasks-per-child", type=int, help="compares Celery's worker and ours in replacing children; implies --only-drain")
    parser.add_argument("--brokers", default="redis,amqp")
    parser.add_argument("--systems", default="celery,python,native,raw")
    parser.add_argument("--only-drain", action="store_true")
    args = parser.parse_args()
    log = pathlib.Path(os.environ.get("BENCH_LOG", "/tmp/celery-rs-bench.log"))
    log.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Redis())
        rabbit = stack.enter_context(RabbitMQ()) if "amqp" in args.brokers else None
        for kind in args.brokers.split(","):
            rig = Rig(kind, store, rabbit)
            systems = [system for system in contenders(args, kind) if system.name in args.systems.split(",")]
            bench_drain(args, rig, systems, log)
            if kind == "redis" and not args.only_drain and not args.max_tasks_per_child:
                bench_rest(args, rig, systems, log)


if __name__ == "__main__":
    main()
