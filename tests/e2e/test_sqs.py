"""SQS as the broker, with moto's server: Celery's clients, Celery's worker and ours on the same queues."""

import json
import os
import signal
import uuid

import pytest
from celery import chord

from brokers import Sqs
from conftest import PATIENCE, Site, eventually
from workers import Worker, runs

# So that nothing waits for polls that are empty.
PROMPT = {"region": "us-east-1", "wait_time_seconds": 1, "polling_interval": 0.05}


@pytest.fixture(scope="module")
def sqs_server():
    with Sqs() as server:
        yield server


@pytest.fixture
def sqs_site(sqs_server, redis_server, tmp_path):
    """Makes sites with these options of the transport and settings."""
    made = []

    def make(options=(), server=sqs_server, **settings):
        conf = {"broker_transport_options": {**PROMPT, **dict(options)}, **settings}
        os.environ["PROJ_CONF"] = json.dumps(conf)
        try:
            site = Site(server.url(), redis_server.url(1), tmp_path)
        finally:
            del os.environ["PROJ_CONF"]
        site.env["PROJ_CONF"] = json.dumps(conf)
        site.sqs = server.client()
        made.append(site)
        return site

    yield make
    for site in made:
        site.destroy()


def celery_worker(site: Site, *args: str) -> Worker:
    """Nobody can ask it whether it is ready: there is no remote control."""
    return site.worker(*args, kind="celery", ready=False).wait_ready()


def messages(site: Site, name: str | None = None) -> int:
    """How many messages a queue has, taken ones as well."""
    url = site.sqs.get_queue_url(QueueName=name or site.queue)["QueueUrl"]
    counts = site.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(counts[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))


def test_main_job_over_sqs(sqs_site):
    site = sqs_site()
    ours, theirs = site.worker(kind="native"), celery_worker(site)
    python = [site.proj.add.delay(i, i) for i in range(60)]
    native = [site.proj.native_add.delay(i, i) for i in range(60)]
    for results in (python, native):
        assert [result.get(timeout=PATIENCE) for result in results] == [2 * i for i in range(60)]
    eventually(
        lambda: site.proj.add.delay(1, 1).get(timeout=PATIENCE) == 2
        and all(" succeeded in " in worker.text() for worker in (ours, theirs)),
        "one of them had no share",
    )
    failed = site.proj.fail.delay("so")
    with pytest.raises(Exception, match="so"):
        failed.get(timeout=PATIENCE)
    assert site.proj.retry.delay("again").get(timeout=PATIENCE) == 2
    assert chord([site.proj.add.s(i, i) for i in range(5)])(site.proj.total.s()).get(timeout=PATIENCE) == 20
    assert ours.terminate() == 0
    eventually(lambda: messages(site) == 0, "messages stay")


def test_what_ours_sends_is_read_by_celery(sqs_site):
    site = sqs_site()
    other = f"{site.queue}-other"
    ours = site.worker(kind="native")
    celery_worker(site, "-Q", other, "-c", "1")
    signature = site.proj.add.s(2, 3).set(queue=other, task_id=uuid.uuid4().hex)
    site.proj.native_send.delay(signature).get(timeout=PATIENCE)
    assert site.proj.app.AsyncResult(signature.options["task_id"]).get(timeout=PATIENCE) == 5
    assert "mingle" not in ours.text() and "Traceback" not in ours.text()


def test_a_task_three_times_as_long_as_the_visibility_timeout_runs_once(sqs_site, tmp_path):
    # A worker on a busy machine has two seconds to extend what is left of them.
    site = sqs_site({"visibility_timeout": 5})
    for _ in range(2):
        site.worker("-c", "1")
    log = tmp_path / "ran"
    result = site.proj.mark.delay(str(log), 15)
    late = site.proj.mark.apply_async((str(log),), countdown=15)
    for one in (result, late):
        assert one.get(timeout=PATIENCE) == one.id
    eventually(lambda: messages(site) == 0, "messages stay")
    assert runs(log) == {result.id: 1, late.id: 1}


@pytest.mark.parametrize("next_kind", ["ours", "celery"])
def test_a_killed_worker_gives_back(sqs_site, tmp_path, next_kind):
    site = sqs_site({"visibility_timeout": 2}, task_acks_late=True)
    log, gate = tmp_path / "begun", tmp_path / "gate"
    worker = site.worker("-c", "1")
    results = [site.proj.hold_here.delay(str(log), str(gate)) for _ in range(3)]
    eventually(lambda: all(f"[{result.id}] received" in worker.text() for result in results), "not received")
    eventually(lambda: runs(log), "nothing has begun")
    worker.kill()
    gate.touch()
    site.worker() if next_kind == "ours" else celery_worker(site)
    for result in results:
        result.get(timeout=PATIENCE)


def test_a_warm_stop_gives_back_at_once(sqs_site, tmp_path):
    # Nothing comes back by itself within the test.
    site = sqs_site({"visibility_timeout": 3600})
    log, gate = tmp_path / "begun", tmp_path / "gate"
    worker = site.worker("-c", "1")
    long = site.proj.hold_here.delay(str(log), str(gate))
    eventually(lambda: runs(log), "nothing has begun")
    results = [site.proj.mark.delay(str(log)) for _ in range(3)]
    eventually(lambda: all(f"[{result.id}] received" in worker.text() for result in results), "not received")
    worker.process.send_signal(signal.SIGTERM)
    celery_worker(site)
    for result in results:
        result.get(timeout=PATIENCE)
    assert not worker.ended()
    gate.touch()
    assert worker.terminate() == 0
    long.get(timeout=PATIENCE)
    assert runs(log) == {result.id: 1 for result in [long, *results]}


