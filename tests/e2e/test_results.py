"""Every URL of a result backend: how tasks end under our worker and under Celery's, as Celery's client reads it.

The broker is Redis, or RabbitMQ where it carries the results.
"""

import contextlib
import json
import re

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import chain, chord, group
from celery.exceptions import ChordError, NotRegistered, TaskRevokedError
from conftest import PATIENCE, QUIET, Fleet, eventually

from brokers import Memcached, Redis

BACKENDS = [
    "redis", "rediss", "redis+socket", "sentinel", "db+sqlite", "db+postgresql", "db+mysql", "file", "cache+memcached",
    "document_backend:DocumentBackend", "rpc",
]
#: For all but `rpc://`, which keeps nothing and knows no chords.
of_stores = pytest.mark.parametrize("fleet", BACKENDS[:-1], indirect=True, scope="module")
#: The state in which a task stays, and what its result is.
ENDINGS = {
    "success": ("SUCCESS", int),
    "failure": ("FAILURE", ValueError),
    "native success": ("SUCCESS", int),
    "native failure": ("FAILURE", ValueError),
    "to be tried again": ("RETRY", type(None)),
    "native to be tried again": ("RETRY", type(None)),
    "tried again": ("SUCCESS", int),
    "native tried again": ("SUCCESS", int),
    "chain": ("SUCCESS", int),
    "native middle of a chain": ("SUCCESS", int),
    "broken chain": ("FAILURE", ValueError),
    "lost": ("FAILURE", WorkerLostError),
    "too long": ("FAILURE", TimeLimitExceeded),
    "expired": ("REVOKED", TaskRevokedError),
    "revoked": ("REVOKED", TaskRevokedError),
    "unknown": ("FAILURE", NotRegistered),
    "ignored": ("PENDING", type(None)),
    "native ignored": ("PENDING", type(None)),
}


@pytest.fixture(scope="module")
def address(request, way, tmp_path_factory):
    """Finds a backend's URL by the words of `BACKENDS`, and the options that go with it."""
    with contextlib.ExitStack() as stack:

        def find(backend):
            directory = tmp_path_factory.mktemp("results")
            match backend:
                case "rpc":
                    return "rpc://", {}
                case "db+sqlite":
                    return f"db+sqlite:///{directory}/results.db", {}
                case "db+postgresql" | "db+mysql":
                    server = request.getfixturevalue("postgresql_server" if "postgres" in backend else "mariadb_server")
                    return f"db+{stack.enter_context(server.fresh())}", {}
                case "cache+memcached":
                    return stack.enter_context(Memcached()).url(), {}
                case "file":
                    return f"file://{directory}", {}
                case own if ":" in own:
                    return f"{own}+file://{directory}", {}
            found = way(backend)
            return found.url(3), found.options

        yield find


@pytest.fixture(scope="module", params=BACKENDS)
def fleet(request, address, one_redis, tmp_path_factory):
    url, options = address(request.param)
    broker = request.getfixturevalue("rabbit_server").url() if url == "rpc://" else one_redis.url(0)
    conf = {"result_backend_transport_options": options, "result_chord_retry_interval": 0.05}
    fleet = Fleet(broker, url, tmp_path_factory.mktemp("fleet"), **conf)
    try:
        yield fleet.start()
    finally:
        fleet.destroy()


def spares(fleet):
    """Children that Celery's worker forks after it has itself written to memcached share a connection with it, and each
    reads what was for the other. So none of them is ended.
    """
    return fleet.backend.startswith("cache+memcached")


def got(result, **options):
    return result.get(timeout=PATIENCE, interval=0.05, **options)


def sent_to(fleet, queue, spared):
    """Tasks of all endings, on one of the queues. One is too late only to the worker: RabbitMQ drops what it knows to be."""
    proj = fleet.proj

    def send(signature, **options):
        return signature.apply_async(queue=queue, **options)

    revoked = proj.add.s(1).set(queue=queue)
    fleet.proj.app.control.revoke(revoked.freeze().id, reply=True, timeout=PATIENCE, limit=2)
    chained = send(chain(proj.add.s(1), proj.native_add.s(1).set(queue=queue), proj.add.s(1).set(queue=queue)))
    return {
        "success": send(proj.add.s(2, y=40)),
        "failure": send(proj.fail.s("né")),
        "native success": send(proj.native_add.s(2, y=40)),
        "native failure": send(proj.native_fail.s("né")),
        "to be tried again": send(proj.retry_in.s(3600)),
        "native to be tried again": send(proj.native_retry_in.s(3600)),
        "tried again": send(proj.retry.s("k")),
        "native tried again": send(proj.native_hold_and_retry.s("/dev/null", "/dev/null")),
        "chain": chained,
        "native middle of a chain": chained.parent,
        "broken chain": send(chain(proj.native_fail.s("né"), proj.add.si(1).set(queue=queue))),
        "expired": send(proj.add.s(1), headers={"expires": "2020-01-01T00:00:00+00:00"}),
        "revoked": revoked.apply_async(),
        "unknown": proj.app.send_task("proj.unheard_of", queue=queue),
        "ignored": send(proj.add.s(1), ignore_result=True),
        "native ignored": send(proj.native_add.s(1), ignore_result=True),
        **({} if spared else {"lost": send(proj.die.s(-9)), "too long": send(proj.sleep.s(60), time_limit=0.5)}),
    }


#: Of which the client hears nothing.
SILENT = ("ignored", "native ignored")


