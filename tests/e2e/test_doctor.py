"""`celery-rs doctor` says of an app what a worker would say of it at start: all of it, and before."""

import json
import os
import subprocess
import sys

import pytest
from conftest import PATIENCE, Worker

OURS, NATIVE = os.environ["CELERY_RS_BIN"], os.environ["CELERY_RS_NATIVE_BIN"]

APP = """
import os
from celery import Celery, Task, bootsteps, signals
from celery.worker.request import Request
from celery.concurrency.solo import TaskPool

app = Celery('shop', broker=os.environ['PROJ_BROKER'], backend=os.environ['PROJ_BACKEND'] or None)
app.conf.task_default_queue = os.environ['PROJ_QUEUE']

class Pool(TaskPool):
    pass

class Provider:
    pass

@app.task(name='shop.pack')
def pack(parcel):
    return parcel

"""

STRATEGY = """
def strategy(task, app, consumer, **kwargs):
    raise NotImplementedError

@app.task(name='shop.batch', Strategy='shop:strategy')
def batch(requests):
    pass
"""

STEP = """
class Timer(bootsteps.Step):
    name = 'celery.worker.components.Timer'

app.steps['worker'].add(Timer)
"""

#: What a worker does not start with: rows of the compatibility table, source of the app, arguments, environment, and how the
#: line begins that both say.
REFUSED = {
    "a pool in the settings": ("F242", "app.conf.worker_pool = 'shop:Pool'", [], {}, "celery-rs has no pool 'shop:Pool'"),
    "a pool on the command line": (
        "F242", "", ["-P", "custom"], {"CELERY_CUSTOM_WORKER_POOL": "shop:Pool"}, "custom pools are not supported",
    ),
    "spawn": ("F241", "", ["--pool-start-method", "spawn"], {}, "--pool-start-method can only be fork"),
    "strategy": ("F167", STRATEGY, [], {}, "celery-rs cannot run the task 'shop.batch', whose Strategy shop:strategy"),
    "step": ("", STEP, [], {}, "celery-rs cannot run boot step celery.worker.components.Timer"),
    "green beat": ("", "", ["-B", "-P", "gevent"], {}, "-B option doesn't work with eventlet/gevent pools"),
    "autoscale": ("", "", ["--autoscale", "4,2", "-P", "solo"], {}, "--autoscale works with the prefork pool only"),
    "login": ("F077", "app.conf.broker_login_method = 'GSSAPI'", ["-b", "amqp://h"], {}, "login method 'GSSAPI' is not supported"),
    "stream": (
        "", "app.conf.task_queues = [__import__('kombu').Queue('log', queue_arguments={'x-queue-type': 'stream'})]",
        ["-b", "amqp://h"], {}, "queue 'log' is a stream",
    ),
    "transport": ("F080", "", ["-b", "pyro://h"], {}, "broker transport 'pyro' is not supported"),
    "credentials": (
        "F054", "app.conf.broker_transport_options = {'credential_provider': 'shop.Provider'}", ["-b", "redis://h"], {},
        "credential_provider",
    ),
    "routes": ("F232", "app.conf.task_routes = 'shop.Provider'", [], {}, "setting task_routes"),
    "results": (
        "", "", ["--result-backend", "rediss://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/no/such/file"], {},
        "/no/such/file",
    ),
}

#: What a worker says in its log, and starts: source of the app, and how the line begins.
NOT_HONOURED = {
    "F226 agent": ("app.conf.worker_agent = 'shop:Agent'", "setting worker_agent"),
    "F226 autoscaler": ("app.conf.worker_autoscaler = 'shop:Autoscaler'", "setting worker_autoscaler"),
    "F226 consumer": ("app.conf.worker_consumer = 'shop:Consumer'", "setting worker_consumer"),
    "F226 timer": ("app.conf.worker_timer = 'kombu.asynchronous.timer:Timer'", "setting worker_timer"),
    "F241 spawn": ("app.conf.worker_pool_start_method = 'spawn'", "setting worker_pool_start_method"),
    "F025 F026 serializer": (
        "from kombu.serialization import register\n"
        "register('own', repr, eval, content_type='application/x-own')\n"
        "app.conf.event_serializer = 'own'\n",
        "setting event_serializer",
    ),
    "F159 log format": ("app.conf.worker_log_format = '%(tenant)s %(message)s'", "worker_log_format has fields"),
    "F161 logging": (
        "@signals.after_setup_logger.connect(weak=False)\ndef set_up(**kwargs): pass\n",
        "receivers of after_setup_logger",
    ),
    "F167 request": (
        "class Own(Request): pass\n@app.task(name='shop.own', Request='shop:Own')\ndef own(): pass\n",
        "task shop.own: shop:Own is used by celery-rs only",
    ),
    "objects": ("app.conf.task_routes = [lambda *args, **kwargs: None]", "setting task_routes is a Python object"),
}


