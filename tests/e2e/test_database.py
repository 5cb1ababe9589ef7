"""Results in databases: the same rows as Celery's worker, for every way in which a task can end."""

import contextlib
import datetime
import json
import pickle
import re
import sqlite3

import pytest
import sqlalchemy
from celery import chord, group
from conftest import PATIENCE, Site, eventually

#: Half an hour off everybody: a time in another zone would be seen.
ZONE = {"timezone": "Asia/Kolkata", "enable_utc": False}
CONF = {**ZONE, "result_extended": True, "task_track_started": True, "result_chord_retry_interval": 0.05}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request, tmp_path):
    """An URL of SQLAlchemy's, of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/results.db"
    else:
        with request.getfixturevalue(f"{request.param}_server").fresh() as url:
            yield url


def database_site(redis_server, tmp_path, url, conf):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJ_CONF", json.dumps(conf))
        return Site(redis_server.url(0), f"db+{url}", tmp_path)


@pytest.fixture
def site(redis_server, tmp_path, database):
    found = database_site(redis_server, tmp_path, database, CONF)
    yield found
    found.destroy()


def rows(url, table="celery_taskmeta"):
    """All rows of a table, by the task's or the group's id."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(sqlalchemy.text(f"SELECT * FROM {table}")).mappings()]
    engine.dispose()
    for row in found:
        row.pop("id")
        for name, value in row.items():
            row[name] = bytes(value) if isinstance(value, memoryview) else value
    return {row.pop("task_id" if "task_id" in row else "taskset_id"): row for row in found}


def endings(proj, log):
    """Sends tasks that end in every way, and waits for their ends; their ids by their names."""
    sent = {
        "success": proj.add.delay(2, y=40),
        "sum": proj.total.delay([1, 2]),
        "failure": proj.fail.delay("né"),
        "retry": proj.retry.delay("x"),
        "ignored": proj.ignore.delay(),
        "rejected": proj.reject.delay(),
        "custom": proj.state.delay(),
        "lost": proj.die.delay(3),
        "unknown": proj.app.send_task("proj.unheard_of"),
    }
    sent["chain"] = (proj.add.s(1) | proj.add.s(1) | proj.fail.si("end") | proj.add.si(1)).apply_async()
    for result in (link for name in ("success", "failure", "chain") for link in ancestors(sent[name])):
        sent.setdefault(f"of {result.id}", result)
    joined = chord([proj.add.s(n) for n in range(3)], proj.total.s())()
    assert joined.get(timeout=PATIENCE) == 6
    sent["body"] = joined
    for number, part in enumerate(joined.parent.results):
        sent[f"part {number}"] = part
    errback = proj.note_error.s(str(log))
    broken = chord([proj.add.s(1), proj.fail.s("part")], proj.total.s().on_error(errback))()
    eventually(lambda: broken.id in log.read_text(), "the errback was not called")
    sent["broken body"] = broken
    for name, result in sent.items():
        if name not in ("ignored", "rejected"):
            eventually(result.ready, f"{name} did not end")
    return {name: result.id for name, result in sent.items()}


def ancestors(result):
    while result is not None:
        yield result
        result = result.parent


def written_by(site, kind, log):
    """The rows of those tasks by their names, from one worker."""
    log.touch()
    worker = site.worker("-c", "2", "--without-gossip", "--without-mingle", kind=kind, name="w@test")
    ids = endings(site.proj, log)
    # A task that is ignored has had its start recorded, and nothing else; wait for it to be over.
    eventually(lambda: f"[{ids['ignored']}] ignored" in worker.text(), "it was not ignored")
    if kind == "ours":
        assert worker.terminate() == 0, worker.text()
    # Celery's own may hang at its end.
    worker.destroy()
    found = rows(site.backend.removeprefix("db+"))
    names = {id: name for name, id in ids.items() if not name.startswith("of ")}
    return {name: found[id] for id, name in names.items() if id in found}, worker


def normalized(row):
    row = dict(row)
    row.pop("date_done")
    row["traceback"] = row["traceback"] and row["traceback"].strip().splitlines()[-1]
    for column in ("result", "children", "args", "kwargs", "stamps"):
        if row.get(column) is not None:
            value = row[column]
            row[column] = pickle.loads(value) if value[:1] == b"\x80" else json.loads(value)
    if isinstance(row["result"], dict) and "exc_message" in row["result"]:
        # A tuple in Python's pickle, and made one again in any case.
        row["result"]["exc_message"] = [re.sub(r"Job: \d+", "Job: n", str(text)) for text in row["result"]["exc_message"]]
    # Processes and tasks are others in each run.
    if isinstance(row["result"], dict):
        row["result"].pop("pid", None)
        row["result"].pop("hostname", None)
    row["children"] = row.get("children") and len(row["children"])
    if row["worker"] is not None:
        row["worker"] = "a worker"
    return row