def read(result, names):
    """What the client reads of a task; what is another one in each run has a name of `names`."""
    meta = dict(result._get_task_meta())
    meta.update(result=repr(meta["result"]), date_done=bool(meta.get("date_done")), children=meta.get("children") or [])
    meta["traceback"] = (meta.get("traceback") or "").strip().rpartition("\n")[2]
    text = json.dumps(meta, default=repr, sort_keys=True)
    for name, shown in names.items():
        text = text.replace(name, shown)
    return json.loads(re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|Job: \d+", "<id>", text))


def test_every_ending(fleet):
    sent = {kind: sent_to(fleet, queue, kind == "celery" and spares(fleet)) for kind, queue in fleet.queues.items()}
    for kind, results in sent.items():
        for name in SILENT:
            log = f"[{results[name].id}] succeeded"
            eventually(lambda: any(log in worker.text() for worker in fleet.workers), f"{name} did not end")
        for name, result in results.items():
            state, expected = ENDINGS[name]
            eventually(lambda: result.state == state, f"{name} of {kind} is not {state}")
            assert isinstance(result.result, expected), f"{name} of {kind}: {result.result!r}"
    assert set(sent["native"]) == set(ENDINGS)
    for name in sent["celery"]:
        ours, theirs = (
            read(sent[kind][name], {queue: "<queue>", f"{kind}@test": "<worker>"}) for kind, queue in fleet.queues.items()
        )
        assert ours == theirs, name


def test_what_is_got_is_raised(fleet):
    for add, fail in (fleet.proj.add, fleet.proj.fail), (fleet.proj.native_add, fleet.proj.native_fail):
        assert got(add.delay(2, y=40)) == 42
        with pytest.raises(ValueError, match="né"):
            got(fail.delay("né"))
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        got(fleet.proj.die.delay(-9))
    parts = [fleet.proj.add.s(1), fleet.proj.native_add.s(2), fleet.proj.add.s(3).set(queue=fleet.theirs)]
    assert got(group(parts).apply_async()) == [2, 3, 4]


@of_stores
def test_chords_are_joined_whoever_is_last(fleet):
    """The last part is one of Python's or of Rust's, here or in Celery's worker; and so is the body."""
    proj, gate, log = fleet.proj, fleet.directory / "gate", fleet.directory / "begun"
    log.touch()
    here, native = proj.hold_here.s(str(log), str(gate)), proj.native_hold.s(str(log), str(gate))
    there = here.clone().set(queue=fleet.theirs)

    def send(last, queue):
        others = [proj.add.s(1), proj.native_add.s(1), proj.add.s(1).set(queue=fleet.theirs)]
        return chord([*others, last])(proj.total.s().set(queue=queue))

    sent = [(send(here, fleet.theirs), "celery"), (send(native, fleet.queue), "native"), (send(there, fleet.queue), "native")]
    for body, _ in sent:
        eventually(lambda: all(part.ready() for part in body.parent.results[:-1]), "the other parts did not end")
    gate.touch()
    for body, kind in sent:
        assert got(body) == 6
        assert body.worker == f"{kind}@test"


@of_stores
def test_chords_with_a_part_that_fails(fleet):
    """The body's error is the same, whichever worker it falls to to tell of it."""
    proj = fleet.proj
    failing = [proj.fail.s("part"), proj.native_fail.s("part"), proj.fail.s("part").set(queue=fleet.theirs)]
    dying = [proj.die.s(-9).set(queue=queue) for kind, queue in fleet.queues.items() if kind == "native" or not spares(fleet)]
    sent = []
    for part, error in [*((part, "ValueError") for part in failing), *((part, "WorkerLostError") for part in dying)]:
        bodies = [chord([proj.add.s(1), part])(proj.total.s().set(queue=queue)) for queue in fleet.queues.values()]
        sent.append((bodies, error))
    for bodies, error in sent:
        for body in bodies:
            with pytest.raises(ChordError, match=error):
                got(body, follow_parents=False)
        ours, theirs = (read(body, {queue: "<queue>"}) for body, queue in zip(bodies, fleet.queues.values()))
        assert ours == theirs


@of_stores
def test_results_are_kept_until_they_are_forgotten(fleet):
    proj, app = fleet.proj, fleet.proj.app
    saved = group([proj.add.s(1), proj.native_add.s(2), proj.add.s(3).set(queue=fleet.theirs)]).apply_async()
    saved.save()
    assert got(app.GroupResult.restore(saved.id)) == [2, 3, 4]
    for part in saved.results:
        assert app.AsyncResult(part.id).state == "SUCCESS"
        part.forget()
        assert app.AsyncResult(part.id).state == "PENDING"
    saved.delete()
    app.backend._cache.clear()
    assert app.GroupResult.restore(saved.id) is None


@pytest.mark.parametrize("kind", ["celery", "ours"])
def test_a_store_that_is_away_is_waited_for_when_told(one_redis, tmp_path, kind):
    """`result_backend_always_retry` goes on where the policy of the transport gives up."""
    log, gate = tmp_path / "begun", tmp_path / "gate"
    policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    conf = {"result_backend_always_retry": True, "result_backend_transport_options": {"retry_policy": policy}}
    with Redis() as store:
        site = Fleet(one_redis.url(0), store.url(0), tmp_path, **conf)
        try:
            worker = site.worker("-c", "1", *QUIET, kind=kind)
            result = site.proj.hold_here.delay(str(log), str(gate))
            eventually(log.exists, "it did not begin")
            store.process.kill()
            store.process.wait()
            gate.touch()
            eventually(lambda: "Failed operation _store_result. Retrying inf more times." in worker.text(), worker.text())
            store.start()
            eventually(lambda: site.proj.app.AsyncResult(result.id).state == "SUCCESS", worker.text())
        finally:
            site.destroy()
