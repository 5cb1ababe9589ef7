"""What a command line may say besides the worker's own options: an app's options, settings of old, where the app is."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import redis as redis_py
from conftest import PATIENCE, Worker, eventually

OURS, CELERYS = [os.environ["CELERY_RS_BIN"]], [sys.executable, "-m", "celery"]

#: An app with options of its own, which tells what becomes of them where Celery hands them on.
APP = """
import json, os
from celery import Celery, bootsteps, signals
from click import Option

app = Celery('shop', broker=os.environ['PROJ_BROKER'], backend=os.environ['PROJ_BACKEND'])
app.conf.task_default_queue = os.environ['PROJ_QUEUE']
app.conf.worker_redirect_stdouts = False
app.user_options['worker'].add(Option(('--shelf',), default='ground', help='Where parcels are.'))
app.user_options['worker'].add(Option(('--fragile',), is_flag=True))
app.user_options['preload'].add(Option(('-Z', '--zone'), default='home'))

def tell(what, **said):
    with open(os.environ['SHOP_LOG'], 'a') as log:
        log.write(json.dumps([what, said], sort_keys=True) + '\\n')

@signals.user_preload_options.connect
def on_preload(options, app, **kwargs):
    tell('preload', app=app.main, **options)

@signals.celeryd_init.connect
def on_init(options, **kwargs):
    tell('init', **{name: options[name] for name in ('shelf', 'fragile')})

class Shelf(bootsteps.Step):
    def __init__(self, parent, shelf=None, fragile=None, zone=None, **options):
        tell('step', shelf=shelf, fragile=fragile, zone=zone)

app.steps['worker'].add(Shelf)

@app.task(name='shop.shelf')
def where():
    return app.conf.shelves
"""

#: One setting in each layer that hides the ones below it, and names that a namespace leaves out.
LAYERED = """
SHOP_BROKER_URL = SHOP_RESULT_BACKEND = 'redis://nowhere.invalid'
SHOP_RESULT_EXPIRES = 60
SHOP_WORKER_PREFETCH_MULTIPLIER = 6
SHOP_TASK_TRACK_STARTED = True
TASK_ACKS_LATE = True
"""
LAYERS = """
import os
from celery import Celery
app = Celery('layers')
app.add_defaults({'result_expires': 70, 'worker_prefetch_multiplier': 7, 'worker_max_tasks_per_child': 17})
app.config_from_object('layered', namespace='SHOP')
app.conf.update(result_expires=50, task_default_queue=os.environ['PROJ_QUEUE'], imports=['shop_tasks'])
"""

#: A broker by its parts.
PARTS = """
import os
from celery import Celery
from kombu.utils.url import parse_url
broker = parse_url(os.environ['PROJ_BROKER'])
app = Celery('parts', backend=os.environ['PROJ_BACKEND'])
app.conf.update(
    task_default_queue=os.environ['PROJ_QUEUE'], imports=['shop_tasks'],
    broker_transport=broker['transport'], broker_host=broker['hostname'], broker_port=broker['port'],
    broker_user=broker['userid'], broker_password=broker['password'], broker_vhost=broker['virtual_host'],
)
"""

#: Queues in both forms that Celery knows, with every kind of exchange that both brokers have.
QUEUES = """
import os
from celery import Celery
from kombu import Exchange, Queue, binding
app = Celery('queues', broker=os.environ['PROJ_BROKER'], backend=os.environ['PROJ_BACKEND'])
name = os.environ['PROJ_QUEUE']
topic, direct, fanout = (Exchange(f'{name}-{kind}', kind) for kind in ('topic', 'direct', 'fanout'))
app.conf.update(imports=['shop_tasks'], task_default_queue=f'{name}-plain')
if os.environ['SHOP_QUEUES'] == 'list':
    heads = Exchange(f'{name}-headers', 'headers')
    only_rabbitmq = [
        Queue(f'{name}-fragile', heads, binding_arguments={'x-match': 'all', 'fragile': 'yes'}),
        Queue(f'{name}-heavy', bindings=[binding(heads, arguments={'x-match': 'all', 'heavy': 'yes'})]),
    ]
    app.conf.task_queues = (only_rabbitmq if os.environ['PROJ_BROKER'].startswith('amqp') else []) + [
        Queue(f'{name}-plain'),
        Queue(f'{name}-parcels', topic, routing_key='parcels.#'),
        Queue(f'{name}-letters', bindings=[binding(direct, 'small'), binding(direct, 'large')]),
        Queue(f'{name}-all', fanout),
    ]
