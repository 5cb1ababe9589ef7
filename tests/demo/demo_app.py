"""A small Celery project. It knows nothing of celery-rs: any Celery worker can serve it."""

import os

from celery import Celery

app = Celery("demo", broker=os.environ["DEMO_BROKER"], backend=os.environ["DEMO_BACKEND"])


def answer(value):
    return {"value": value, "by": "Python child", "pid": os.getpid()}


@app.task(name="demo.greet")
def greet(name):
    return answer(f"hello {name}")


@app.task(name="demo.add")
def add(x, y):
    return answer(x + y)


@app.task(name="demo.primes")
def primes(below):
    """How many primes there are. The demo's worker has a Rust handler of this name, so that this body never runs."""
    return answer(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below)))
