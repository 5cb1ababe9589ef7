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


@pytest.mark.parametrize("user", ["shop", "default"])
@pytest.mark.parametrize("kind", ["celery", "native"])
def test_credentials_that_change(site, tmp_path, monkeypatch, kind, user):
    """The provider that the URL names is asked for each connection: yesterday's password would not do."""
    given = tmp_path / "credentials"
    monkeypatch.setenv("PROJ_CREDENTIALS", str(given))

    def rotate(password):
        admin.execute_command("ACL", "SETUSER", user, "on", "resetpass", f">{password}", "~*", "&*", "+@all")
        given.write_text(password if user == "default" else f"{user} {password}")
        admin.execute_command("CLIENT", "KILL", "USER", user)

    with Redis() as server:
        redis_py.Redis(port=server.port).execute_command("ACL", "SETUSER", "root", "on", ">root", "~*", "&*", "+@all")
        admin = redis_py.Redis(port=server.port, username="root", password="root")
        address = f"127.0.0.1:{server.port}"
        rotate("monday")
        ours = site(f"redis://{address}/0?credential_provider=rotating.Provider", f"redis://root:root@{address}/1")
        worker = ours.worker("-c", "1", kind=kind, name="w@test")
        assert ours.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
        inspect = ours.proj.app.control.inspect(["w@test"], timeout=20, limit=1)
        assert eventually(inspect.stats)["w@test"]["broker"]["credential_provider"] == "rotating.Provider"
        rotate("tuesday")
        assert ours.proj.add.delay(2, 3).get(timeout=PATIENCE) == 5
        assert worker.terminate() == 0
        assert "monday" not in worker.text() and "tuesday" not in worker.text()


def test_a_provider_that_does_not_know_for_now(site, tmp_path, monkeypatch):
    """Its words are told, and it is asked again."""
    given = tmp_path / "credentials"
    monkeypatch.setenv("PROJ_CREDENTIALS", str(given))
    with Redis(requirepass="wednesday") as server:
        address = f"127.0.0.1:{server.port}"
        ours = site(f"redis://{address}/0?credential_provider=rotating.Provider", f"redis://:wednesday@{address}/1")
        worker = ours.worker("-c", "1", kind="ours", ready=False)
        eventually(lambda: "rotating.Provider: ConnectionRefusedError" in worker.text(), "it said nothing")
        given.write_text("wednesday")
        worker.wait_ready()
        assert ours.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3


def test_nobody_to_ask_for_credentials(redis_site):
    """`--purge` comes before there is a process that could ask the app's class."""
    env = {"PROJ_BROKER": f"{redis_site.broker}?credential_provider=rotating.Provider"}
    worker = redis_site.worker("-c", "1", "--purge", env=env, ready=False)
    assert worker.process.wait(PATIENCE) != 0
    assert "credential_provider rotating.Provider is a Python class" in worker.text()


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
        at_sentinel.sentinel_set("mymaster", "down-after-milliseconds", 500)
        master.process.kill()
        promoted = lambda: at_sentinel.sentinel_get_master_addr_by_name("mymaster")[1] == replica.port  # noqa: E731
        eventually(promoted, "the replica was not promoted")
        eventually(lambda: worker.text().count("Connected to") == 2, "it did not come back")
        assert ours.proj.add.delay(3, 4).get(timeout=PATIENCE) == 7
        assert running.get(timeout=PATIENCE) == 3
