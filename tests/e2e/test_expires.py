"""Tasks that expire before they begin."""

from datetime import datetime, timedelta, timezone

import pytest
from celery.exceptions import TaskRevokedError
from conftest import eventually


@pytest.mark.parametrize(
    ("kind", "blocks", "waits"),
    [
        ("celery", "hold", "add"),
        ("ours", "hold", "add"),
        ("native", "native_hold", "native_add"),
    ],
)
def test_what_waits_for_a_seat_expires(redis_site, tmp_path, kind, blocks, waits):
    worker = redis_site.worker("-c", "1", kind=kind)
    gate = tmp_path / "gate"
    (tmp_path / "log").touch()
    blocking = redis_site.proj.app.signature(f"proj.{blocks}").delay(str(tmp_path / "log"), str(gate))
    expires = datetime.now(timezone.utc) + timedelta(seconds=2)
    expiring = redis_site.proj.app.signature(f"proj.{waits}").apply_async((1,), expires=expires)
    eventually(lambda: f"{waits}[{expiring.id}] received" in worker.text())
    eventually(lambda: datetime.now(timezone.utc) > expires)
    gate.touch()
    with pytest.raises(TaskRevokedError, match="expired"):
        expiring.get(timeout=30)
    assert blocking.get(timeout=30) == 0
