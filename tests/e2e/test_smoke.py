"""What has to work wherever the worker is installed: `tests/wheel/run` has it run for the wheel in each Python, and for the
program that cargo has built.

`CELERY_RS_WHEEL` says that it is the wheel's program, installed in the environment of the Python that runs this.
"""

import os
import pathlib
import signal
import subprocess
import sys

import psutil
import pytest
from conftest import PATIENCE, TESTS, Worker, eventually

OURS = os.environ["CELERY_RS_BIN"]
#: Elsewhere there is no package `celery_rs` to import.
of_the_wheel = pytest.mark.skipif("CELERY_RS_WHEEL" not in os.environ, reason="not installed as a wheel")


def run(site, *command):
    return subprocess.run(
        [*map(str, command)], cwd=TESTS / "apps", env=site.env, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )


def test_tasks_of_every_kind(site):
    worker = site.worker("-c", "2")
    proj = site.proj
    assert proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
    assert proj.add.apply_async((2, 3), serializer="pickle").get(timeout=PATIENCE) == 5
    with pytest.raises(ValueError):
        proj.fail.delay("no").get(timeout=PATIENCE)
    assert proj.retry.delay(1).get(timeout=PATIENCE) == 2
    assert (proj.add.s(1, 2) | proj.add.s(3)).delay().get(timeout=PATIENCE) == 6
    name = worker.command[worker.command.index("-n") + 1]
    assert proj.app.control.ping(destination=[name], timeout=PATIENCE, limit=1) == [{name: {"ok": "pong"}}]
    assert worker.terminate() == 0


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools(redis_site, pool):
    worker = redis_site.worker("-P", pool, "-c", "2")
    assert redis_site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
    assert worker.terminate() == 0


def test_limits_and_lost_children(redis_site):
    """Children are killed, replaced, and recycled."""
    worker = redis_site.worker("-c", "1", "--time-limit", "5", "--max-tasks-per-child", "2")
    proj = redis_site.proj
    with pytest.raises(Exception, match="TimeLimitExceeded"):
        proj.sleep.delay(60).get(timeout=PATIENCE)
    with pytest.raises(Exception, match="exitcode 7"):
        proj.die.apply_async((7,), time_limit=60).get(timeout=PATIENCE)
    assert len({proj.pid.apply_async(time_limit=60).get(timeout=PATIENCE) for _ in range(5)}) > 1
    assert worker.terminate() == 0


def test_app_and_interpreter_are_the_environments(redis_site):
    """The wheel's worker has no Python in its own process: its children are the interpreter that it is installed for."""
    worker = redis_site.worker("-c", "1")
    child = redis_site.proj.pid.delay().get(timeout=PATIENCE)
    wheel = "CELERY_RS_WHEEL" in os.environ
    program, running = (os.path.realpath(f"/proc/{pid}/exe") for pid in (worker.process.pid, child))
    assert program == os.path.realpath(OURS)
    assert running == (os.path.realpath(sys.executable) if wheel else program)
    maps = pathlib.Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert not wheel or ("libpython" not in maps and "_bridge" not in maps)
    assert psutil.Process(psutil.Process(child).ppid()).ppid() == worker.process.pid
    report = run(redis_site, OURS, "-A", redis_site.app_name, "report")
    assert report.returncode == 0 and "py:{}.{}.{}".format(*sys.version_info) in report.stdout


def test_signals(redis_site):
    """HUP starts the same process again; TERM is warm; children leave with their parent."""
    site = redis_site
    worker = site.worker("-c", "1")
    child = site.proj.pid.delay().get(timeout=PATIENCE)
    worker.process.send_signal(signal.SIGHUP)
    eventually(lambda: worker.text().count(" ready.") == 2, "it did not start again")
    again = site.proj.pid.delay().get(timeout=PATIENCE)
    assert again != child and not psutil.pid_exists(child)
    worker.process.send_signal(signal.SIGUSR1)
    eventually(lambda: "ForkPoolWorker" in worker.text() and 'File "' in worker.text(), "no stacks")
    worker.process.kill()
    eventually(lambda: not psutil.pid_exists(again), "the child stays")


