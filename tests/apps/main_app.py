"""A project with much that Celery runs in its main process; what happens there is written to a file, line by line."""

import json
import os
import signal
import time

from celery import Celery, signals
from celery.backends.filesystem import FilesystemBackend

app = Celery("main_app", broker=os.environ["PROJ_BROKER"], backend=os.environ.get("PROJ_BACKEND") or None)
app.conf.update(
    task_default_queue=os.environ["PROJ_QUEUE"],
    accept_content=["json", "pickle"],
    broker_connection_retry_on_startup=True,
)
LISTENS = os.environ.get("MAIN_LISTENS", "1") == "1"


class OwnBackend(FilesystemBackend):
    """One that only Python can have."""


def record(what, **fields):
    line = json.dumps({"what": what, **fields, "pid": os.getpid()}, default=repr)
    with open(os.environ["MAIN_LEDGER"], "a") as file:
        file.write(f"{line}\n")


def of_consumer(sender):
    return {
        "class": type(sender).__name__,
        "hostname": sender.hostname,
        "app": sender.app.main,
        "controller": str(sender.controller),
        "concurrency": sender.controller.concurrency,
        "pool": [type(sender.pool).__name__, sender.pool.num_processes, sender.controller.pool is sender.pool],
        "timer": hasattr(sender.timer, "call_repeatedly"),
        "queues": list(sender.app.amqp.queues.consume_from),
        "itself": sender.controller.consumer is sender,
        "connection": sender.connection.as_uri().split(":")[0],
    }


def of_request(request):
    return {
        "class": type(request).__name__,
        "id": request.id,
        "name": request.name,
        "task": request.task.name,
        "args": request.args,
        "kwargs": request.kwargs,
        "reprs": [request.argsrepr, request.kwargsrepr],
        "hostname": request.hostname,
        "delivery_info": request.delivery_info,
        "eta": type(request.eta).__name__,
        "limits": request.time_limits,
        "text": str(request).split(" ")[0],
        "keys": sorted(request.request_dict),
        "headers": sorted(request.message.headers),
        "payload": request.message.payload,
        "correlation_id": request.correlation_id,
        "reply_to": bool(request.reply_to),
    }


def of_context(request):
    return {"class": type(request).__name__, "id": request.id, "args": request.args, "hostname": request.hostname}


if LISTENS:

    @signals.worker_ready.connect
    def on_ready(sender, **kwargs):
        record("worker_ready", **of_consumer(sender))

    @signals.worker_shutting_down.connect
    def on_shutting_down(sender, sig, how, exitcode, **kwargs):
        record("worker_shutting_down", sender=sender, sig=sig, how=how, exitcode=int(exitcode))

    @signals.worker_shutdown.connect
    def on_shutdown(sender, **kwargs):
        record("worker_shutdown", sender=str(sender), consumer=sender.consumer.hostname)

    @signals.task_received.connect
    def on_received(sender, request, **kwargs):
        while "gate" in request.kwargs and not os.path.exists(request.kwargs["gate"]):
            time.sleep(0.01)
        if request.kwargs.get("deadly") and not os.path.exists(request.kwargs["deadly"]):
            open(request.kwargs["deadly"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        record("task_received", sender=type(sender).__name__, **of_request(request))

    @signals.task_received.connect
    def on_received_badly(request, **kwargs):
        raise ValueError("a bad receiver")

    @signals.task_revoked.connect
    def on_revoked(sender, request, terminated, signum, expired, **kwargs):
        signum = signum and int(signum)
        record("task_revoked", sender=sender.name, terminated=terminated, signum=signum, expired=expired, **of_context(request))

    @signals.task_rejected.connect
    def on_rejected(sender, message, exc, **kwargs):
        record("task_rejected", sender=type(sender).__name__, body=message.body, exc=type(exc).__name__)

    @signals.task_unknown.connect
    def on_unknown(sender, message, exc, name, id, **kwargs):
        record("task_unknown", sender=type(sender).__name__, name=name, id=id, exc=repr(exc), body=message.body)

    @signals.task_failure.connect
    def on_failure(sender, task_id, exception, args, kwargs, traceback, einfo, **rest):
        stored = app.AsyncResult(task_id).state
        record("task_failure", sender=sender.name, id=task_id, exception=repr(exception), args=args, kwargs=kwargs, stored=stored)

    @signals.heartbeat_sent.connect
    def on_heartbeat(sender, **kwargs):
        record("heartbeat_sent", sender=type(sender).__name__, interval=sender.interval)


class Hooked(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        record("on_failure", id=task_id, exc=type(exc).__name__)


@app.task(name="main.echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(name="main.pid")
def pid():
    return os.getpid()


@app.task(name="main.die", acks_late=True, base=Hooked)
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="main.linger", acks_late=True, base=Hooked)
def linger(seconds=60):
    time.sleep(seconds)


@app.task(name="main.own", backend=OwnBackend(app=app, url=f"file://{os.environ['MAIN_OWN']}"))
def own(how):
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return how


@app.task(name="main.errback")
def errback(request, exc, traceback):
    record("errback", id=request.id, task=request.task, exc=type(exc).__name__)
