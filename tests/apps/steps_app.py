"""A project with boot steps and remote control commands of its own; what they do is written to a file, line by line."""

import json
import os

from celery import Celery, bootsteps
from celery.worker.control import control_command, inspect_command
from kombu import Consumer, Exchange, Queue

app = Celery("steps_app", broker=os.environ["PROJ_BROKER"], backend=os.environ.get("PROJ_BACKEND") or None)
app.conf.update(task_default_queue=os.environ["PROJ_QUEUE"], broker_connection_retry_on_startup=True)
own_queue = Queue(f"{os.environ['PROJ_QUEUE']}.own", Exchange("own"), "own")


def record(what, **fields):
    with open(os.environ["MAIN_LEDGER"], "a") as file:
        file.write(json.dumps({"what": what, **fields, "pid": os.getpid()}, default=repr) + "\n")


class OfWorker(bootsteps.StartStopStep):
    """One that hangs on the worker, and on its timer."""

    requires = {"celery.worker.components:Timer", "celery.worker.components:Pool"}

    def __init__(self, parent, hostname_prefix="", **options):
        record("worker.init", hostname=parent.hostname, concurrency=parent.concurrency, option=options.get("step_option"))

    def create(self, parent):
        record("worker.create", pool=type(parent.pool).__name__)

    def start(self, parent):
        if os.environ.get("STEP_FAILS"):
            raise RuntimeError("a step that cannot start")
        record("worker.start")
        parent.timer.call_repeatedly(0.05, record, ("worker.tick",))

    def close(self, parent):
        record("worker.close")

    def stop(self, parent):
        record("worker.stop")

    def terminate(self, parent):
        record("worker.terminate")


class After(bootsteps.StartStopStep):
    requires = (OfWorker,)

    def start(self, parent):
        record("after.start")

    def stop(self, parent):
        record("after.stop")


class Never(bootsteps.StartStopStep):
    def include_if(self, parent):
        return False

    def start(self, parent):
        record("never.start")


class OfConsumer(bootsteps.ConsumerStep):
    """One that consumes a queue that is not Celery's."""

    def get_consumers(self, channel):
        record("consumer.start")
        return [Consumer(channel, queues=[own_queue], callbacks=[self.on_message], accept=["json"])]

    def on_message(self, body, message):
        record("consumer.message", body=body)
        message.ack()

    def stop(self, c):
        record("consumer.stop")
        super().stop(c)


app.steps["worker"] |= {OfWorker, After, Never}
app.steps["consumer"].add(OfConsumer)


@control_command(args=[("n", int)], signature="[N=1]")
def double(state, n=1, **kwargs):
    record("double", hostname=state.hostname, app=state.app.main, consumer=state.consumer.hostname)
    return {"ok": n * 2}


@inspect_command()
def steps(state, **kwargs):
    return [step.alias for step in state.consumer.controller.steps if type(step).__module__ == __name__]


@control_command(args=[("n", int)])
def widen(state, n=1):
    state.consumer.qos.increment_eventually(n)
    return {"ok": "wider"}


@inspect_command()
def clock(state, **kwargs):
    return {"clock": "mine"}


@app.task(name="steps.pid")
def pid():
    return os.getpid()
