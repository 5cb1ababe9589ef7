"""Ways to servers: their URLs, and the settings of Celery that go with them."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field

import redis as redis_py
import trustme

from brokers import Redis, Sentinel, Sqs


class Certificates:
    """An authority, and what it has issued for a server on this machine and for a client of it."""

    def __init__(self, directory: pathlib.Path) -> None:
        authority = trustme.CA()
        self.authority = str(directory / "ca.pem")
        authority.cert_pem.write_to_path(self.authority)
        for who in ("server", "client"):
            issued = authority.issue_cert("127.0.0.1", "localhost")
            names = str(directory / f"{who}.pem"), str(directory / f"{who}.key")
            issued.cert_chain_pems[0].write_to_path(names[0])
            issued.private_key_pem.write_to_path(names[1])
            setattr(self, who, names)

    @property
    def needed_by_redis_py(self) -> dict[str, str]:
        """What a server asks for that wants to see its clients' certificates."""
        cert, key = self.client
        return {"ssl_cert_reqs": "required", "ssl_ca_certs": self.authority, "ssl_certfile": cert, "ssl_keyfile": key}


@dataclass
class Way:
    """`url` is of a database by its number; `options` are those of transports, of the broker and of results."""

    url: Callable[[int | str], str]
    options: dict = field(default_factory=dict)
    #: Settings that only a broker has.
    conf: dict = field(default_factory=dict)
    #: Whether kombu has broadcasts there.
    broadcasts: bool = True


@contextlib.contextmanager
def with_a_user():
    """`redis://`, with a user whose password does not go into a URL as it is."""
    with Redis() as server:
        client = redis_py.Redis(port=server.port)
        client.acl_setuser("shop", enabled=True, passwords=["+p@ss/word"], keys="*", channels="*", commands=["+@all"])
        client.config_set("requirepass", "another")
        yield Way(lambda db: f"redis://shop:p%40ss%2Fword@127.0.0.1:{server.port}/{db}")


def secure_redis(certificates: Certificates) -> Redis:
    """A server that speaks TLS only and wants to see its clients' certificates."""
    cert, key = certificates.server
    return Redis(tls_ca_cert_file=certificates.authority, tls_cert_file=cert, tls_key_file=key, tls_auth_clients="yes")


@contextlib.contextmanager
def with_tls(certificates: Certificates):
    """`rediss://`, with all that is needed in the URL."""
    query = "&".join(f"{name}={value}" for name, value in certificates.needed_by_redis_py.items())
    with secure_redis(certificates) as server:
        yield Way(lambda db: f"rediss://127.0.0.1:{server.port}/{db}?{query}")


@contextlib.contextmanager
def through_a_socket(directory: pathlib.Path):
    """`redis+socket://`."""
    with Redis(unixsocket=directory / "redis.sock") as server:
        yield Way(lambda db: f"redis+socket://{server.options['unixsocket']}?virtual_host={db}")


@contextlib.contextmanager
def by_a_sentinel():
    """`sentinel://`."""
    with Redis() as master, Sentinel(master) as sentinel:
        yield Way(lambda db: f"sentinel://127.0.0.1:{sentinel.port}/{db}", {"master_name": "mymaster"})


@contextlib.contextmanager
def by_sqs():
    """`sqs://`, with a secret that does not go into a URL as it is."""
    prompt = {"region": "us-east-1", "wait_time_seconds": 1, "polling_interval": 0.05}
    with Sqs() as server:
        yield Way(lambda _: f"sqs://key:p%40ss@127.0.0.1:{server.port}//", prompt, broadcasts=False)


def through_folders(directory: pathlib.Path) -> Way:
    """`filesystem://`."""
    queues = directory / "queues"
    queues.mkdir()
    folders = {"data_folder_in": queues, "data_folder_out": queues, "control_folder": directory / "control"}
    return Way(lambda _: "filesystem://", {name: str(path) for name, path in folders.items()} | {"polling_interval": 0.05})
