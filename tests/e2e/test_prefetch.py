"""`worker_disable_prefetch`: on Redis nothing is taken that cannot start, elsewhere the worker says that it cannot."""

from __future__ import annotations

import pytest
import redis as redis_py
from conftest import PATIENCE, eventually

COMPLAINT = (
    "worker_disable_prefetch is only supported for Redis brokers. Current broker transport: amqp. "
    "Ignoring disable_prefetch setting."
)


@pytest.mark.parametrize("kind", ["celery", "ours"])
@pytest.mark.parametrize("late", ["", "1"], ids=["early", "late"])
def test_nothing_is_taken_that_cannot_start(redis_site, redis_server, tmp_path, kind, late):
    site, log, gate = redis_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    client = redis_py.Redis(port=redis_server.port)
    for _ in range(5):
        site.proj.hold_here.delay(str(log), str(gate))
    later = [site.proj.add.apply_async((n, 1), countdown=3600) for n in range(3)]
    begun = lambda: len(log.read_text().split())  # noqa: E731
    worker = site.worker("-c", "2", "--disable-prefetch", kind=kind, env={"PROJ_ACKS_LATE": late})
    eventually(lambda: begun() == 2, "two did not begin")
    inspect = site.proj.app.control.inspect(destination=[f"{kind}0@test"], timeout=20, limit=1)
    # What they have begun their parent hears a little later. Whoever answers that has had the time to take more.
    eventually(lambda: len((inspect.active() or {}).get(f"{kind}0@test", ())) == 2, "two are not active")
    for _ in range(3):
        assert len(eventually(inspect.active)[f"{kind}0@test"]) == 2
        assert inspect.reserved()[f"{kind}0@test"] == []
        assert client.llen(site.queue) == 6 and begun() == 2
    gate.touch()
    eventually(lambda: begun() == 5, "the others did not begin")
    # What waits for its time keeps nobody out.
    eventually(lambda: client.llen(site.queue) == 0 and client.hlen("unacked") == len(later))
    assert site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert "only supported for Redis" not in worker.text()


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_elsewhere_it_is_ignored_with_a_warning(rabbit_site, tmp_path, kind):
    site, log, gate = rabbit_site, tmp_path / "runs", tmp_path / "gate"
    log.touch()
    worker = site.worker("-c", "1", "--disable-prefetch", kind=kind)
    assert worker.text().count(COMPLAINT) == 1
    results = [site.proj.hold_here.delay(str(log), str(gate)) for _ in range(3)]
    eventually(lambda: worker.text().count(" received") == 3, "they were not prefetched")
    gate.touch()
    assert [result.get(timeout=PATIENCE) for result in results] == [0] * 3
