"""How a worker logs in to RabbitMQ: `broker_login_method`, and a client's certificate in place of a password."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import trustme
from conftest import PATIENCE, Site, eventually

from brokers import RabbitMQ, free_port

#: Over TLS the server wants to see a certificate, and with EXTERNAL it takes the user's name from there.
SETTINGS = {
    "ssl_options.verify": "verify_peer", "ssl_options.fail_if_no_peer_cert": "true", "ssl_cert_login_from": "common_name",
    "auth_mechanisms.1": "PLAIN", "auth_mechanisms.2": "AMQPLAIN", "auth_mechanisms.3": "EXTERNAL",
}


def issue(authority: trustme.CA, directory: pathlib.Path, who: str) -> None:
    """A certificate with this common name."""
    issued = authority.issue_cert("localhost", common_name=who)
    issued.private_key_pem.write_to_path(directory / f"{who}.key")
    issued.cert_chain_pems[0].write_to_path(directory / f"{who}.pem")


@pytest.fixture(scope="module")
def secure_rabbit(tmp_path_factory):
    """Knows the user `worker`, who has a password and a certificate; `stranger` has a certificate only."""
    directory, port = tmp_path_factory.mktemp("certificates"), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for who in ("server", "worker", "stranger"):
        issue(authority, directory, who)
    settings = SETTINGS | {
        "listeners.ssl.default": f"127.0.0.1:{port}", "ssl_options.cacertfile": f"{directory}/ca.pem",
        "ssl_options.certfile": f"{directory}/server.pem", "ssl_options.keyfile": f"{directory}/server.key",
    }
    with RabbitMQ(settings, plugins=("rabbitmq_auth_mechanism_ssl",)) as server:
        server.ctl("add_user", "worker", "p@ss")
        server.ctl("set_permissions", "-p", "/", "worker", ".*", ".*", ".*")
        server.secure = f"127.0.0.1:{port}"
        server.certificates = directory
        yield server


def of(server: RabbitMQ, who: str) -> dict:
    """`broker_use_ssl` with the certificate of somebody."""
    directory = server.certificates
    # 2 is ssl.CERT_REQUIRED.
    return {
        "ca_certs": f"{directory}/ca.pem", "certfile": f"{directory}/{who}.pem", "keyfile": f"{directory}/{who}.key",
        "cert_reqs": 2,
    }


def logins(server: RabbitMQ) -> set[tuple[str, ...]]:
    """How each connection that is not the client's has logged in."""
    out = server.ctl("list_connections", "--no-table-headers", "user", "auth_mechanism", "ssl")
    return {tuple(line.split("\t")) for line in out.splitlines() if not line.startswith("guest")}


@pytest.fixture
def site(secure_rabbit, redis_server, tmp_path):
    """The client logs in as `guest`, without TLS."""
    found = Site(secure_rabbit.url(), redis_server.url(1), tmp_path)
    yield found
    found.destroy()


@pytest.mark.parametrize("how", ["EXTERNAL", "EXTERNAL in the URL", "AMQPLAIN", "PLAIN", "unset"])
def test_login_methods(site, secure_rabbit, how):
    """By each of them both workers are the same user to the server, on each of their connections."""
    method = how.split()[0]
    user = "" if method == "EXTERNAL" else "worker:p%40ss@"
    conf = {"broker_use_ssl": of(secure_rabbit, "worker")}
    url = f"amqps://{user}{secure_rabbit.secure}//"
    if how == "EXTERNAL in the URL":
        url += f"?login_method={method}"
    elif how != "unset":
        conf["broker_login_method"] = method
    told = {}
    for kind in ("celery", "ours"):
        env = {"PROJ_BROKER": url, "PROJ_CONF": json.dumps(conf)}
        worker = site.worker("-c", "1", kind=kind, env=env, name=f"{kind}@test")
        assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
        told[kind] = logins(secure_rabbit)
        answer = eventually(site.proj.app.control.inspect([f"{kind}@test"], timeout=20, limit=1).stats)
        told[kind] |= {("stats", answer[f"{kind}@test"]["broker"]["login_method"])}
        assert worker.terminate() == 0
        assert "p@ss" not in worker.text() and "p%40ss" not in worker.text()
        eventually(lambda: not logins(secure_rabbit), "its connections are still there")
    assert told["ours"] == told["celery"]
    known = "PLAIN" if method == "unset" else method
    assert told["ours"] >= {("worker", known, "true")}


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_stranger_is_refused(site, secure_rabbit, kind):
    """The certificate is a good one, but there is no such user."""
    conf = {"broker_use_ssl": of(secure_rabbit, "stranger"), "broker_login_method": "EXTERNAL"}
    env = {"PROJ_BROKER": f"amqps://{secure_rabbit.secure}//", "PROJ_CONF": json.dumps(conf)}
    worker = site.worker("-c", "1", kind=kind, env=env, ready=False)
    eventually(lambda: "ACCESS_REFUSED" in worker.text(), "it was not refused")
    assert " ready." not in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_server_without_the_mechanism(site, rabbit_server, kind):
    """Both say which one was wanted and which there are, and try again: a plugin may be missing for now."""
    env = {"PROJ_BROKER": rabbit_server.url(), "PROJ_CONF": json.dumps({"broker_login_method": "EXTERNAL"})}
    worker = site.worker("-c", "1", kind=kind, env=env, ready=False)
    told = r"Couldn't find appropriate auth mechanism \(can offer: EXTERNAL; available: (.*)\)"
    eventually(lambda: len(re.findall(told, worker.text())) > 1 or worker.ended(), "it did not try again")
    assert set(re.search(told, worker.text())[1].split(", ")) == {"PLAIN", "AMQPLAIN"}
    assert not worker.ended() and " ready." not in worker.text()
