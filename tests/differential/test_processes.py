"""The lives of children: what is called at their start, around each task, and at their end."""

import json

import pytest

LOADER = {"DIFF_LOADER": "project.loader:Loader"}


def lives(side) -> list[list[str]]:
    """What each child has done that has run a task of ours, in order."""
    by_pid: dict[int, list[str]] = {}
    for line in side.ledger.read_text().splitlines():
        record = json.loads(line)
        if record["where"] == "child":
            fields = {key: value for key, value in record.get("fields", {}).items() if key in ("exitcode", "state", "signal")}
            words = [record["what"], record.get("sender", ""), record.get("task", ""), record.get("text", "")]
            by_pid.setdefault(record["pid"], []).append(" ".join([*filter(None, words), str(fields or "")]).strip())
    return [without_fences(life) for life in by_pid.values() if any(words.startswith(("mark", "dies")) for words in life)]


def without_fences(life: list[str]) -> list[str]:
    """There are as many as it takes."""
    found, inside = [], False
    for words in life:
        inside = inside or words.startswith("task_prerun fence")
        if not inside:
            found.append(words)
        elif words.startswith("on_process_cleanup"):
            inside = False
    return found


def compare(pair, tasks: list[tuple]) -> list[list[str]]:
    """Runs tasks and stops; Celery's lives, after ours have been found the same."""
    def scenario(run):
        for task in tasks:
            id = run.send(*task)
            run.wait_event("task-succeeded" if task[0] == "mark" else "task-failed", id)

    pair.both(lambda side: side.play(scenario))
    pair.both(lambda side: side.worker.terminate())
    theirs, ours = lives(pair.celery), lives(pair.ours)
    assert ours == theirs
    return theirs


def test_a_life_of_one_task(pair_with):
    """Each task makes its child too large."""
    pair = pair_with("--max-memory-per-child", "1", env=LOADER)
    found = compare(pair, [("mark", "one"), ("mark", "two")])
    assert len(found) == 2
    assert found[0][0] == "on_worker_process_init" and "worker_process_shutdown" in found[0][-1]
    assert "155" in found[0][-1] and "atexit" not in found[0]


def test_a_life_until_the_end(pair_with):
    pair = pair_with(env=LOADER)
    found = compare(pair, [("mark", "one"), ("mark", "two")])
    assert len(found) == 1 and "'exitcode': 0" in found[0][-1]


@pytest.mark.parametrize("how", ["sys.exit", "SystemExit", "KeyboardInterrupt", "exit"])
def test_a_life_that_ends_early(pair_with, how):
    pair = pair_with(env=LOADER)
    found = compare(pair, [("die", how)])
    assert found[0][-1].startswith("worker_process_shutdown") == (how != "exit")
