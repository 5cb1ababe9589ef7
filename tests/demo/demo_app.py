"""A small Celery project. It knows nothing of celery-rs: any Celery worker can serve it."""

import os

from celery import Celery

folder = os.environ["DEMO_FOLDER"]
app = Celery("demo", broker="filesystem://", backend=f"db+sqlite:///{folder}/results.sqlite")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queues",
    "data_folder_out": f"{folder}/queues",
    "control_folder": f"{folder}/control",
    "polling_interval": 0.1,
}


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
