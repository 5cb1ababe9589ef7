"""The manual's chapter on deployment, word by word: its unit, its Deployment and its log files start workers that do what is said there.

What is replaced is what the chapter says is to be replaced, and the directories and ports of this machine. That every command line of
the manual is one that the program takes is `src/cli/tests.rs`'s to show.
"""

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml
from brokers import free_port
from conftest import PATIENCE, TESTS, Worker, eventually
from test_signals import service_manager

OURS = os.environ["CELERY_RS_BIN"]
CHAPTER = (TESTS.parent / "src/manual/deployment.md").read_text()
SOFT = ".soft_shutdown_timeout="


def blocks(language):
    """What stands in the chapter's fences of one language, their indentation taken off."""
    fences = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", CHAPTER, re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in fences]


class Unit:
    """A unit file."""

    def __init__(self, text):
        parser = configparser.RawConfigParser()
        parser.optionxform = str
        parser.read_string(text)
        self.text, self.service = text, dict(parser["Service"])

    def command(self):
        """As systemd would split and expand it."""
        return [word.replace("%%", "%") for word in shlex.split(self.service["ExecStart"])]


def unit():
    return next(found for found in map(Unit, blocks("ini")) if found.service["Type"] == "notify")


def deployment():
    (found,) = map(yaml.safe_load, blocks("yaml"))
    return found


def start(site, command, directory, env=None):
    """A worker by a command line of the chapter."""
    assert command[0].rpartition("/")[2] == "celery-rs" and command[1:4] == ["-A", "proj", "worker"], command
    here = [OURS, "-A", site.app_name, "worker"]
    for word in command[4:]:
        word = re.sub(r"(^|=)/var/(lib|log)/celery/", rf"\1{directory}/", word)
        word = site.queue if here[-1] == "-Q" else word
        here.append(word)
    worker = Worker(here, {**site.env, **(env or {})}, directory / "said.log", TESTS / "apps")
    site.workers.append(worker)
    return worker