def told_to(command, arguments):
    """With the arguments that stand before the sub-command, which come first and in pairs."""
    at = 0
    while at < len(arguments) and arguments[at] in ("-b", "--result-backend"):
        at += 2
    return [*arguments[:at], command, *arguments[at:]]


class Shop:
    def __init__(self, site, directory):
        self.site, self.directory = site, directory

    def write(self, *sources):
        (self.directory / "shop.py").write_text(APP + "\n".join(sources))

    def run(self, *command, env=None):
        return subprocess.run(
            [*map(str, command)], cwd=self.directory, env={**self.site.env, **(env or {})}, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
        )

    def doctor(self, *arguments, env=None, program=OURS, app=("-A", "shop")):
        """Exit code and what is told."""
        done = self.run(program, *app, *told_to("doctor", arguments), "--json", env=env)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def shop(redis_site, tmp_path):
    found = Shop(redis_site, tmp_path)
    found.write()
    return found


def texts(facts):
    return {fact["subject"]: fact["text"] for fact in facts}


@pytest.mark.parametrize("trait", REFUSED)
def test_a_worker_refuses_with_the_same_line(shop, trait):
    _, source, arguments, env, line = REFUSED[trait]
    shop.write(source)
    code, told = shop.doctor(*arguments, env=env)
    assert (code, told["starts"]) == (1, False)
    first = told["refused"][0]
    assert line in first["line"] and first["way_out"]
    worker = shop.run(OURS, "-A", "shop", *told_to("worker", arguments), env=env)
    assert worker.returncode in (1, 2)
    said = worker.stdout + worker.stderr
    assert first["line"].strip() in said, said
    if trait not in ("routes", "results", "credentials", "login"):
        # Mistakes are told without advice.
        assert f"{first['line']}: {first['way_out']}" in said, said


def test_a_worker_starts_and_says_the_same_of_what_it_does_not_honour(shop):
    shop.write(*(source for source, _ in NOT_HONOURED.values()))
    code, told = shop.doctor("-P", "solo")
    assert (code, told["starts"], told["refused"]) == (0, True, [])
    lines = [refusal["line"] for refusal in told["not_honoured"]]
    assert all(refusal["way_out"] for refusal in told["not_honoured"])
    for trait, (_, beginning) in NOT_HONOURED.items():
        assert any(line.startswith(beginning) for line in lines), (trait, lines)
    assert len(lines) == len(NOT_HONOURED)
    log = shop.directory / "log"
    worker = Worker([OURS, "-A", "shop", "worker", "-P", "solo", "-l", "INFO"], shop.site.env, log, shop.directory)
    shop.site.workers.append(worker)
    worker.wait_ready()
    assert worker.terminate() == 0
    for line in lines:
        assert line in worker.text(), line


def test_all_that_is_refused_is_told_at_once(shop):
    traits = ["transport", "strategy", "step", "autoscale", "routes"]
    shop.write(*(REFUSED[trait][1] for trait in traits))
    arguments = [argument for trait in traits for argument in REFUSED[trait][2]]
    env = {name: value for trait in traits for name, value in REFUSED[trait][3].items()}
    code, told = shop.doctor(*arguments, env=env)
    assert code == 1
    assert len(told["refused"]) == len(traits)
    for trait, refusal in zip(traits, sorted(told["refused"], key=lambda refusal: place(refusal, traits))):
        assert REFUSED[trait][4] in refusal["line"]
    worker = shop.run(OURS, "-A", "shop", *told_to("worker", arguments), env=env)
    assert told["refused"][0]["line"] in worker.stdout + worker.stderr


