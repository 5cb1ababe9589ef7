"""`--detach`, `celery multi`, `--uid` and `--gid`, `--purge`: the worker as a service of its own."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE, TESTS, Worker, eventually

OURS = os.environ["CELERY_RS_BIN"]


def run(site, *command, env=None):
    """A command from the project's directory, and what it said."""
    return subprocess.run(
        command, cwd=TESTS / "apps", env={**site.env, **(env or {})}, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )


def ids(pid, name):
    """Real, effective, saved and file-system `Uid` or `Gid` of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(word) for line in status if line.startswith(f"{name}:") for word in line.split()[1:]]


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Daemon:
    """A worker that is nobody's child, known by its files."""

    def __init__(self, directory, name):
        self.pidfile, self.log = directory / f"{name}.pid", directory / f"{name}.log"

    def pid(self):
        text = self.pidfile.read_text() if self.pidfile.exists() else ""
        return int(text) if text.endswith("\n") else 0

    def ready(self, times=1):
        """Its process id, once it has been ready that often."""
        said = lambda: self.log.exists() and self.log.read_text().count(" ready.") >= times
        eventually(said, f"{self.log} says that it is not ready")
        return self.pid()


@pytest.fixture
def daemons(tmp_path):
    found = {name: Daemon(tmp_path, name) for name in ("w1", "w2")}
    yield found
    for daemon in found.values():
        if (pid := daemon.pid()) and is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", ["executable", "plugin"])
