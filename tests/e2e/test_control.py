"""`celery inspect` and `celery control`: the same words to Celery's worker and to ours, and the same kind of answer."""

from __future__ import annotations

import os
import re
import signal

import pytest
from celery.exceptions import TaskRevokedError
from celery.worker.control import Panel
from conftest import PATIENCE, eventually, given_to_a_stopped_child


def shape(value, depth=0):
    """Keys and types; lists by the shapes of their items."""
    if isinstance(value, dict):
        return {key: shape(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({repr(shape(item, depth + 1)) for item in value})
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


class Pair:
    """A Celery worker and ours on one broker, each with a queue of its own."""

    def __init__(self, site, *args: str, env: dict | None = None) -> None:
        self.site = site
        self.app = site.proj.app
        options = ("-c", "2", "--without-gossip", *args)
        self.queues = {"celery": f"{site.queue}-celery", "ours": f"{site.queue}-ours"}
        self.workers = {
            kind: site.worker(*options, "-Q", queue, kind=kind, env=env) for kind, queue in self.queues.items()
        }
        self.names = {"celery": "celery0@test", "ours": "ours1@test"}

    def ask(self, method: str, arguments: dict | None = None) -> dict:
        """Both replies, by kind."""
        found = {}
        for kind, name in self.names.items():
            replies = self.app.control.broadcast(
                method, arguments=arguments or {}, destination=[name], reply=True, timeout=20, limit=1
            )
            assert [list(reply) for reply in replies] == [[name]], (method, kind, replies)
            found[kind] = replies[0][name]
        return found

    def same(self, method: str, arguments: dict | None = None) -> dict:
        """Both replies, which are equal once the nodes' and queues' names are."""
        replies = self.ask(method, arguments)
        assert self.anonymous(replies["ours"], "ours") == self.anonymous(replies["celery"], "celery"), replies
        return replies

    def alike(self, method: str, arguments: dict | None = None) -> dict:
        """Both replies, whose shapes are equal."""
        replies = self.ask(method, arguments)
        assert shape(replies["ours"]) == shape(replies["celery"]), replies
        return replies

    def anonymous(self, value, kind):
        text = repr(sorted(value.items())) if isinstance(value, dict) else repr(value)
        return text.replace(self.queues[kind], "QUEUE").replace(self.names[kind], "NODE")


@pytest.fixture(params=["redis", "rabbit"])
def pair(request):
    return Pair(request.getfixturevalue(f"{request.param}_site"))


@pytest.fixture
def redis_pair(redis_site):
    return Pair(redis_site)


def start_sleepers(pair, seconds=600.0):
    """Two that run, one that waits and one with an ETA, on each worker; their ids by kind and state."""
    ids = {}
    sleep = pair.site.proj.sleep
    for kind, queue in pair.queues.items():
        sent = [sleep.apply_async((seconds,), queue=queue).id for _ in range(2)]
        inspect, name = pair.app.control.inspect(destination=[pair.names[kind]], timeout=20), pair.names[kind]
        eventually(lambda i=inspect, n=name: len(i.active()[n]) == 2)
        waiting = sleep.apply_async((seconds,), queue=queue).id
        later = sleep.apply_async((seconds,), queue=queue, countdown=3600).id
        eventually(lambda i=inspect, n=name: i.scheduled()[n] and i.reserved()[n])
        ids[kind] = {"active": sent, "reserved": [waiting], "scheduled": [later]}
    return ids


#: What each command of Celery's is asked here, in this order, and how the replies are compared.
EVERY = {
    "ping": (Pair.same, {}), "registered": (Pair.same, {"taskinfoitems": ["rate_limit"]}), "dump_tasks": (Pair.same, {"builtins": True}),
    "clock": (Pair.alike, {}), "report": (Pair.alike, {}), "stats": (Pair.alike, {}), "active_queues": (Pair.alike, {}),
    "conf": (Pair.alike, {}), "dump_conf": (Pair.alike, {}), "hello": (Pair.alike, {"from_node": "someone@else", "revoked": ["a", "b"]}),
    "active": (Pair.alike, {"safe": True}), "dump_active": (Pair.alike, {}), "reserved": (Pair.alike, {}), "dump_reserved": (Pair.alike, {}),
    "scheduled": (Pair.alike, {}), "dump_schedule": (Pair.alike, {}), "query_task": (Pair.same, {"ids": ["nobody"]}),
    "revoke": (Pair.same, {"task_id": ["x"]}), "terminate": (Pair.same, {"task_id": "z", "signal": "TERM"}),
    "revoke_by_stamped_headers": (Pair.same, {"headers": {"stamp": "x"}}),
    "revoked": (Pair.alike, {}), "dump_revoked": (Pair.alike, {}), "memsample": (Pair.alike, {}), "memdump": (Pair.ask, {"samples": 1}),
    "objgraph": (Pair.same, {"num": 1}), "rate_limit": (Pair.same, {"task_name": "proj.add", "rate_limit": "9/s"}),
    "time_limit": (Pair.same, {"task_name": "proj.add", "hard": 9}), "election": (Pair.same, {"id": "1", "topic": "t", "action": None}),
    "enable_events": (Pair.same, {}), "disable_events": (Pair.same, {}), "heartbeat": (Pair.same, {}),
    "add_consumer": (Pair.same, {"queue": "one-more", "exchange_type": "direct"}), "cancel_consumer": (Pair.same, {"queue": "one-more"}),
    "pool_grow": (Pair.same, {"n": 2}), "pool_shrink": (Pair.same, {"n": 1}), "autoscale": (Pair.same, {"max": 3, "min": 1}),
    "pool_restart": (Pair.same, {"reload": True}),
}


def test_every_command_of_celerys_is_answered_as_celery_answers_it(pair):
    theirs = {name for name, command in Panel.data.items() if command.__module__ == Panel.__module__}
    # It has no reply: its effect is another test's.
    assert {*EVERY, "shutdown"} == theirs
    for method, (compare, arguments) in EVERY.items():
        compare(pair, method, arguments)


def test_replies_tell_what_they_are_asked_for(pair):
    pair.same("dump_tasks", {"taskinfoitems": ["max_retries", "acks_late", "ignore_result"]})
    assert pair.ask("active_queues")["ours"][0]["name"] == pair.queues["ours"]
    for with_defaults in (False, True):
        settings = pair.ask("conf", {"with_defaults": with_defaults})
        for reply in settings.values():
            # Celery makes it from a set.
            reply["include"].sort()
        assert settings["ours"] == settings["celery"]
    assert pair.ask("hello", {"from_node": "someone@else", "revoked": ["a", "b"]})["ours"]["revoked"][:2] == ["a", "b"]


def test_errors_are_replies(pair):
    pair.same("no_such_command")
    pair.same("revoke")
    pair.same("active_queues", {"x": 1})
    pair.same("autoscale", {"max": 3, "min": 1})
    pair.same("pool_restart")
    pair.same("rate_limit", {"task_name": "nobody", "rate_limit": "1/s"})
    pair.same("rate_limit", {"task_name": "proj.add", "rate_limit": "fast"})
    pair.same("time_limit", {"task_name": "nobody", "soft": 1, "hard": 2})
    pair.same("ping")


def test_control_replies_are_the_same(pair):
    pair.same("rate_limit", {"task_name": "proj.add", "rate_limit": "10/m"})
    pair.same("registered")
    pair.same("rate_limit", {"task_name": "proj.add", "rate_limit": 0})
    pair.same("time_limit", {"task_name": "proj.add", "soft": 1, "hard": 2})
    for method in ("enable_events", "enable_events", "disable_events", "disable_events", "heartbeat"):
        pair.same(method)
    pair.same("pool_grow", {"n": 1})
    pair.same("pool_shrink", {"n": 1})
    pair.same("add_consumer", {"queue": "more"})
    pair.same("cancel_consumer", {"queue": "more"})
    pair.same("revoke", {"task_id": "abc"})
    pair.same("revoke", {"task_id": "abc", "terminate": True})
    pair.same("terminate", {"task_id": ["abc"], "signal": "KILL"})
    pair.same("revoke_by_stamped_headers", {"headers": {"stamp": ["x"]}})
    pair.same("revoke_by_stamped_headers", {"headers": ["stamp=x"], "terminate": True})
    # Without gossip that is an error.
    pair.same("election", {"id": "1", "topic": "t"})
    # Celery shows none once there are more than ten.
    for _ in range(8):
        pair.ask("memsample")
    dumps = pair.ask("memdump", {"samples": 3})
    sizes = {kind: re.sub(r"[\d.]+[GMK]B", "SIZE", text) for kind, text in dumps.items()}
    assert sizes["ours"] == sizes["celery"] and sizes["ours"].count("SIZE") == 9
    pair.same("objgraph", {"num": 1, "nothing": 2})
    # The library is not there.
    pair.same("objgraph", {"num": 1})


def test_held_tasks_are_shown_while_all_children_are_busy(pair):
    ids = start_sleepers(pair)
    pair.alike("active")
    pair.alike("active", {"safe": True})
    pair.alike("reserved")
    pair.alike("scheduled")
    for kind, name in pair.names.items():
        inspect = pair.app.control.inspect(destination=[name], timeout=20)
        every = sum(ids[kind].values(), [])
        found = {state: [id for id, (told, _) in inspect.query_task(*every)[name].items() if told == state] for state in ids[kind]}
        assert {state: sorted(items) for state, items in found.items()} == {s: sorted(i) for s, i in ids[kind].items()}
        assert all(info["args"] == [600.0] and info["worker_pid"] for info in inspect.active()[name])
    stats = pair.ask("stats")
    assert stats["ours"]["total"] == stats["celery"]["total"] == {"proj.sleep": 2}
    writes = {kind: reply["pool"]["writes"] for kind, reply in stats.items()}
    assert writes["ours"] == writes["celery"] and writes["ours"]["raw"] == "1, 1"
    assert stats["ours"]["prefetch_count"] == stats["celery"]["prefetch_count"] == 9


def test_revoke_and_terminate_take_effect(redis_pair):
    pair = redis_pair
    ids = start_sleepers(pair)
    name, held = pair.names["ours"], ids["ours"]
    result = pair.app.AsyncResult
    running, other = held["active"]
    pair.app.control.revoke(held["reserved"] + held["scheduled"], destination=[name], reply=True, timeout=20, limit=1)
    assert {result(id).state for id in held["reserved"] + held["scheduled"]} == {"REVOKED"}
    pair.app.control.terminate(running, signal="SIGKILL", destination=[name], reply=True, timeout=20, limit=1)
    eventually(lambda: result(running).state == "REVOKED")
    assert result(other).state in ("PENDING", "STARTED")
    log = pair.workers["ours"].text
    eventually(lambda: f"Discarding revoked task: proj.sleep[{held['reserved'][0]}]" in log())
    assert f"Terminating {running} (9)" in log()
    never = pair.site.proj.add.apply_async((1,), queue="elsewhere").id
    pair.app.control.revoke(never, destination=[name], reply=True, timeout=20, limit=1)
    assert result(never).state == "REVOKED"


def test_rate_limit_holds_back(redis_pair):
    pair = redis_pair
    pair.same("rate_limit", {"task_name": "proj.add", "rate_limit": "1/h"})
    sent = [pair.site.proj.add.apply_async((n,), queue=pair.queues["ours"]) for n in range(3)]
    eventually(lambda: sum(result.ready() for result in sent) == 1)
    pair.same("rate_limit", {"task_name": "proj.add", "rate_limit": None})
    assert [result.get(timeout=30) for result in sent] == [1, 2, 3]


def test_time_limit_ends_tasks(redis_pair):
    pair = redis_pair
    pair.same("time_limit", {"task_name": "proj.sleep", "hard": 0.5})
    result = pair.site.proj.sleep.apply_async((30,), queue=pair.queues["ours"])
    eventually(lambda: result.state == "FAILURE")
    assert "TimeLimitExceeded" in repr(result.result)


def test_queues_come_and_go(pair):
    name = pair.names["ours"]
    queue = f"{pair.site.queue}-new"
    pair.app.control.add_consumer(queue, destination=[name], reply=True, timeout=20, limit=1)
    eventually(lambda: f"Started consuming from {queue}" in pair.workers["ours"].text())
    assert pair.site.proj.add.apply_async((4,), queue=queue).get(timeout=30) == 5
    pair.app.control.cancel_consumer(queue, destination=[name], reply=True, timeout=20, limit=1)
    names = lambda: [q["name"] for q in pair.app.control.inspect(destination=[name], timeout=20).active_queues()[name]]  # noqa: E731
    eventually(lambda: names() == [pair.queues["ours"]])


def test_pool_grows(redis_pair):
    pair, name = redis_pair, redis_pair.names["ours"]
    processes = lambda: pair.ask("stats")["ours"]["pool"]["processes"]  # noqa: E731
    assert len(eventually(lambda: len(processes()) == 2 and processes())) == 2
    pair.app.control.pool_grow(2, destination=[name], reply=True, timeout=20, limit=1)
    eventually(lambda: len(processes()) == 4)
    stats = pair.ask("stats")["ours"]
    assert (stats["prefetch_count"], stats["pool"]["max-concurrency"]) == (16, 4)


def test_what_is_revoked_before_it_began_never_runs(redis_site, tmp_path):
    """Also when it is with a child already, which has not come to it."""
    worker = redis_site.worker("-c", "1", "--without-gossip")
    log = tmp_path / "runs"
    child, result = given_to_a_stopped_child(redis_site, worker, log)
    redis_site.proj.app.control.revoke(result.id, reply=True, timeout=20, limit=1)
    os.kill(child, signal.SIGCONT)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    # The child works off one task after the other.
    assert redis_site.proj.add.delay(1, 2).get(timeout=PATIENCE) == 3
    assert log.read_text() == ""


def test_patterns_choose_nodes(pair):
    ping = lambda **kwargs: pair.app.control.ping(timeout=2, **kwargs)  # noqa: E731
    told = lambda replies: sorted(name for reply in replies for name in reply)  # noqa: E731
    both = sorted(pair.names.values())
    assert told(pair.app.control.broadcast("ping", reply=True, timeout=20, limit=2)) == both
    for pattern, matcher, expected in [
        ("ours*", "glob", [pair.names["ours"]]), ("*@test", "glob", both), (r"\w+1@", "pcre", [pair.names["ours"]])
    ]:
        options = {"timeout": 20, "limit": len(expected), "pattern": pattern, "matcher": matcher}
        replies = pair.app.control.broadcast("ping", reply=True, **options)
        assert told(replies) == expected, pattern
    assert ping(destination=["nobody@test"]) == []


def test_shutdown_ends_the_worker(pair):
    pair.app.control.shutdown(destination=[pair.names["ours"]])
    assert pair.workers["ours"].process.wait(60) == 0
    assert "Got shutdown from remote" in pair.workers["ours"].text()
    assert not pair.workers["celery"].ended()


def test_remote_control_can_be_off(redis_site):
    worker = redis_site.worker("-c", "1", "worker.enable_remote_control=False")
    assert redis_site.proj.app.control.ping(timeout=1) == []
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0


def test_events_are_switched_on(pair):
    name, seen = pair.names["ours"], []
    pair.app.control.enable_events(destination=[name], reply=True, timeout=20, limit=1)
    with pair.app.connection_for_read() as own:
        receiver = pair.app.events.Receiver(own, handlers={"*": seen.append})
        with receiver.consumer_context() as (connection, _, _):

            def seen_one(**fields):
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    pass
                return any(fields.items() <= event.items() for event in seen)

            eventually(lambda: seen_one(type="worker-heartbeat", hostname=name))
            result = pair.site.proj.add.apply_async((1,), queue=pair.queues["ours"])
            eventually(lambda: seen_one(type="task-succeeded", uuid=result.id))
    kinds = [event["type"] for event in seen if event.get("uuid") == result.id]
    assert kinds == ["task-received", "task-started", "task-succeeded"]


def test_mingle_works_both_ways(site_of_neighbours):
    site = site_of_neighbours
    control = site.proj.app.control
    revoked = lambda name: control.inspect(destination=[name], timeout=20).revoked()[name]  # noqa: E731
    first = site.worker("-c", "1", kind="celery")
    control.revoke("from-celery", destination=["celery0@test"], reply=True, timeout=20, limit=1)
    ours = site.mingled("-c", "1", nodes=1, name="ours1@test")
    assert "mingle: sync complete" in ours.text()
    assert revoked("ours1@test") == ["from-celery"]
    assert "sync with ours1@test" in first.text()
    control.revoke("from-ours", destination=["ours1@test"], reply=True, timeout=20, limit=1)
    site.mingled("-c", "1", kind="celery", nodes=2, name="celery2@test")
    assert "sync with celery2@test" in ours.text()
    assert set(revoked("celery2@test")) == {"from-celery", "from-ours"}


def test_mingle_can_be_alone_or_left_out(redis_site):
    alone = redis_site.worker("-c", "1")
    assert "mingle: all alone" in alone.text()
    assert "mingle" not in redis_site.worker("-c", "1", "--without-mingle").text()


@pytest.fixture(params=["redis", "rabbit"])
def site_of_neighbours(request):
    return request.getfixturevalue(f"{request.param}_site")


def test_active_tasks_end_by_their_stamps(redis_pair):
    pair = redis_pair
    held = {}
    for kind, queue in pair.queues.items():
        stamped = pair.site.proj.sleep.s(60)
        stamped.stamp(customer="a")
        held[kind] = stamped.apply_async(queue=queue)
        inspect = pair.app.control.inspect(destination=[pair.names[kind]], timeout=20, limit=1)
        eventually(lambda i=inspect, k=kind: i.active()[pair.names[k]])
    pair.same("revoke_by_stamped_headers", {"headers": {"customer": ["b"]}, "terminate": True})
    pair.same("revoke_by_stamped_headers", {"headers": {"customer": ["a", "c"]}, "terminate": True, "signal": "SIGKILL"})
    for result in held.values():
        eventually(lambda r=result: r.state == "REVOKED", "it was not ended")


def test_replies_with_another_serializer(redis_site):
    pair = Pair(redis_site, env={"PROJ_SERIALIZER": "msgpack"})
    # What is not msgpack would raise here.
    pair.app.control.mailbox.accept = ["msgpack"]
    pair.same("ping")
    pair.alike("stats")
    pair.alike("active_queues")


def test_the_pool_restarts(redis_site, tmp_path):
    """Children are replaced once they have ended what they run, and have loaded the app anew. (Celery's are when they come to
    the next task.)"""
    pair = Pair(redis_site, "worker.pool_restarts=True")
    log, gate = tmp_path / "runs", tmp_path / "gate"
    log.touch()
    proj, queue = redis_site.proj, pair.queues["ours"]
    processes = lambda: {k: set(r["pool"]["processes"]) for k, r in pair.ask("stats").items()}  # noqa: E731
    before = eventually(lambda: (found := processes()) and all(len(pids) == 2 for pids in found.values()) and found)
    loaded = proj.when_loaded.apply_async(queue=queue).get(timeout=PATIENCE)
    held = proj.hold_here.apply_async((str(log), str(gate)), queue=queue)
    eventually(lambda: log.read_text(), "it did not begin")
    pair.same("pool_restart", {"reload": False})
    eventually(lambda: len(processes()["ours"] & before["ours"]) == 1, "the idle child was not replaced")
    assert proj.when_loaded.apply_async(queue=queue).get(timeout=PATIENCE) != loaded
    gate.touch()
    assert held.get(timeout=PATIENCE) == 0
    eventually(lambda: not processes()["ours"] & before["ours"] and len(processes()["ours"]) == 2, "the busy one was not")
    # And once more, with a zygote that has never been the first.
    again = processes()["ours"]
    pair.same("pool_restart")
    eventually(lambda: not processes()["ours"] & again and len(processes()["ours"]) == 2, "not a second time")
    assert proj.add.apply_async((1, 2), queue=queue).get(timeout=PATIENCE) == 3
    assert pair.workers["ours"].terminate() == 0
    assert "the zygote has died" not in pair.workers["ours"].text()
