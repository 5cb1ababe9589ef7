"""A worker on Redis holds very many tasks whose ETA is an hour away, while others come due.

Prints what the worker's parent takes in memory and CPU time, how late the due ones run, how long Redis keeps others waiting,
and how long it takes to give everything back at the end. Every number is checked: what is held, what has run, what is back.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import redis  # noqa: E402
from brokers import Redis  # noqa: E402
from tree import own_cpu_seconds, own_memory_mib  # noqa: E402

QUEUE = "bench"
RESULTS_DB = 1


def iso(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).isoformat()


class Store:
    """A Redis server, and messages as Celery writes them."""

    def __init__(self, server: Redis, visibility: int) -> None:
        self.server = server
        self.client = redis.Redis(port=server.port, db=0)
        self.results = redis.Redis(port=server.port, db=RESULTS_DB)
        self.env = {
            **os.environ,
            "BENCH_BROKER": server.url(0),
            "BENCH_BACKEND": server.url(RESULTS_DB),
            "BENCH_VISIBILITY": str(visibility),
            "PYTHONPATH": str(HERE),
        }
        self.template = self.capture()

    def capture(self) -> str:
        code = "import bench_app as b; b.late.apply_async(countdown=1, task_id='@ID@')"
        subprocess.run([sys.executable, "-c", code], env=self.env, check=True, cwd=HERE)
        text = self.client.rpop(QUEUE).decode()
        message = json.loads(text)
        # kombu holds a message under the tag that it came with: no two may have the same.
        text = text.replace(message["properties"]["delivery_tag"], "@TAG@")
        return text.replace(message["headers"]["eta"], "@ETA@")

    def send(self, etas: list[float]) -> None:
        for start in range(0, len(etas), 2000):
            pipe = self.client.pipeline(transaction=False)
            for eta in etas[start : start + 2000]:
                text = self.template.replace("@ID@", str(uuid.uuid4())).replace("@TAG@", str(uuid.uuid4()))
                pipe.lpush(QUEUE, text.replace("@ETA@", iso(eta)))
            pipe.execute()

    def held(self) -> int:
        return self.client.hlen("unacked")


class Watch(threading.Thread):
    """Looks at the parent's memory, and at how long Redis takes to answer others."""

    def __init__(self, store: Store, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.port = pid, store.server.port
        self.rss = self.pss = self.longest = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        client = redis.Redis(port=self.port)
        weighed = 0.0
        while not self.stopped.wait(0.005):
            begun = time.monotonic()
            client.ping()
            self.longest = max(self.longest, time.monotonic() - begun)
            if begun - weighed >= 0.5:
                weighed = begun
                rss, pss = own_memory_mib(self.pid)
                self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)

    def longest_ms(self) -> float:
        longest, self.longest = self.longest * 1000, 0.0
        return longest


def until(fact, worker: subprocess.Popen, patience: float) -> float:
    """Waits for a fact; how long that took."""
    begun = time.monotonic()
    while not fact():
        if worker.poll() is not None or time.monotonic() - begun > patience:
            raise SystemExit("it never happened")
        time.sleep(0.1)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="our worker")
    parser.add_argument("--system", choices=["python", "celery"], default="python")
    parser.add_argument("--held", type=int, default=100_000, help="tasks with an ETA in an hour")
    parser.add_argument("--due", type=int, default=3000, help="tasks that come due while those are held")
    parser.add_argument("--within", type=float, default=60, help="seconds over which they come due")
    parser.add_argument("--hold", type=float, default=30, help="seconds of doing nothing but holding")
    parser.add_argument("--visibility", type=int, default=3600, help="visibility_timeout")
    parser.add_argument("--level", default="WARNING", help="log level")
    args = parser.parse_args()
    program = {"python": args.bin, "celery": f"{sys.executable} -m celery"}[args.system]
    log = pathlib.Path(os.environ.get("BENCH_LOG", "/tmp/celery-rs-bench.log"))
    with Redis() as server:
        store = Store(server, args.visibility)
        now = time.time()
        begun = time.monotonic()
        store.send([now + 3600 + 600 * n / args.held for n in range(args.held)])
        print(f"{args.held} tasks with an ETA in an hour sent in {time.monotonic() - begun:.1f} s", flush=True)
        command = f"{program} -A bench_app worker -c 2 -l {args.level} --without-gossip --without-mingle --without-heartbeat"
        worker = subprocess.Popen(
            shlex.split(command), env=store.env, cwd=HERE, stdout=open(log, "ab"), stderr=subprocess.STDOUT
        )
        try:
            measure(args, store, worker)
        finally:
            worker.kill()
            worker.wait()


def measure(args, store: Store, worker: subprocess.Popen) -> None:
    watch = Watch(store, worker.pid)
    watch.start()
    taken = until(lambda: store.held() == args.held, worker, 3600)
    print(f"all taken and held in {taken:.1f} s; a PING took {watch.longest_ms():.1f} ms at most", flush=True)
    print(f"parent after taking: RSS {watch.rss:.1f} MiB, PSS {watch.pss:.1f} MiB at most", flush=True)

    before, begun = own_cpu_seconds(worker.pid), time.monotonic()
    time.sleep(args.hold)
    cpu = (own_cpu_seconds(worker.pid) - before) / (time.monotonic() - begun)
    print(f"holding: {cpu * 1000:.1f} ms of CPU time a second; a PING took {watch.longest_ms():.1f} ms at most", flush=True)

    if args.due:
        start = time.time() + 6
        store.send([start + args.within * n / args.due for n in range(args.due)])
        until(lambda: store.results.dbsize() == args.due, worker, args.within + 600)
        documents = store.results.mget(list(store.results.scan_iter("celery-task-meta-*", count=5000)))
        late = sorted(json.loads(text)["result"] * 1000 for text in documents)
        assert late[0] >= 0, f"one ran {-late[0]} ms before its time"
        p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
        print(f"{args.due} due within {args.within:.0f} s ran late by: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {late[-1]:.1f} ms")
        until(lambda: store.held() == args.held, worker, 60)

    watch.longest_ms()
    begun = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(3600)
    watch.stopped.set()
    back, left = store.client.llen(QUEUE), store.held() + store.client.zcard("unacked_index")
    print(f"ended with {code} in {time.monotonic() - begun:.1f} s: {back} back in the queue, {left} left in unacked; "
          f"a PING took {watch.longest_ms():.1f} ms at most")
    print(f"parent: RSS {watch.rss:.1f} MiB, PSS {watch.pss:.1f} MiB at most")
    if (back, left) != (args.held, 0):
        raise SystemExit("tasks were lost or doubled")


if __name__ == "__main__":
    main()
