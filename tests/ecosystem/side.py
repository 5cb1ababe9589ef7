"""One of the two workers with a project, its clients, and what the project has recorded."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

from workers import PATIENCE, Worker

HERE = pathlib.Path(__file__).resolve().parent
PROJECTS = HERE / "projects"
PROGRAMS = {"celery": lambda: [f"{sys.prefix}/bin/celery"], "ours": lambda: [os.environ["CELERY_RS_BIN"]]}
KINDS = tuple(os.environ.get("ECO_KINDS", "celery,ours").split(","))
#: Without gossip and mingle it starts sooner; neither is about hooks.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass
class Found:
    """What came of a project: `returned` by its clients, and `records` of all its processes in their order."""

    returned: list
    records: list[dict]
    log: str
    code: int
    kind: str

    def of(self, what: str) -> list[dict]:
        return [record for record in self.records if record["what"] == what]


class Side:
    """`kind` is `celery` or `ours`; broker and backend are for this side alone."""

    def __init__(
        self, kind: str, project: str, broker: str, backend: str, directory: pathlib.Path, env: dict[str, str]
    ) -> None:
        self.kind, self.project, self.directory = kind, project, directory
        directory.mkdir(parents=True)
        self.record_file = directory / "records"
        self.record_file.touch()
        #: What starts the worker's program, like `ddtrace-run`.
        self.launcher = env.get("LAUNCHER", "").split()
        self.env = {
            **os.environ,
            "ECO_BROKER": broker,
            "ECO_BACKEND": backend,
            "ECO_DIR": str(directory),
            "ECO_RECORDS": str(self.record_file),
            "PYTHONPATH": str(PROJECTS),
            "VIRTUAL_ENV": sys.prefix,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "C_FORCE_ROOT": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            # ddtrace goes through sets of names, of which the last wins.
            "PYTHONHASHSEED": "0",
            **env,
        }
        self.worker: Worker | None = None

    def start(self, *args: str, ready: bool = True) -> Worker:
        command = [*self.launcher, *PROGRAMS[self.kind](), "-A", self.project, "worker", "-n", "eco@test", "-l", "INFO"]
        command += ["-c", "1", *QUIET, *args]
        self.worker = Worker(command, {**self.env, "ECO_ROLE": "worker"}, self.directory / "log", PROJECTS)
        return self.worker.wait_ready() if ready else self.worker

    def call(self, function: str = "client"):
        """What a function of the project returns in a process of its own."""
        command = [sys.executable, str(HERE / "client.py"), self.project, function]
        ended = subprocess.run(
            command, env={**self.env, "ECO_ROLE": "client"}, cwd=PROJECTS, capture_output=True, text=True,
            timeout=PATIENCE * 2,
        )
        log = self.worker.text() if self.worker else ""
        assert ended.returncode == 0, f"{self.kind}: {ended.stderr[-4000:]}\n-- worker\n{log[-4000:]}"
        return json.loads(ended.stdout.splitlines()[-1])

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.record_file.read_text().splitlines()]

    def play(self, args: tuple[str, ...], calls: tuple[str, ...]) -> Found:
        """The worker from its start to its warm end, with clients in between. `prepare` is called before it starts."""
        before = [call for call in calls if call == "prepare"]
        returned = [self.call(call) for call in before]
        self.start(*args)
        returned += [self.call(call) for call in calls if call not in before]
        code = self.worker.terminate()
        return Found(returned, self.records(), self.worker.text(), code, self.kind)

    def destroy(self) -> None:
        if self.worker:
            self.worker.destroy()