def test_the_same_rows(site, tmp_path):
    theirs, _ = written_by(site, "celery", tmp_path / "theirs")
    ours, worker = written_by(site, "ours", tmp_path / "ours")
    assert "stored by the Python side" not in worker.text()
    assert set(ours) == set(theirs)
    for name, row in theirs.items():
        assert normalized(ours[name]) == normalized(row), name
        assert (ours[name]["date_done"] is None) == (row["date_done"] is None), name
        if row["date_done"] is not None:
            when, then = (as_datetime(each["date_done"]) for each in (ours[name], row))
            assert abs(when - then) < datetime.timedelta(minutes=29), f"{name}: another time zone"


def as_datetime(value):
    return datetime.datetime.fromisoformat(value) if isinstance(value, str) else value


def test_tables_are_as_sqlalchemy_makes_them(redis_server, tmp_path, database):
    """Ours, made by a worker without Python, and Celery's own."""
    site = database_site(redis_server, tmp_path, database, {"database_create_tables_at_setup": False})
    native = {"CELERY_RESULT_BACKEND": site.backend, "CELERY_BROKER_URL": site.broker}
    worker = site.worker("-c", "1", app=False, kind="native", env=native)
    engine = sqlalchemy.create_engine(database)
    try:
        eventually(lambda: sqlalchemy.inspect(engine).has_table("celery_tasksetmeta"), worker.text())
        ours = schema(engine)
        with engine.begin() as connection:
            for table in ("celery_taskmeta", "celery_tasksetmeta"):
                connection.execute(sqlalchemy.text(f"DROP TABLE {table}"))
        site.proj.app.backend.ResultSession()
        assert schema(engine) == ours
    finally:
        engine.dispose()
        site.destroy()


def schema(engine):
    inspector = sqlalchemy.inspect(engine)
    found = {}
    for table in ("celery_taskmeta", "celery_tasksetmeta"):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)]
        indexes = sorted((i["name"], i["column_names"], bool(i["unique"])) for i in inspector.get_indexes(table))
        unique = sorted(u["column_names"] for u in inspector.get_unique_constraints(table))
        found[table] = columns, indexes, unique, inspector.get_pk_constraint(table)["constrained_columns"]
    return found


def test_groups_and_forgetting(site):
    site.worker("-c", "2")
    result = group(site.proj.add.s(n) for n in range(3)).apply_async()
    result.save()
    assert result.get(timeout=PATIENCE) == [1, 2, 3]
    restored = site.proj.app.GroupResult.restore(result.id)
    assert [part.id for part in restored.results] == [part.id for part in result.results]
    part = result.results[0]
    part.forget()
    assert part.id not in rows(site.backend.removeprefix("db+"))
    site.proj.app.backend.expires = datetime.timedelta(days=-1)
    site.proj.app.tasks["celery.backend_cleanup"].run()
    assert rows(site.backend.removeprefix("db+")) == {}


def test_native_tasks_read_as_pythons(site):
    """A native task's row reads as that of the Python task in whose place it is."""
    python = site.worker("-c", "1", kind="celery", name="w@test")
    theirs = [site.proj.native_add.delay(1, y=2), site.proj.native_fail.delay("né")]
    for result in theirs:
        eventually(result.ready, python.text())
    python.destroy()
    worker = site.worker("-c", "1", kind="native", name="w@test")
    ours = [site.proj.native_add.delay(1, y=2), site.proj.native_fail.delay("né")]
    assert ours[0].get(timeout=PATIENCE) == 3
    with pytest.raises(ValueError, match="né"):
        ours[1].get(timeout=PATIENCE)
    assert worker.terminate() == 0
    found = rows(site.backend.removeprefix("db+"))
    for mine, other in zip(ours, theirs):
        mine, other = normalized(found[mine.id]), normalized(found[other.id])
        assert mine == other


def test_chords_with_native_parts_and_bodies(site, tmp_path):
    """They are joined by `celery.chord_unlock`, which reads what was stored here."""
    log = tmp_path / "errbacks"
    log.touch()
    proj = site.proj
    worker = site.worker("-c", "2", kind="native")
    joined = chord([proj.native_add.s(1), proj.add.s(2), proj.native_add.s(3)], proj.total.s())()
    assert joined.get(timeout=PATIENCE) == 9
    body = chord([proj.add.s(1)], proj.native_add.s(y=[2]))()
    eventually(body.ready, worker.text())
    sent = proj.native_send.delay(chord([proj.add.s(n) for n in range(3)], proj.total.s())).get(timeout=PATIENCE)
    assert proj.app.AsyncResult(sent).get(timeout=PATIENCE) == 6, "a chord that a native task has sent"
    errback = proj.note_error.s(str(log))
    broken = chord([proj.add.s(1), proj.native_fail.s("part")], proj.total.s().on_error(errback))()
    eventually(lambda: f"{broken.id} ChordError" in log.read_text(), "the errback was not called")
    eventually(broken.ready, worker.text())
    assert "ValueError('part')" in str(proj.app.backend.get_result(broken.id))


