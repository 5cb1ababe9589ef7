"""Private Redis, RabbitMQ, SQS, PostgreSQL and MariaDB servers on free ports, for the demo, the benchmark and the suites.

Each server lives in a directory of its own, is stopped on exit, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, patience: float = 90.0) -> None:
    """Returns once `port` accepts connections; raises if `process` ends before."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            # Not somebody else who was faster, of whom this one dies.
            time.sleep(0.05)
            if process.poll() is None:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no server on port {port}: {process.args}")
        time.sleep(0.05)


class Server:
    """A process in a directory of its own, perhaps with others that it needs."""

    def __init__(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="celery-rs-"))
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.helpers: list[subprocess.Popen] = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def spawn(self, command: list[str], **env: str) -> None:
        self.process = self.launch(command, **env)
        wait_for_port(self.port, self.process)

    def launch(self, command: list[str], **env: str) -> subprocess.Popen:
        with open(self.directory / "log", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.directory, env={**os.environ, **env}
            )

    def stop(self) -> None:
        for process in filter(None, [self.process, *self.helpers]):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis(Server):
    """redis-server without persistence. `options` are those of its command line, with underscores for dashes."""

    def __init__(self, databases: int = 16, **options: str | int) -> None:
        super().__init__()
        self.databases, self.options = databases, options

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "databases": self.databases}
        if "tls_cert_file" in self.options:
            options |= {"port": 0, "tls-port": self.port}
        options |= {name.replace("_", "-"): value for name, value in self.options.items()}
        self.spawn(["redis-server", *(part for name, value in options.items() for part in (f"--{name}", *str(value).split(" ")))])

    def flush(self) -> None:
        """Empties all databases."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            reply = connection.makefile("rb").readline()
        if reply != b"+OK\r\n":
            raise RuntimeError(f"redis-server on port {self.port} answered {reply!r}")

    def url(self, db: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"


class Memcached(Server):
    """memcached, for results."""

    def start(self) -> None:
        # As root it wants to know whom to be instead.
        self.spawn(["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-u", "nobody"])

    def url(self) -> str:
        return f"cache+memcached://127.0.0.1:{self.port}/"


class Sqs(Server):
    """moto, which speaks SQS."""

    def start(self) -> None:
        self.spawn([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)])

    def client(self):
        """boto3's, for this server."""
        import boto3

        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        return boto3.client("sqs", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}", **keys)

    def url(self) -> str:
        return f"sqs://key:secret@127.0.0.1:{self.port}//"


class Sentinel(Server):
    """A sentinel that watches one Redis server as `mymaster`, and does not give it up for a mere pause."""

    def __init__(self, master: Redis) -> None:
        super().__init__()
        self.master = master

    def start(self) -> None:
        config = self.directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 30000\nsentinel failover-timeout mymaster 3000\n"
        )
        self.spawn(["redis-server", str(config), "--sentinel"])


