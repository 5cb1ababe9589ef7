"""celery-once and celery-singleton: locks that a client takes, and that the worker releases however the task ends."""


def test_locks(both):
    ends, code = both("locks_app", summary)
    found = {(end["task"].removeprefix("locks_app."), end["how"]): end for end in ends}
    for end in "works", "fails":
        assert found["once", end]["duplicate"] == "refused" and found["single", end]["duplicate"] == "the first"
        assert found["once", end]["running"] and not found["once", end]["after"]
        assert found["single", end]["running"] and not found["single", end]["after"]
    assert found["once_early", "works"]["duplicate"] == "another"
    # Nobody is left to release it, with either worker.
    assert found["once", "dies"]["after"] and found["single", "dies"]["after"]
    assert found["once_retries", "retries"]["state"] == "FAILURE" and code == 0


def test_locks_of_tasks_that_are_killed(both):
    """Since 5.7 the hooks of a task are called when its hard time limit has ended it."""
    for end in both("locks_app", summary, calls=("limited",))[0]:
        assert (end["state"], end["after"]) == ("FAILURE", []) and end["running"]


def summary(found):
    return found.returned[0], found.code