def asked(url):
    """The status of a page; none where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_the_unit(redis_site, tmp_path):
    """Ready, alive, reloaded by its own command, and stopped by its own signal, which goes to the worker alone."""
    found = unit()
    service = found.service
    assert service["KillMode"] == "mixed"
    with service_manager(tmp_path / "notify") as message:
        def next_but_alive():
            while (said := message()) == ["WATCHDOG=1"]:
                pass
            return said[0]

        watched = str(int(service["WatchdogSec"]) * 1_000_000)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": watched}
        worker = start(redis_site, found.command(), tmp_path, env)
        assert (message(), message()) == (["READY=1"], ["WATCHDOG=1"])
        reload = service["ExecReload"].replace("$MAINPID", str(worker.process.pid))
        subprocess.run(shlex.split(reload), check=True, timeout=PATIENCE)
        assert (next_but_alive(), next_but_alive()) == ("RELOADING=1", "READY=1")
        gate, log = tmp_path / "gate", tmp_path / "runs"
        log.touch()
        result = redis_site.proj.hold_here.delay(str(log), str(gate))
        eventually(log.read_text, "it did not begin")
        worker.process.send_signal(signal.Signals[service["KillSignal"]])
        assert next_but_alive() == "STOPPING=1"
        gate.touch()
        assert result.get(timeout=PATIENCE) == 0
        assert worker.process.wait(PATIENCE) == 0
    assert list(tmp_path.glob("w1.state*")), "the state database is not where the unit says"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_systemd_takes_the_units(tmp_path):
    """With programs that are there: systemd looks for them, and for nothing else of the unit."""
    for number, found in enumerate(map(Unit, blocks("ini"))):
        path = tmp_path / f"recipe{number}.service"
        path.write_text(found.text.replace("/opt/venv/bin/celery-rs", OURS))
        command = ["systemd-analyze", "verify", "--man=no", str(path)]
        said = subprocess.run(command, text=True, timeout=PATIENCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert path.name not in said.stdout, said.stdout


def test_the_deployment(redis_site, tmp_path):
    """Each probe's page is served where it says and says yes; `TERM` is the soft shutdown, which ends with the last task, in time."""
    pod = deployment()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command, env = [*container["command"], *container["args"]], {row["name"]: row["value"] for row in container["env"]}
    port = {row["name"]: row["containerPort"] for row in container["ports"]}["health"]
    soft = next(word for word in command if word.startswith(SOFT)).removeprefix(SOFT)
    assert int(soft) < pod["terminationGracePeriodSeconds"], "it is killed before the soft shutdown ends"
    # The port of this machine.
    here = free_port()
    assert f"0.0.0.0:{port}" in command
    command = [word.replace(f"0.0.0.0:{port}", f"127.0.0.1:{here}") for word in command]
    worker = start(redis_site, command, tmp_path, env)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        page = container[probe]["httpGet"]
        assert page["port"] == "health"
        eventually(lambda: asked(f"http://127.0.0.1:{here}{page['path']}") == 200, f"{probe}: {worker.text()}")  # noqa: B023
    annotations = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)
    assert asked(f"http://127.0.0.1:{here}{annotations['prometheus.io/path']}") == 200

    gate, log = tmp_path / "gate", tmp_path / "runs"
    log.touch()
    result = redis_site.proj.hold_here.delay(str(log), str(gate))
    eventually(log.read_text, "it did not begin")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: f"Initiating Soft Shutdown, terminating in {float(soft)} seconds" in worker.text(), "it is not soft")
    ready, live = (container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe"))
    assert (asked(f"http://127.0.0.1:{here}{ready}"), asked(f"http://127.0.0.1:{here}{live}")) == (503, 200)
    gate.touch()
    assert result.get(timeout=PATIENCE) == 0
    assert worker.process.wait(PATIENCE) == 0


def test_the_container(redis_site, tmp_path):
    """Its command is a list, serves the page that its health check asks for, and the check tells a worker that is gone."""
    (image, check) = blocks("dockerfile")
    command = yaml.safe_load(re.search(r"^CMD (.*)$", image, re.M).group(1))
    check = yaml.safe_load(re.search(r"CMD (\[.*\])$", check, re.M).group(1))
    port = command[command.index("--health-addr") + 1]
    here = str(free_port())
    worker = start(redis_site, [word.replace(port, here) for word in command], tmp_path)
    check = [word.replace(port, here) for word in check]
    healthy = lambda: subprocess.run(check, stderr=subprocess.DEVNULL, timeout=PATIENCE).returncode == 0  # noqa: E731
    eventually(healthy, worker.text())
    assert worker.terminate() == 0
    assert not healthy()


def test_the_log_files(redis_site, tmp_path):
    """A file for each process; what was moved away is followed, without a signal."""
    (line,) = (line for text in blocks("sh") for line in text.splitlines() if " -f " in line)
    worker = start(redis_site, [*shlex.split(line), "-c", "1"], tmp_path)
    main, child = tmp_path / "w1.log", tmp_path / "w1-1.log"
    add = lambda: redis_site.proj.add.delay(2, 3)  # noqa: E731
    first = add()
    assert first.get(timeout=PATIENCE) == 5
    said = lambda path, result, word: eventually(  # noqa: E731
        lambda: path.exists() and f"[{result.id}] {word}" in path.read_text(), f"{path} does not say {word}"
    )
    for path, word in ((main, "received"), (child, "succeeded")):
        said(path, first, word)
        path.rename(path.with_suffix(".log.1"))
    second = add()
    assert second.get(timeout=PATIENCE) == 5
    for path, word in ((main, "received"), (child, "succeeded")):
        said(path, second, word)
        assert second.id not in path.with_suffix(".log.1").read_text()
    assert worker.terminate() == 0