else:
    app.conf.task_queues = {
        f'{name}-plain': {},
        f'{name}-parcels': {'exchange': topic.name, 'exchange_type': 'topic', 'binding_key': 'parcels.#'},
        f'{name}-letters': {'exchange': direct.name, 'exchange_type': 'direct', 'binding_key': 'small'},
        f'{name}-all': {'exchange': fanout.name, 'exchange_type': 'fanout', 'durable': False},
    }
"""

SETTINGS_OF_OLD = """
import os
BROKER_URL = os.environ['PROJ_BROKER']
CELERY_RESULT_BACKEND = os.environ['PROJ_BACKEND']
CELERY_DEFAULT_QUEUE = os.environ['PROJ_QUEUE']
CELERYD_CONCURRENCY = 3
CELERY_TASK_RESULT_EXPIRES = 77
CELERY_IMPORTS = ['shop_tasks']
CELERYD_PREFETCH_MULTIPLIER = 2
"""

TASKS = """
from celery import shared_task

@shared_task(name='shop.add')
def add(x, y):
    return x + y
"""


@pytest.fixture
def shop(redis_site, tmp_path):
    """The site, and a directory with the modules."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "shop_tasks.py").write_text(TASKS)
    (tmp_path / "oldconfig.py").write_text(SETTINGS_OF_OLD)
    (tmp_path / "oldapp.py").write_text("from celery import Celery\napp = Celery('old')\napp.config_from_object('oldconfig')\n")
    for name, text in {"layered": LAYERED, "layers": LAYERS, "parts": PARTS, "queues": QUEUES}.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "mixed.py").write_text(
        "from celery import Celery\napp = Celery('mixed')\n"
        "app.conf.update({'CELERY_TASK_SERIALIZER': 'json', 'CELERY_RESULT_SERIALIZER': 'json', 'task_default_queue': 'q'})\n"
    )
    (tmp_path / "pickled.py").write_text(
        "import os\nfrom celery import Celery\napp = Celery('pickled', broker=os.environ['PROJ_BROKER'])\n"
        "app.conf.accept_content = ['json', 'pickle']\n"
    )
    redis_site.directory = tmp_path
    return redis_site


def start(site, program, *command, env=None):
    number = len(site.workers)
    env = {**site.env, "SHOP_LOG": str(site.directory / f"said{number}"), **(env or {})}
    worker = Worker([*program, *command], env, site.directory / f"worker{number}.log", site.directory)
    site.workers.append(worker)
    return worker


def fails(site, program, *command, env=None):
    """Exit code and last line of a start that comes to nothing."""
    said = subprocess.run(
        [*program, *command], cwd=site.directory, env={**site.env, **(env or {})}, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )
    return said.returncode, said.stdout.strip().splitlines()


