"""Ways to a Redis server that are not all in the URL: a user and TLS by settings, and a failover among sentinels.

What is in the URL is in `test_brokers.py` and `test_results.py`.
"""

import json

import pytest
import redis as redis_py
from conftest import PATIENCE, Site, eventually

from brokers import Redis, Sentinel
from ways import secure_redis


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


def test_a_user_by_settings(site):
    with Redis() as server:
        client = redis_py.Redis(port=server.port)
        client.acl_setuser("shop", enabled=True, passwords=["+p@ss/word"], keys="*", channels="*", commands=["+@all"])
        client.config_set("requirepass", "another")
        address = f"127.0.0.1:{server.port}"
        broker = f"redis://shop:p%40ss%2Fword@{address}/0"
        worker = works(site(broker, f"redis://{address}/1", redis_username="shop", redis_password="p@ss/word"))
        assert worker.terminate() == 0
        assert "p@ss" not in worker.text() and "p%40ss" not in worker.text()


def test_tls_by_settings(site, certificates):
    with secure_redis(certificates) as server:
        address, needed = f"rediss://127.0.0.1:{server.port}", certificates.needed_by_redis_py
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