class RabbitMQ(Server):
    """rabbitmq-server as a node of its own, with an epmd of its own. `settings` are lines of its configuration."""

    def __init__(self, settings: dict[str, str] | None = None, plugins: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.settings, self.plugins = settings or {}, plugins

    def start(self) -> None:
        self.distribution, self.epmd = free_port(), free_port()
        # Erlang would start one that outlives it.
        epmd = self.launch(["epmd", "-port", str(self.epmd), "-address", "127.0.0.1"])
        self.helpers.append(epmd)
        wait_for_port(self.epmd, epmd)
        config = self.directory / "rabbitmq.conf"
        settings = {"listeners.tcp.default": f"127.0.0.1:{self.port}", "loopback_users": "none", "log.console": "true"}
        config.write_text("".join(f"{name} = {value}\n" for name, value in {**settings, **self.settings}.items()))
        (self.directory / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")
        program = shutil.which("rabbitmq-server") or "/usr/lib/rabbitmq/bin/rabbitmq-server"
        direct = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        self.spawn(
            [str(direct if direct.exists() else program)],
            HOME=str(self.directory),
            RABBITMQ_NODENAME=f"bench{self.port}@localhost",
            RABBITMQ_CONFIG_FILE=str(config.with_suffix("")),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.directory / "enabled_plugins"),
            RABBITMQ_MNESIA_BASE=str(self.directory / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.directory),
            RABBITMQ_DIST_PORT=str(self.distribution),
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.port),
            ERL_EPMD_PORT=str(self.epmd),
        )

    def ctl(self, *words: str) -> str:
        """What a command of rabbitmqctl prints."""
        direct = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
        command = [str(direct) if direct.exists() else "rabbitmqctl", "--silent", *words]
        # The cookie of the server's own home.
        env = {"HOME": str(self.directory), "ERL_EPMD_PORT": str(self.epmd), "RABBITMQ_NODENAME": f"bench{self.port}@localhost"}
        return subprocess.run(
            command, env={**os.environ, **env}, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def table(self, vhost: str, command: str, *columns: str) -> list[tuple[str, ...]]:
        """The rows that one of its list commands prints."""
        out = self.ctl(command, "--no-table-headers", "-p", vhost, *columns)
        return [tuple(line.split("\t")) for line in out.splitlines()]

    def queues(self, vhost: str = "/") -> list[tuple[str, ...]]:
        """Name, durable, auto_delete, exclusive and arguments of each."""
        return self.table(vhost, "list_queues", "name", "durable", "auto_delete", "exclusive", "arguments")

    def topology(self, vhost: str) -> dict[str, list[tuple[str, ...]]]:
        """All exchanges, queues and bindings."""
        exchanges = self.table(vhost, "list_exchanges", "name", "type", "durable", "auto_delete", "arguments")
        columns = ["source_name", "destination_name", "destination_kind", "routing_key", "arguments"]
        return {"exchanges": exchanges, "queues": self.queues(vhost), "bindings": self.table(vhost, "list_bindings", *columns)}

    def add_vhost(self, name: str) -> str:
        """The URL of an empty virtual host."""
        self.ctl("add_vhost", name)
        self.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url(name)

    def url(self, vhost: str = "/") -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"


class Database(Server):
    """A server with databases for results. It is no process of root's: neither would run as one."""

    #: Who runs it, if the tests are run by root.
    user = ""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.env = {**os.environ, "HOME": str(self.directory)}
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.user, self.user)

    def launch(self, command: list[str], **env: str) -> subprocess.Popen:
        user = {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        with open(self.directory / "log", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.directory, env={**self.env, **env}, **user
            )

    def make(self, command: list[str]) -> None:
        """Runs a program to its end."""
        if self.launch(command).wait() != 0:
            raise RuntimeError((self.directory / "log").read_text(errors="replace"))

    @contextlib.contextmanager
    def fresh(self):
        """The URL of an empty database."""
        self.count += 1
        name = f"results{self.count}"
        self.execute(f"CREATE DATABASE {name}")
        yield self.url(name)

    def kill(self) -> None:
        """As a power cut does. PostgreSQL's processes are no group, and keep its memory for as long as one is left."""
        # Not everybody who starts servers has it.
        import psutil

        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)


class PostgreSQL(Database):
    """PostgreSQL in a time zone of its own."""

    user = "postgres"

    def start(self) -> None:
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        self.programs = found[-1] if found else pathlib.Path(shutil.which("postgres") or "postgres").parent
        password = self.directory / "password"
        password.write_text("p@ss")
        options = ["-A", "scram-sha-256", "-U", "celery", f"--pwfile={password}", "--no-sync"]
        self.make([str(self.programs / "initdb"), "-D", str(self.directory / "data"), *options])
        self.run()

    def run(self) -> None:
        options = {"timezone": "America/St_Johns", "unix_socket_directories": str(self.directory), "fsync": "off"}
        settings = (part for name, value in options.items() for part in ("-c", f"{name}={value}"))
        self.spawn(
            [str(self.programs / "postgres"), "-D", str(self.directory / "data"), "-h", "127.0.0.1", "-p", str(self.port), *settings]
        )

    def execute(self, statement: str) -> None:
        command = [str(self.programs / "psql"), "-qX", "-h", "127.0.0.1", "-p", str(self.port), "-U", "celery", "-d", "postgres"]
        deadline = time.monotonic() + 90
        # It listens before it lets anybody in.
        env = {**os.environ, "PGPASSWORD": "p@ss"}
        while subprocess.run([*command, "-c", statement], env=env, capture_output=True, timeout=60).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text(errors="replace"))
            time.sleep(0.1)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg2://celery:p%40ss@127.0.0.1:{self.port}/{name}"


class MariaDB(Database):
    """mariadbd."""

    user = "mysql"

    def start(self) -> None:
        install = shutil.which("mariadb-install-db") or "/usr/bin/mariadb-install-db"
        self.make([install, "--no-defaults", f"--datadir={self.directory}/data", "--auth-root-authentication-method=normal", "--skip-test-db"])
        self.run()
        self.execute("CREATE USER celery@'127.0.0.1' IDENTIFIED BY 'p@ss'; GRANT ALL ON *.* TO celery@'127.0.0.1'")

    def run(self) -> None:
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        self.spawn(
            [
                program, "--no-defaults", f"--datadir={self.directory}/data", f"--socket={self.directory}/socket",
                f"--port={self.port}", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0",
                "--character-set-server=utf8mb4", f"--pid-file={self.directory}/pid",
            ]
        )

    def execute(self, statement: str) -> None:
        command = ["mariadb", "--no-defaults", f"--socket={self.directory}/socket", "-u", "root", "-e", statement]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def url(self, name: str) -> str:
        return f"mysql+pymysql://celery:p%40ss@127.0.0.1:{self.port}/{name}"
