"""The Celery project that end-to-end tests produce for and that both workers serve."""

import collections
import json
import os
import subprocess
import threading
import time
import uuid

from celery import Celery, signals
from celery.exceptions import Ignore, Reject
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

app = Celery("proj", broker=os.environ.get("PROJ_BROKER"), backend=os.environ.get("PROJ_BACKEND") or None)
app.conf.update(
    accept_content=["json", "msgpack", "yaml", "pickle"],
    result_accept_content=["json", "msgpack", "yaml", "pickle"],
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("PROJ_QUEUE", "proj"),
    task_acks_late=os.environ.get("PROJ_ACKS_LATE") == "1",
    task_reject_on_worker_lost=os.environ.get("PROJ_ACKS_LATE") == "1",
    worker_prefetch_multiplier=int(os.environ.get("PROJ_PREFETCH", "4")),
    broker_transport_options=(
        {
            "visibility_timeout": int(os.environ["PROJ_VISIBILITY"]),
            # Look for what a killed worker left each second instead of every hundred.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
        if os.environ.get("PROJ_VISIBILITY") else {}
    ),
)
app.conf.update(json.loads(os.environ.get("PROJ_CONF", "{}")))
for known in app.conf.broker_transport_options.get("predefined_queues", {}).values():
    if "backoff_policy" in known:
        # JSON has no numbers for keys.
        known["backoff_policy"] = {int(count): seconds for count, seconds in known["backoff_policy"].items()}
if os.environ.get("PROJ_POOL"):
    app.conf.worker_pool = os.environ["PROJ_POOL"]
if os.environ.get("PROJ_SERIALIZER"):
    app.conf.task_serializer = os.environ["PROJ_SERIALIZER"]
if os.environ.get("PROJ_SENT"):
    app.conf.task_send_sent_event = True
if os.environ.get("PROJ_DEAD"):
    # What is rejected goes there, what is acknowledged does not.
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": os.environ["PROJ_DEAD"]}
    app.conf.task_queues = [Queue(app.conf.task_default_queue, queue_arguments=arguments)]


def queue_of(options):
    """A queue, or a broadcast, as JSON tells of it."""
    broadcast, exchange = options.pop("broadcast", None), options.pop("exchange", None)
    if broadcast:
        return Broadcast(broadcast, **options)
    bindings = [binding(Exchange(name, kind), key) for name, kind, key in options.pop("bindings", ())]
    return Queue(exchange=Exchange(*exchange) if exchange else None, bindings=bindings, **options)


if os.environ.get("PROJ_QUEUES"):
    app.conf.task_queues = [queue_of(options) for options in json.loads(os.environ["PROJ_QUEUES"])]


@app.task(name="proj.add")
def add(x, y=1):
    return x + y


@app.task(name="proj.quiet", send_events=False)
def quiet():
    """Of which no event tells."""


@app.task(name="proj.native_add")
def native_add(x, y=1):
    """Taken over by a Rust handler where there is one."""
    return x + y


def hold(request, path, gate):
    with open(path, "a") as log:
        log.write(f"{request.id}\n")
    while not os.path.exists(gate):
        time.sleep(0.005)
    return request.retries


@app.task(name="proj.hold", bind=True)
def hold_here(self, path, gate):
    """Writes its id when it begins, and ends when there is a file `gate`."""
    return hold(self.request, path, gate)


@app.task(name="proj.hold_and_reject", bind=True)
def hold_and_reject(self, path, gate):
    hold(self.request, path, gate)
    raise Reject("no", requeue=False)


@app.task(name="proj.native_hold", bind=True)
def native_hold(self, path, gate):
    """Taken over by a Rust handler where there is one."""
    return hold(self.request, path, gate)


@app.task(name="proj.native_hold_and_retry", bind=True)
def native_hold_and_retry(self, path, gate):
    """Taken over by a Rust handler where there is one."""
    if hold(self.request, path, gate) == 0:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(name="proj.native_send")
def native_send(signature):
    """Taken over by a Rust handler where there is one."""
    return app.signature(signature).apply_async().id


@app.task(name="proj.native_fail")
def native_fail(text):
    """Taken over by a Rust handler where there is one."""
    raise ValueError(text)


@app.task(name="proj.when", bind=True)
def when(self):
    """When it began, and when it was to begin at the earliest."""
    return [time.time(), self.request.eta]


@app.task(name="proj.native_when", bind=True)
def native_when(self):
    """Taken over by a Rust handler where there is one."""
    return [time.time(), self.request.eta]


@app.task(name="proj.retry_in", bind=True)
def retry_in(self, seconds):
    """Like `when`, the second time."""
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    return [time.time(), self.request.eta]


@app.task(name="proj.native_retry_in", bind=True)
def native_retry_in(self, seconds):
    """Taken over by a Rust handler where there is one."""
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    return [time.time(), self.request.eta]


@app.task(name="proj.note_id")
def note_id(task_id):
    """An errback of the old style: given the id of the task that failed."""
    return task_id


@app.task(name="proj.note_error")
def note_error(request, exc, traceback, path):
    """An errback of the new style: called where the task failed."""
    with open(path, "a") as log:
        log.write(f"{request.id} {exc!r}\n")


loaded = uuid.uuid4().hex


@app.task(name="proj.loaded")
def when_loaded():
    """Another one each time that this module is loaded."""
    return loaded


@app.task(name="proj.leave_behind")
def leave_behind():
    """A process whose parent is gone: its number."""
    return int(subprocess.check_output(["sh", "-c", "cat >/dev/null 2>&1 </dev/null & echo $!"]))


@app.task(name="proj.pid")
def pid():
    return os.getpid()


@app.task(name="proj.fail")
def fail(text):
    raise ValueError(text, {"n": 1})


@app.task(name="proj.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="proj.mark", acks_late=True)
def mark(path, seconds=0.0):
    """Writes one line when it begins: how often a task ran can be counted."""
    with open(path, "a") as log:
        log.write(f"{mark.request.id}\n")
    time.sleep(seconds)
    return mark.request.id


@app.task(name="proj.mark_early")
def mark_early(path, seconds=0.0):
    with open(path, "a") as log:
        log.write(f"{mark_early.request.id}\n")
    time.sleep(seconds)
    return mark_early.request.id


@app.task(name="proj.retry", bind=True, max_retries=2)
def retry(self, value):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05, exc=KeyError(value))
    return self.request.retries


@app.task(name="proj.ignore")
def ignore():
    raise Ignore()


@app.task(name="proj.reject", acks_late=True)
def reject():
    raise Reject("no", requeue=False)


@app.task(name="proj.total")
def total(numbers):
    return sum(numbers)


@app.task(name="proj.die")
def die(code):
    """With an exit code, or by a signal: the negative number of it."""
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


@app.task(name="proj.leave_by", acks_late=True)
def leave_by(how):
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[how]("left")


@app.task(name="proj.state", bind=True)
def state(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return "done"


met = collections.defaultdict(set)


@app.task(name="proj.meet", bind=True)
def meet(self, place, many):
    """Nobody leaves before so many are there: they all run at once, or none ever ends."""
    met[place].add(self.request.id)
    while len(met[place]) < many:
        time.sleep(0.005)
    return os.getpid()


@app.task(name="proj.hold_tidily", bind=True)
def hold_tidily(self, path, gate):
    try:
        return hold(self.request, path, gate)
    finally:
        with open(path, "a") as log:
            log.write("tidied up\n")


@app.task(name="proj.leave")
def leave(code):
    raise SystemExit(code)


@app.task(name="proj.grow_later")
def grow_later(mib):
    """A thread of the child's own takes so much memory once the task has ended."""
    process = os.getpid()

    def grow():
        time.sleep(0.2)
        kept.append(bytearray(b"x" * (mib << 20)))

    threading.Thread(target=grow, daemon=True).start()
    return process


kept = []

if os.environ.get("PROJ_SLOW_CHILD"):

    @signals.worker_process_init.connect
    def be_slow(**kwargs):
        """The first child that comes along takes long to come up."""
        try:
            os.close(os.open(os.environ["PROJ_SLOW_CHILD"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        time.sleep(60)

if os.environ.get("PROJ_HOOKS"):
    import green_hooks  # noqa: F401
