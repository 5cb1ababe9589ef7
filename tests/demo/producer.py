"""Sends the tasks as any Celery client does, and prints what came back, from whom, and how long that took."""

import time

from demo_app import add, app, greet, primes

CALLS = [(greet, ("world",)), (add, (40, 2)), (primes, (10_000,)), (add, (0.1, 0.2)), (primes, (50_000,))]
ROW = "{:<12} {:<10} {:<20} {:<28} {:>7} {:>8}".format


def timed(task, args):
    start = time.perf_counter()
    # The client looks for the result; by default twice a second, which is what would be measured.
    answer = task.delay(*args).get(timeout=30, interval=0.002)
    return answer, (time.perf_counter() - start) * 1000


def main() -> None:
    # The first task makes files and tables, which is not what the table is to show.
    timed(greet, ("nobody",))
    print(ROW("task", "arguments", "result", "run by", "pid", "ms"))
    for task, args in CALLS:
        answer, elapsed = timed(task, args)
        shown = ", ".join(map(repr, args))
        print(ROW(task.name, shown, repr(answer["value"]), answer["by"], answer["pid"], f"{elapsed:.1f}"))
    app.close()


if __name__ == "__main__":
    main()
