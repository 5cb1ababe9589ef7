"""The ways to a Redis server, for broker and results at once: sockets, users, TLS by URL and by settings, sentinels."""

import json

import pytest
import redis as redis_py
import trustme
from conftest import PATIENCE, Site, eventually

from brokers import Redis, Sentinel


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Makes a site; settings are those of worker and client."""
    made = []

    def make(broker: str, backend: str, **conf):
        monkeypatch.setenv("PROJ_CONF", json.dumps(conf))
        made.append(Site(broker, backend, tmp_path))
        return made[-1]

    yield make
    for site in made:
        site.destroy()


def works(site):
    """A worker, with a task of Python's and one of Rust's done, and a broadcast answered."""
    worker = site.worker("-c", "1", kind="native")
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert site.proj.native_add.delay(2, 3).get(timeout=PATIENCE) == 5
    eventually(lambda: site.proj.app.control.ping(timeout=2, limit=1) == [{"native0@test": {"ok": "pong"}}], "no pong")
    return worker


def test_a_unix_socket(site, tmp_path):
    path = tmp_path / "redis.sock"
    with Redis(unixsocket=path):
        works(site(f"redis+socket://{path}?virtual_host=2", f"redis+socket://{path}?virtual_host=3"))


@pytest.mark.parametrize("how", ["url", "settings"])
def test_a_user_with_a_password(site, how):
    with Redis() as server:
        client = redis_py.Redis(port=server.port)
        client.acl_setuser("shop", enabled=True, passwords=["+p@ss/word"], keys="*", channels="*", commands=["+@all"])
        client.config_set("requirepass", "another")
        address, user = f"127.0.0.1:{server.port}", "shop:p%40ss%2Fword@"
        ours = (
            site(f"redis://{user}{address}/0", f"redis://{user}{address}/1") if how == "url"
            else site(f"redis://{user}{address}/0", f"redis://{address}/1", redis_username="shop", redis_password="p@ss/word")
        )
        worker = works(ours)
        assert worker.terminate() == 0
        assert "p@ss" not in worker.text() and "p%40ss" not in worker.text()


@pytest.fixture
def secure_server(tmp_path):
    """A server that speaks TLS only and wants to see its clients' certificates, and what they need for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {}
    for who in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(tmp_path / f"{who}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{who}.pem")
        files |= {f"{who}_key": str(tmp_path / f"{who}.key"), f"{who}_cert": str(tmp_path / f"{who}.pem")}
    with Redis(
        tls_ca_cert_file=tmp_path / "ca.pem", tls_cert_file=files["server_cert"], tls_key_file=files["server_key"],
        tls_auth_clients="yes",
    ) as server:
        server.needed = {
            "ssl_cert_reqs": "required", "ssl_ca_certs": str(tmp_path / "ca.pem"),
            "ssl_certfile": files["client_cert"], "ssl_keyfile": files["client_key"],
        }
        yield server


@pytest.mark.parametrize("how", ["url", "settings"])
def test_tls(site, secure_server, how):
    address = f"rediss://127.0.0.1:{secure_server.port}"
    if how == "url":
        query = "&".join(f"{name}={value}" for name, value in secure_server.needed.items())
        works(site(f"{address}/0?{query}", f"{address}/1?{query}"))
    else:
        needed = secure_server.needed
        works(site(f"{address}/0", f"{address}/1", broker_use_ssl=needed, redis_backend_use_ssl=needed))


def test_sentinels_and_a_failover(site):
    """The master dies, its replica is promoted, and the worker finds it; what it ran meanwhile has its result."""
    with Redis() as master, Redis(replicaof=f"127.0.0.1 {master.port}") as replica, Sentinel(master) as sentinel:
        at_sentinel = redis_py.Redis(port=sentinel.port, decode_responses=True)
        eventually(lambda: at_sentinel.sentinel_slaves("mymaster"), "the sentinel does not know the replica")
        options = {"master_name": "mymaster"}
        url = f"sentinel://127.0.0.1:{sentinel.port}"
        ours = site(f"{url}/0", f"{url}/1", broker_transport_options=options, result_backend_transport_options=options)
        worker = works(ours)
        running = ours.proj.sleep.delay(3)
        eventually(lambda: f"[{running.id}] received" in worker.text(), "it was not received")
        master.process.kill()
        promoted = lambda: at_sentinel.sentinel_get_master_addr_by_name("mymaster")[1] == replica.port  # noqa: E731
        eventually(promoted, "the replica was not promoted")
        eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
        assert ours.proj.add.delay(3, 4).get(timeout=PATIENCE) == 7
        assert running.get(timeout=PATIENCE) == 3