def place(refusal, traits):
    return next(at for at, trait in enumerate(traits) if REFUSED[trait][4] in refusal["line"])


def test_a_class_that_knows_the_password(shop):
    code, told = shop.doctor("-b", "redis://h?credential_provider=shop.Provider")
    assert (code, told["refused"]) == (0, [])
    assert texts(told["through_python"])["credentials"] == "of the broker: shop.Provider"


def test_what_runs_where(shop):
    shop.write(
        "app.steps['worker'].add(type('Shelf', (bootsteps.Step,), {}))",
        "@signals.worker_ready.connect(weak=False)\ndef ready(**kwargs): pass\n",
        "app.conf.beat_schedule = {'a': {'task': 'shop.pack', 'schedule': 60, 'args': ('p',)}}",
    )
    code, told = shop.doctor("-B", "-c", "3", "-Q", "other")
    assert code == 0
    assert told["celery"] and told["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    native, python = texts(told["in_rust"]), texts(told["through_python"])
    assert native["broker"].startswith("redis://") and native["results"].startswith("redis://")
    assert native["beat"] == "the schedule of the app"
    assert "tasks" not in native
    assert python["tasks"].startswith("in 3 forked children: shop.pack, ")
    assert python["boot steps"].endswith("Shelf") and python["signals"] == "worker_ready"

    shop.write(
        "from datetime import timedelta\nfrom celery.schedules import schedule\n"
        "class Own(schedule): pass\n"
        "app.conf.beat_schedule = {'a': {'task': 'shop.pack', 'schedule': Own(timedelta(seconds=5))}}"
    )
    code, told = shop.doctor("--result-backend", f"file://{shop.directory}", "-B")
    python = texts(told["through_python"])
    assert code == 0
    assert "stored by the Python side" in python["results"]
    assert python["beat"].startswith("Celery's own, in a process beside the worker, since beat_schedule entry 'a'")
    assert "beat" not in texts(told["in_rust"])


def test_programs_with_tasks_of_their_own(shop):
    code, told = shop.doctor("-b", shop.site.broker, program=NATIVE, app=())
    assert code == 0 and told["celery"] is None
    assert texts(told["in_rust"])["tasks"] and told["through_python"] == []
    code, told = shop.doctor(program=NATIVE, app=("-A", "e2e_app"), env={"PYTHONPATH": os.path.dirname(shop.site.proj.__file__)})
    assert code == 0
    assert set(texts(told["in_rust"])["tasks"].split(", ")).isdisjoint(texts(told["through_python"])["tasks"].split(", "))


def test_people_read_it_too(shop):
    shop.write(STRATEGY, "app.conf.worker_timer = 'x:Timer'")
    done = shop.run(OURS, "-A", "shop", "doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("shop, Celery ") and lines[-1] == "A worker would not start."
    assert [line for line in lines if line and not line.startswith(" ")][1:-1] == [
        "In Rust", "Through Python", "Not honoured", "Refused",
    ]
    assert sum(line.startswith("    -> ") for line in lines) == 2


def test_passwords_are_not_told(shop):
    done = shop.run(OURS, "-A", "shop", "-b", "redis://:secret@h", "--result-backend", "redis://:secret@h", "doctor")
    assert done.returncode == 0 and "redis://:**@h" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_nothing_is_written_and_no_daemon_started(shop):
    shop.run(OURS, "-A", "shop", "doctor")
    before = sorted(os.listdir(shop.directory))
    files = ["-f", "shop.log", "--pidfile", "shop.pid", "-S", "shop.state", "-s", "shop.schedule"]
    for backend in (shop.site.backend, "db+sqlite:///results.sqlite"):
        code, told = shop.doctor("--result-backend", backend, "-D", "-B", *files, env={"CELERY_WORKER_DETACH": "1"})
        assert (code, told["refused"]) == (0, [])
    assert sorted(os.listdir(shop.directory)) == before


@pytest.mark.parametrize("command", [["-A", "nowhere", "doctor"], ["-A", "shop", "doctor", "-c", "x"], ["doctor", "--nonsense"]])
def test_what_cannot_be_used_is_no_finding(shop, command):
    done = shop.run(OURS, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