def test_options_that_an_app_adds(shop):
    told = []
    for program in (CELERYS, OURS):
        worker = start(
            shop, program, "-A", "shop", "worker", "--shelf", "7", "--zone=away", "--fragile", "-l", "INFO", "-c", "1",
            "worker.prefetch_multiplier=3",
        )
        worker.wait_ready()
        assert worker.terminate() == 0
        told.append(sorted((shop.directory / f"said{len(shop.workers) - 1}").read_text().splitlines()))
    assert told[0] == told[1]
    assert json.dumps(["step", {"fragile": True, "shelf": "7", "zone": "away"}], sort_keys=True) in told[1]
    for mistake in (["--shelve", "7"], ["--shelf"], ["--fragile=5"]):
        theirs, ours = (fails(shop, program, "-A", "shop", "worker", *mistake) for program in (CELERYS, OURS))
        assert (ours[0], ours[1][-1]) == (theirs[0], theirs[1][-1]) == (2, ours[1][-1])


def test_settings_by_their_old_names(shop):
    """All old or all new; the same settings come of them, shown by the names in use, and a mixture is the same mistake."""
    worker = start(shop, OURS, "-A", "oldapp", "worker", "-l", "INFO", "-n", "old@test")
    worker.wait_ready()
    app = shop.proj.app
    conf = app.control.inspect(destination=["old@test"], timeout=PATIENCE, limit=1).conf(with_defaults=True)["old@test"]
    assert (conf["CELERY_TASK_RESULT_EXPIRES"], conf["CELERYD_PREFETCH_MULTIPLIER"]) == (77, 2)
    assert ".> concurrency: 3 (prefork)" in worker.text()
    assert app.send_task("shop.add", (2, 3), queue=shop.queue).get(timeout=PATIENCE) == 5
    theirs, ours = (fails(shop, program, "-A", "mixed", "worker") for program in (CELERYS, OURS))
    assert ours[0] == theirs[0] != 0
    # Whether Celery shows it with a traceback or not.
    advice = "task_default_queue                   -> CELERY_DEFAULT_QUEUE"
    assert advice in ours[1] and advice in theirs[1]


def asked(site, kind, *command, env=None):
    """What a worker says of its settings, and its banner's lines on where it works."""
    program = {"celery": CELERYS, "ours": OURS}[kind]
    worker = start(site, program, *command, "-n", f"{kind}@test", "-l", "INFO", "-c", "1", env=env)
    worker.wait_ready()
    inspect = site.proj.app.control.inspect(destination=[f"{kind}@test"], timeout=2, limit=1)
    conf = eventually(lambda: inspect.conf(with_defaults=True), "no answer")[f"{kind}@test"]
    # Celery makes it of a set.
    conf["include"].sort()
    assert site.proj.app.send_task("shop.add", (2, 3), queue=site.queue).get(timeout=PATIENCE) == 5
    assert worker.terminate() == 0
    return conf, [line for line in worker.text().splitlines() if ".> transport" in line or ".> results" in line]


def test_settings_come_in_layers(shop):
    """Changes before a configuration module, that before the app's defaults, and those before Celery's; URLs of the environment
    before all."""
    env = {"CELERY_BROKER_URL": shop.broker, "CELERY_RESULT_BACKEND": shop.backend}
    options = ("-A", "layers", "worker", "--prefetch-multiplier", "5")
    theirs, ours = (asked(shop, kind, *options, env=env) for kind in ("celery", "ours"))
    assert ours == theirs
    conf = ours[0]
    assert [conf[name] for name in ("result_expires", "worker_max_tasks_per_child", "task_track_started")] == [50, 17, True]


@pytest.mark.parametrize("broker", ["redis", "rabbit"])
def test_a_broker_by_its_parts(shop, request, broker):
    if broker == "rabbit":
        shop.broker = shop.env["PROJ_BROKER"] = request.getfixturevalue("rabbit_server").url()
        shop.proj = shop.client()
    theirs, ours = (asked(shop, kind, "-A", "parts", "worker") for kind in ("celery", "ours"))
    assert ours == theirs and len(ours[1]) == 2