def test_fifo_queues(sqs_site, tmp_path):
    name = f"proj-{uuid.uuid4().hex[:8]}.fifo"
    site = sqs_site(task_default_queue=name)
    log = tmp_path / "ran"
    site.worker("-c", "1")
    results = [site.proj.mark.delay(str(log)) for _ in range(12)]
    for result in results:
        result.get(timeout=PATIENCE)
    assert log.read_text().split() == [result.id for result in results]
    assert site.proj.retry.delay("again").get(timeout=PATIENCE) == 2
    eventually(lambda: messages(site, name) == 0, "messages stay")


def test_predefined_queues_with_a_backoff_policy(sqs_server, sqs_site, tmp_path):
    names = [f"known-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    client = sqs_server.client()
    urls = [client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "600"})["QueueUrl"] for name in names]
    known = {
        name: {
            "url": url, "access_key_id": "own", "secret_access_key": "own",
            "backoff_policy": {1: 1, 2: 600}, "backoff_tasks": ["proj.hold_and_reject"],
        }
        for name, url in zip(names, urls)
    }
    site = sqs_site({"predefined_queues": known}, task_default_queue=names[0], task_acks_late=True)
    before = len(client.list_queues()["QueueUrls"])
    log, gate = tmp_path / "begun", tmp_path / "gate"
    gate.touch()
    site.worker("-Q", ",".join(names), "-c", "1")
    rejected = site.proj.hold_and_reject.delay(str(log), str(gate))
    eventually(lambda: runs(log)[rejected.id] == 2, "the policy was not applied")
    for name in names:
        assert site.proj.add.apply_async((1, 2), queue=name).get(timeout=PATIENCE) == 3
    eventually(lambda: messages(site, names[0]) == 1, "what has a policy is not deleted")
    assert messages(site, names[1]) == 0
    assert len(client.list_queues()["QueueUrls"]) == before


def test_what_is_not_predefined_ends_the_start(sqs_server, sqs_site):
    url = sqs_server.client().create_queue(QueueName="the-only-one")["QueueUrl"]
    site = sqs_site({"predefined_queues": {"the-only-one": {"url": url}}})
    worker = site.worker(ready=False)
    assert worker.process.wait(PATIENCE) == 1
    assert f"Queue with name '{site.queue}' must be defined in 'predefined_queues'." in worker.text()


def test_garbage_harms_nobody(sqs_site):
    site = sqs_site()
    worker = site.worker()
    url = site.sqs.get_queue_url(QueueName=site.queue)["QueueUrl"]
    for text in ["hello", "{}", "e30=", '{"properties": {}}', "[1, 2", "/w=="]:
        site.sqs.send_message(QueueUrl=url, MessageBody=text)
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    eventually(lambda: messages(site) == 0, "garbage stays")
    assert worker.text().count("Received and deleted unknown message") == 6
    assert worker.terminate() == 0


def test_it_comes_back_with_the_server(sqs_site):
    """moto forgets everything when it ends: queues are made again as well."""
    with Sqs() as server:
        site = sqs_site(server=server)
        worker = site.worker()
        assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
        server.process.kill()
        server.process.wait()
        eventually(lambda: "Trying again in" in worker.text(), "no loss was noticed")
        server.start()
        eventually(lambda: site.sqs.list_queues(QueueNamePrefix=site.queue).get("QueueUrls"), "it did not come back")
        assert worker.text().count("Connected to sqs://") >= 2
        assert site.proj.add.delay(3, 4).get(timeout=PATIENCE) == 7
        assert worker.terminate() == 0


def test_a_stop_while_it_is_away_acknowledges_what_has_ended(sqs_site, tmp_path):
    """There is no connection then, and none is needed once SQS answers."""
    log, gate = tmp_path / "begun", tmp_path / "gate"
    impatient = {"read_timeout": 1, "retries": {"total_max_attempts": 1}}
    with Sqs() as server:
        site = sqs_site({"visibility_timeout": 3600, "client-config": impatient}, server, task_acks_late=True)
        worker = site.worker("-c", "1")
        result = site.proj.hold_here.delay(str(log), str(gate))
        eventually(lambda: runs(log), "nothing has begun")
        os.kill(server.process.pid, signal.SIGSTOP)
        eventually(lambda: "Trying again in" in worker.text(), "no loss was noticed")
        gate.touch()
        result.get(timeout=PATIENCE)
        worker.process.send_signal(signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.text(), "no shutdown")
        os.kill(server.process.pid, signal.SIGCONT)
        assert worker.terminate() == 0
        assert messages(site) == 0


def test_purge(sqs_site):
    site = sqs_site()
    site.proj.add.delay(1, 2)
    assert messages(site) == 1
    worker = site.worker("-c", "1", "--purge")
    assert "1 message" in worker.text()
    assert messages(site) == 0
