"""The demo's stage: folders as broker, the worker given on the command line, and the producer. It stops all it starts."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ARGUMENTS = ["-A", "demo_app", "worker", "-c", "2", "-l", "INFO"]


def wait_until_ready(worker: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 60
    while " ready." not in log.read_text(errors="replace"):
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def stop(worker: subprocess.Popen) -> int:
    """Warm shutdown, as on Ctrl-C; its exit code."""
    worker.terminate()
    try:
        return worker.wait(30)
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait()


def play(program: str, log: pathlib.Path, env: dict[str, str]) -> int:
    print(f"$ {pathlib.Path(program).name} {' '.join(ARGUMENTS)}")
    with open(log, "wb") as output:
        worker = subprocess.Popen([program, *ARGUMENTS], env=env, cwd=HERE, stdout=output, stderr=output)
    try:
        wait_until_ready(worker, log)
        print(f"ready, pid {worker.pid}\n\n$ python producer.py", flush=True)
        failed = subprocess.run([sys.executable, "producer.py"], env=env, cwd=HERE).returncode
    finally:
        code = stop(worker)
    print(f"\nworker stopped, exit code {code}")
    if failed or code:
        print(log.read_text(errors="replace"), file=sys.stderr)
    return failed or code


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="celery-rs-demo-") as directory:
        pathlib.Path(directory, "queues").mkdir()
        env = {
            **os.environ,
            "DEMO_FOLDER": directory,
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return play(sys.argv[1], pathlib.Path(directory) / "worker.log", env)


if __name__ == "__main__":
    sys.exit(main())