@pytest.mark.parametrize("form", ["list", "dict"])
@pytest.mark.parametrize("broker", ["redis", "rabbit"])
def test_queues_as_an_app_declares_them(shop, request, monkeypatch, broker, form):
    """Each queue is declared as Celery's worker declares it, and what is sent there is run."""
    client = redis_py.Redis.from_url(shop.broker, decode_responses=True)
    if broker == "rabbit":
        shop.broker = shop.env["PROJ_BROKER"] = request.getfixturevalue("rabbit_server").url()
    for name, value in {**shop.env, "SHOP_QUEUES": form}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(shop.directory)
    sys.modules.pop("queues", None)
    app = importlib.import_module("queues").app
    keys = [("plain", None), ("parcels", "parcels.big.one"), ("letters", "small"), ("all", None)]
    if form == "list":
        keys.append(("letters", "large"))
    found = []
    for program in (CELERYS, OURS):
        worker = start(shop, program, "-A", "queues", "worker", "-l", "INFO", "-c", "1", env={"SHOP_QUEUES": form})
        worker.wait_ready()
        tables = {key: client.smembers(key) for key in client.keys(f"_kombu.binding.{shop.queue}*")}
        inspect = app.control.inspect(timeout=2, limit=1)
        queues = next(iter(eventually(inspect.active_queues, "no answer").values()))
        for queue in queues:
            queue["bindings"].sort(key=lambda by: by["routing_key"])
        found.append((tables, sorted(queues, key=lambda queue: queue["name"])))
        for number, (queue, key) in enumerate(keys):
            result = app.send_task("shop.add", (number, 1), queue=f"{shop.queue}-{queue}", routing_key=key)
            assert result.get(timeout=PATIENCE) == number + 1
        for label in ("fragile", "heavy") if (broker, form) == ("rabbit", "list") else ():
            heads = app.amqp.queues[f"{shop.queue}-fragile"].exchange
            result = app.send_task("shop.add", (7, 1), exchange=heads, routing_key="", headers={label: "yes"})
            assert result.get(timeout=PATIENCE) == 8
        assert worker.terminate() == 0
        client.flushdb()
    assert found[0] == found[1]
    assert len(found[0][0]) > 3 or broker == "rabbit"


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root who may not")
def test_root_may_not_accept_pickle(shop):
    theirs, ours = (
        fails(shop, program, "-A", "pickled", "worker", env={"C_FORCE_ROOT": ""}) for program in (CELERYS, OURS)
    )
    assert ours[0] == theirs[0] == 1
    assert ours[1] == theirs[1] and "superuser privileges" in ours[1][0]


@pytest.mark.parametrize("way", ["options", "variables", "prefixed variables"])
def test_where_the_app_is(shop, way):
    """Every global option, from the command line and from both of its environment variables."""
    values = {
        "broker": shop.broker, "result-backend": shop.backend, "loader": "celery.loaders.app:AppLoader",
        "config": "oldconfig", "app": "oldapp",
    }
    names = {"broker": "BROKER_URL", "result-backend": "RESULT_BACKEND", "loader": "LOADER", "config": "CONFIG_MODULE", "app": "APP"}
    env = {"PROJ_BROKER": "redis://nowhere.invalid", "PROJ_BACKEND": "redis://nowhere.invalid"}
    options = []
    if way == "options":
        options = [f"--{name}={value}" for name, value in values.items()] + ["--no-color", "--quiet", "--skip-checks"]
        options += ["--workdir", str(shop.directory)]
    else:
        prefix = "CELERY_" if way.startswith("prefixed") else ""
        env.update({prefix + names[name]: value for name, value in values.items()})
        env.update({"CELERY_QUIET": "1", "CELERY_WORKDIR": str(shop.directory), "CELERY_WORKER_LOGLEVEL": "INFO"})
    worker = start(shop, OURS, *options, "worker", "-l", "INFO", env=env)
    worker.wait_ready()
    assert "[config]" not in worker.text()
    assert shop.proj.app.send_task("shop.add", (2, 3), queue=shop.queue).get(timeout=PATIENCE) == 5
