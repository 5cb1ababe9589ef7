"""A Python worker and ours on one queue: each task is run once, and nothing is left behind."""

import collections

import redis as redis_py
from conftest import PATIENCE, eventually

TASKS = 2000


def run_shared(site, tmp_path):
    site.worker("-c", "2", kind="celery")
    site.worker("-c", "2")
    log = tmp_path / "runs"
    log.touch()
    results = [site.proj.mark_early.delay(str(log)) for _ in range(TASKS)]
    for result in results:
        assert result.get(timeout=120) == result.id
    runs = collections.Counter(log.read_text().split())
    assert set(runs) == {result.id for result in results}
    assert set(runs.values()) == {1}

    def have_shared() -> bool:
        site.proj.mark_early.delay(str(log)).get(timeout=PATIENCE)
        return all("Task proj.mark_early[" in worker.text() for worker in site.workers)

    eventually(have_shared, "one of them had no share")
    for worker in site.workers:
        assert worker.terminate() == 0


def test_one_redis_queue(redis_site, redis_server, tmp_path):
    run_shared(redis_site, tmp_path)
    client = redis_py.Redis(port=redis_server.port)
    eventually(lambda: client.hlen("unacked") == 0 and client.zcard("unacked_index") == 0, "entries left in unacked")
    assert client.llen(redis_site.queue) == 0


def test_one_rabbitmq_queue(rabbit_site, tmp_path):
    run_shared(rabbit_site, tmp_path)
    with rabbit_site.proj.app.connection_for_read() as connection:
        declared = connection.channel().queue_declare(rabbit_site.queue, passive=True)
        assert declared.message_count == 0
