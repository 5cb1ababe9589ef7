"""Worker processes with their logs, and waiting for facts."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import time

PATIENCE = float(os.environ.get("CELERY_RS_TEST_PATIENCE", "60"))


def eventually(fact, message: str = "it never happened", patience: float = PATIENCE):
    """Waits for a fact: the first truthy value of `fact()`."""
    deadline = time.monotonic() + patience
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(message)
        time.sleep(0.02)
    return found


def runs(path: pathlib.Path) -> collections.Counter[str]:
    """How often each word stands in a file that tasks write to; there may be none yet."""
    return collections.Counter(path.read_text().split()) if path.exists() else collections.Counter()


class Worker:
    """A worker process with its log, started in the directory of its project."""

    def __init__(self, command: list[str], env: dict[str, str], log: pathlib.Path, directory: pathlib.Path) -> None:
        self.log, self.directory = log, directory
        self.command, self.env = command, env
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            cwd=self.directory,
            stdout=open(self.log, "ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_ready(self) -> "Worker":
        eventually(lambda: " ready." in self.text() or self.ended(), f"not ready: {self.log}")
        assert self.process.poll() is None, self.text()
        return self

    def ended(self) -> bool:
        return self.process.poll() is not None

    def idle(self) -> bool:
        """No thread of its main process has anything left to do: one that waits for a processor runs, to the kernel."""
        states = set()
        for stat in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                states.add(stat.read_text().rpartition(")")[2].split()[0])
        return states == {"S"}

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def terminate(self, patience: float = PATIENCE) -> int:
        """Warm shutdown; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)

    def destroy(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
