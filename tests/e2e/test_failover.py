"""Lists of brokers: which one is tried next, what is said of it, and that work goes on with whichever answers."""

from __future__ import annotations

import json
import re

import pytest
from conftest import PATIENCE, Site, eventually

from proxy import Proxy

FAILED = r"ERROR/MainProcess\] consumer: Cannot connect to (\S+): (?:.*)\.\n(.*)\n"


@pytest.fixture(params=["redis", "rabbit"])
def pair(request, redis_server, rabbit_server, tmp_path):
    """Two ways to one broker, of which the first is closed; and how each is logged."""
    server = redis_server if request.param == "redis" else rabbit_server
    with Proxy(server.port) as first, Proxy(server.port) as second:
        first.cut(reopen=False)
        site = Site(server.url(), redis_server.url(1), tmp_path)
        path, secret = ("0", "") if request.param == "redis" else ("/", "guest:guest@")
        scheme = "redis" if request.param == "redis" else "amqp"
        site.urls = [f"{scheme}://{secret}127.0.0.1:{proxy.port}/{path}" for proxy in (first, second)]
        site.first, site.second = first, second
        yield site
        site.destroy()


def connected(worker) -> list[str]:
    """The ports that it has found open, in order."""
    return re.findall(r"Connected to \S+:(\d+)/", worker.text())


@pytest.mark.parametrize("spelling", ["text", "list"])
@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_the_next_one_answers(pair, kind, spelling):
    """First the second one, and when that one is gone and the first is back, the first one."""
    env = {"PROJ_BROKER": ";".join(pair.urls)}
    if spelling == "list":
        env = {"PROJ_CONF": json.dumps({"broker_url": pair.urls})}
    worker = pair.worker("-c", "1", "--without-gossip", "--without-mingle", kind=kind, env=env)
    assert connected(worker) == [str(pair.second.port)]
    told = re.findall(FAILED, worker.text())
    # Celery's worker connects more than once.
    assert {(re.search(r":(\d+)/", uri)[1], line) for uri, line in told} == {(str(pair.first.port), "Will retry using next failover.")}
    assert pair.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    pair.first.reopen()
    pair.second.cut(reopen=False)
    eventually(lambda: len(connected(worker)) == 2, "it did not find the first")
    assert connected(worker)[1] == str(pair.first.port)
    assert pair.proj.add.delay(2, 2).get(timeout=PATIENCE) == 4


def test_attempts_are_counted_as_celery_does(pair):
    """All of them are closed: the same lines, and the same end."""
    pair.second.cut(reopen=False)
    told = {}
    for kind in ("celery", "ours"):
        options = ("-c", "1", "broker.connection_max_retries=4")
        worker = pair.worker(*options, kind=kind, env={"PROJ_BROKER": ";".join(pair.urls)}, ready=False)
        code = worker.process.wait(PATIENCE)
        told[kind] = (code, [(uri.rsplit(":", 1)[1], line) for uri, line in re.findall(FAILED, worker.text())])
    assert told["ours"] == told["celery"]
    assert [line for _, line in told["ours"][1]] == [
        "Will retry using next failover.", "Trying again in 2.00 seconds... (1/4)",
        "Will retry using next failover.", "Trying again in 4.00 seconds... (2/4)",
    ]


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_shuffled(redis_server, tmp_path, kind):
    """Any may be next, also the same one again."""
    with Proxy(redis_server.port) as closed:
        closed.cut(reopen=False)
        urls = [f"redis://127.0.0.1:{closed.port}/{n}" for n in range(6)]
        site = Site(redis_server.url(0), redis_server.url(1), tmp_path)
        conf = {"broker_url": urls, "broker_failover_strategy": "shuffle"}
        worker = site.worker("-c", "1", kind=kind, env={"PROJ_CONF": json.dumps(conf)}, ready=False)
        try:
            eventually(lambda: worker.text().count("Trying again in") == 2, "it did not try all")
            tried = [uri.rsplit("/", 1)[1] for uri, _ in re.findall(FAILED, worker.text())][:12]
            # In turn it would be 0 to 5 twice; by chance it is so once in two thousand million.
            assert tried[0] == "0" and tried != [*"012345", *"012345"]
        finally:
            site.destroy()


def test_stats_tell_of_the_list(pair):
    """Both ways are open: Celery's worker ends when chance sends it to a closed one too often."""
    pair.first.reopen()
    conf = {"broker_url": pair.urls, "broker_failover_strategy": "shuffle"}
    told = {}
    for kind in ("celery", "ours"):
        pair.worker("-c", "1", "--without-gossip", kind=kind, name=f"{kind}@test", env={"PROJ_CONF": json.dumps(conf)})
        inspect = pair.proj.app.control.inspect(destination=[f"{kind}@test"], timeout=20, limit=1)
        broker = eventually(inspect.stats)[f"{kind}@test"]["broker"]
        told[kind] = (broker["failover_strategy"], broker["alternates"])
    assert told["ours"] == told["celery"]