def test_two_workers_on_one_database(site, tmp_path):
    """Celery's worker and ours: every task has its row, and nobody has locked out the other one."""
    workers = [site.worker("-c", "2"), site.worker("-c", "2"), site.worker("-c", "2", kind="celery")]
    results = [site.proj.add.delay(n) for n in range(150)]
    for number, result in enumerate(results):
        assert result.get(timeout=PATIENCE) == number + 1
    for worker in workers:
        assert "database is locked" not in worker.text()
    for worker in workers[:2]:
        assert worker.terminate() == 0


def test_a_locked_file_is_waited_for(redis_server, tmp_path):
    """Longer than SQLite itself waits; nothing is lost."""
    path = tmp_path / "results.db"
    site = database_site(redis_server, tmp_path, f"sqlite:///{path}?timeout=0.05", CONF)
    try:
        worker = site.worker("-c", "2")
        assert site.proj.native_add.delay(1).get(timeout=PATIENCE) == 2
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            results = [site.proj.add.delay(n) for n in range(20)]
            eventually(lambda: "Failed operation _store_result. Retrying inf more times." in worker.text())
            other.execute("ROLLBACK")
        assert [result.get(timeout=PATIENCE) for result in results] == list(range(1, 21))
        assert worker.terminate() == 0
    finally:
        site.destroy()


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_server_that_was_killed_is_waited_for(request, redis_server, tmp_path, name):
    """Nothing is lost, and the worker comes back by itself."""
    server = request.getfixturevalue(f"{name}_server")
    with server.fresh() as url:
        site = database_site(redis_server, tmp_path, url, {})
        try:
            worker = site.worker("-c", "2", kind="native")
            assert site.proj.add.delay(1).get(timeout=PATIENCE) == 2
            server.kill()
            tasks = [site.proj.add, site.proj.native_add]
            results = [tasks[n % 2].delay(n) for n in range(40)]
            eventually(lambda: "Failed operation _store_result. Retrying inf more times." in worker.text())
            server.run()
            server.execute("SELECT 1")
            assert [result.get(timeout=PATIENCE) for result in results] == list(range(1, 41))
            assert "p@ss" not in worker.text() and "p%40ss" not in worker.text()
            assert worker.terminate() == 0
        finally:
            site.destroy()


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        ("db+sqlite://", "in memory (:memory:)"),
        ("db+sqlite:///:memory:", "in memory (:memory:)"),
        ("db+sqlite:///r.db?strange=1", "its parameter strange is not supported"),
        ("db+sqlite://host/r.db", "sqlite:// names no host"),
        ("database", "Missing connection string!"),
    ],
)
def test_what_cannot_be_is_refused(redis_server, tmp_path, backend, line):
    site = Site(redis_server.url(0), None, tmp_path)
    env = {"CELERY_RESULT_BACKEND": backend, "CELERY_BROKER_URL": site.broker}
    refused(site, line, kind="native", app=False, env=env)


@pytest.mark.parametrize("option", ["execution_options", "unheard_of"])
def test_options_that_would_be_missed_are_refused_by_name(redis_server, tmp_path, option):
    url = f"sqlite:///{tmp_path}/r.db"
    site = database_site(redis_server, tmp_path, url, {"database_create_tables_at_setup": False})
    conf = {"database_engine_options": {option: {}}, "database_create_tables_at_setup": False}
    refused(site, f"database_engine_options: {option} is not supported", env={"PROJ_CONF": json.dumps(conf)})


def test_sqlalchemy_that_is_missing_is_named(redis_server, tmp_path):
    """A child needs it for what a task asks of the backend."""
    (tmp_path / "sqlalchemy.py").write_text("raise ModuleNotFoundError(name='sqlalchemy')")
    site = database_site(redis_server, tmp_path, f"sqlite:///{tmp_path}/r.db", {})
    refused(site, "The database result backend requires SQLAlchemy to be installed.", env={"PYTHONPATH": str(tmp_path)})


def refused(site, line, **options):
    try:
        worker = site.worker("-c", "1", ready=False, **options)
        assert worker.process.wait(PATIENCE) != 0
        assert line in worker.text()
        assert "Traceback" not in worker.text()
    finally:
        site.destroy()