def test_daemons(redis_site, tmp_path):
    """`--detach`, and `celery multi` with `--executable`."""
    site, pidfile = redis_site, tmp_path / "w1.pid"
    options = ["-A", site.app_name, "-l", "INFO", "-c", "1", f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log"]
    multi = [sys.executable, "-m", "celery", "multi"]
    try:
        done = run(site, OURS, *options[:2], "worker", "-D", "-n", "w1@test", *options[2:])
        assert (done.returncode, done.stdout) == (0, "")
        assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
        done = run(site, *multi, "restart", "w1", f"--executable={OURS}", *options)
        assert done.returncode == 0, done.stdout
        assert site.proj.add.delay(3, 3).get(timeout=PATIENCE) == 6
        assert os.path.samefile(f"/proc/{int(pidfile.read_text())}/exe", OURS)
        assert run(site, *multi, "stopwait", "w1", *options[5:]).returncode == 0
        assert not pidfile.exists()
    finally:
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_beat_and_doctor(redis_site):
    doctor = run(redis_site, OURS, "-A", redis_site.app_name, "doctor", "-B")
    assert doctor.returncode == 0 and "A worker would start." in doctor.stdout
    assert run(redis_site, OURS, "-A", "nowhere", "worker").returncode == 2


@of_the_wheel
@pytest.mark.parametrize("way", ["command", "host", "module"])
def test_where_celerys_own_worker_was_started(redis_site, tmp_path, way):
    site, options = redis_site, ["-l", "INFO", "-c", "1", "-n", "w1@test"]
    script = tmp_path / "started.py"
    script.write_text(f"from celery_rs.program import worker_main\nworker_main({site.app_name!r}, {['worker', *options]})\n")
    command = {
        "command": [sys.executable, "-m", "celery", "-A", site.app_name, "rs-worker", *options],
        "host": [sys.executable, str(script)],
        "module": [sys.executable, "-m", "celery_rs", "-A", site.app_name, "worker", *options],
    }[way]
    worker = Worker(command, site.env, tmp_path / "worker.log", TESTS / "apps")
    site.workers.append(worker)
    worker.wait_ready()
    assert os.path.samefile(f"/proc/{worker.process.pid}/exe", OURS)
    assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
    assert worker.terminate() == 0


#: Celery's worker, in a thread of pytest: nothing of ours is in it.
TESTS_OF_AN_APP = """
import pytest
from celery.contrib.testing import tasks

@pytest.fixture(scope='session')
def celery_config():
    return {'broker_url': 'memory://', 'result_backend': 'cache+memory://'}

@pytest.fixture(scope='session')
def celery_worker_parameters():
    return {'ping_task_timeout': 60, 'shutdown_timeout': 60}

def test_double(celery_app, celery_worker):
    @celery_app.task
    def double(x):
        return 2 * x
    celery_worker.reload()
    assert double.delay(4).get(timeout=60) == 8
"""


def test_an_apps_own_tests_go_on(redis_site, tmp_path):
    (tmp_path / "test_shop.py").write_text(TESTS_OF_AN_APP)
    tested = run(redis_site, sys.executable, "-m", "pytest", "-q", "-p", "celery.contrib.pytest", "--rootdir", tmp_path, tmp_path)
    assert tested.returncode == 0 and "1 passed" in tested.stdout, tested.stdout


@of_the_wheel
def test_nothing_links_libpython():
    import celery_rs._bridge

    for file in (OURS, celery_rs._bridge.__file__):
        needed = subprocess.run(["readelf", "-d", file], text=True, stdout=subprocess.PIPE, check=True).stdout
        assert "NEEDED" in needed and "libpython" not in needed
