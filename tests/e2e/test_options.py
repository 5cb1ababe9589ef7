"""What a command line may say besides the worker's own options: an app's options, settings of old, where the app is."""

import json
import os
import subprocess
import sys

import pytest
from conftest import PATIENCE, Worker

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