def test_celery_multi(redis_site, tmp_path, daemons, way):
    """start, restart, stopwait and kill of the real one: each node by its pidfile."""
    site = redis_site
    ours = {
        "executable": [f"--executable={OURS}"],
        "plugin": ["--cmd=-m celery rs-worker --detach"],
    }[way]
    env = wheel(site, tmp_path)

    def multi(verb, *nodes):
        options = ["-A", site.app_name, "-l", "INFO", "-c", "1", f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n%I.log"]
        said = run(site, sys.executable, "-m", "celery", "multi", verb, *nodes, *ours, *options, env=env)
        assert said.returncode == 0, said.stdout
        return said.stdout

    assert multi("start", "w1", "w2").count("OK") == 2
    before = {name: daemon.ready() for name, daemon in daemons.items()}
    for pid in before.values():
        program = os.readlink(f"/proc/{pid}/exe")
        assert os.path.samefile(program, OURS)
        # Nobody's terminal, nobody's descriptors.
        assert os.getsid(pid) == pid
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5

    multi("restart", "w1")
    again = daemons["w1"].ready(times=2)
    assert again != before["w1"] and not is_alive(before["w1"])
    multi("stopwait", "w1")
    assert not is_alive(again) and daemons["w1"].pid() == 0
    multi("kill", "w2")
    eventually(lambda: not is_alive(before["w2"]), "it was not killed")


def wheel(site, directory):
    """An environment as if the wheel were installed: package, entry point, and a program on the path."""
    info, scripts = directory / "celery_rs-0.dist-info", directory / "bin"
    info.mkdir()
    scripts.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celery-rs\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[celery.commands]\nrs-worker = celery_rs.command:worker\n")
    (scripts / "celery-rs").symlink_to(OURS)
    paths = {"PYTHONPATH": [directory, TESTS.parent / "python"], "PATH": [scripts, os.environ["PATH"]]}
    return {**site.env, **{name: os.pathsep.join(map(str, found)) for name, found in paths.items()}}


@pytest.mark.parametrize("way", ["command", "host", "host by name"])
def test_where_celerys_own_worker_was_started(redis_site, tmp_path, way):
    """`celery -A proj rs-worker`, and hosts of `app.worker_main([...])`."""
    site, options = redis_site, ["-l", "INFO", "-c", "1", "-n", "w1@test"]
    command = [sys.executable, "-m", "celery", "-A", site.app_name, "rs-worker", *options]
    if way != "command":
        script = tmp_path / "host.py"
        app = repr(site.app_name) if way == "host by name" else "app"
        script.write_text(
            f"from {site.app_name} import app\nfrom celery_rs.program import worker_main\n"
            f"worker_main({app}, {['worker', *options]})\n"
        )
        command = [sys.executable, str(script)]
    env = wheel(site, tmp_path)
    env["PYTHONPATH"] += f"{os.pathsep}{TESTS / 'apps'}"
    worker = Worker(command, env, tmp_path / "worker.log", TESTS / "apps")
    site.workers.append(worker)
    worker.wait_ready()
    assert os.path.samefile(f"/proc/{worker.process.pid}/exe", OURS)
    assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
    assert worker.terminate() == 0


def test_what_keeps_a_daemon_from_starting_is_told(redis_site, tmp_path, daemons):
    site, daemon = redis_site, daemons["w1"]
    command = [OURS, "-A", site.app_name, "worker", "-D", "-c", "1", "-l", "INFO", "-n", "w1@test", f"--logfile={tmp_path}/%n.log"]
    command += [f"--pidfile={tmp_path}/%n.pid"]
    for change, code, words in [
        (["-A", "no_such_module"], 2, "The module no_such_module was not found."),
        (["--uid", "no-such-user"], 1, "User does not exist: no-such-user"),
        (["--gid", "no-such-group"], 1, "Group does not exist: no-such-group"),
        ([f"--logfile={tmp_path}/nowhere/w1.log"], 1, "nowhere/w1.log cannot be opened"),
    ]:
        at = 1 if change[0] == "-A" else len(command)
        said = run(site, *command[:at], *change, *command[at + (2 if at == 1 else 0) :])
        assert (said.returncode, words in said.stdout) == (code, True), said.stdout
    assert not daemon.pidfile.exists()

    # From the settings, like everything that a daemon may be told.
    settings = {"worker_logfile": f"{tmp_path}/%n.log", "worker_pidfile": f"{tmp_path}/%n.pid", "worker_umask": "077"}
    said = run(site, *command[:-2], env={"PROJ_CONF": json.dumps(settings)})
    assert (said.returncode, said.stdout) == (0, "")
    pid = daemon.ready()
    assert daemon.log.stat().st_mode & 0o777 == 0o600
    said = run(site, *command)
    assert said.returncode == 73
    assert f"Seems we're already running? (pid: {pid})" in said.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("kind", ["python", "native"])
def test_another_user(redis_site, kind):
    """The whole family is that user and group; so is one that starts again by itself (HUP)."""
    site, other = redis_site, 65534
    # What Python imports belongs to root in many checkouts, so that only the group changes there.
    if kind == "native":
        env = {"CELERY_BROKER_URL": site.broker}
        worker = site.worker("--uid", str(other), "-Q", site.queue, kind="native", app=False, env=env)
        assert ids(worker.process.pid, "Uid") == [other] * 4
    else:
        worker = site.worker("--gid", str(other), "-c", "1")
        child = site.proj.pid.delay().get(timeout=PATIENCE)
        assert ids(child, "Gid") == [other] * 4
        worker.process.send_signal(signal.SIGHUP)
        eventually(lambda: worker.text().count(" ready.") == 2, "it did not start again")
        assert site.proj.pid.delay().get(timeout=PATIENCE) != child
    assert ids(worker.process.pid, "Gid") == [other] * 4


def test_purge(broker_site):
    """Before the worker consumes; what comes later is run."""
    site = broker_site
    lost = [site.proj.add.apply_async((1, 1), ignore_result=True) for _ in range(3)]
    worker = site.worker("-c", "1", "--purge")
    text = worker.text()
    assert "purge: Erased 3 messages from the queue.\n\n" in text
    assert text.index("purge: Erased") < text.index("[config]")
    assert site.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
    assert not any(f"[{result.id}]" in worker.text() for result in lost)
    # Nothing to tell of where there is nothing.
    assert "purge" not in site.worker("-c", "1", "--discard").text()
