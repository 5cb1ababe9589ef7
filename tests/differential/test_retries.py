"""Tasks that are run again."""

import pytest


@pytest.mark.parametrize("how", [
    "plain", "exc", "args", "kwargs", "in except", "in except without exc", "no throw", "countdown", "queue",
])
def test_retry(base, how):
    found = base.compare(lambda run: run.send("retry", how))
    assert "retried" in found.types() or how == "no throw"


def test_several_retries(base):
    found = base.compare(lambda run: run.send("retry", "exc", 3))
    assert found.types().count("retried") == 3 and found.result() == 3


@pytest.mark.parametrize("with_exc", [True, False])
def test_max_retries(base, with_exc):
    found = base.compare(lambda run: run.send("retry_exceeded", with_exc))
    assert found.types()[-1] == "failed"
    assert found.result()["exc_type"] == ("KeyError" if with_exc else "MaxRetriesExceededError")


@pytest.mark.parametrize("succeeds", [True, False])
def test_autoretry_with_backoff(base, succeeds):
    found = base.compare(lambda run: run.send("autoretry", succeeds))
    assert found.types().count("retried") == 2


def test_dont_autoretry_for(base):
    found = base.compare(lambda run: run.send("autoretry_not"))
    assert found.types() == ["received", "started", "failed"]


def test_retry_keeps_what_hangs_on_the_task(base):
    """Its links, its place in a chain, its headers and options."""

    def scenario(run):
        run.send(
            "retry", "plain", link=run.sig("mark", "linked"), headers={"own": "header"}, shadow="other",
            argsrepr="(hidden)", priority=3, time_limit=50, soft_time_limit=40, compression="zlib",
        )

    base.compare(scenario)


def test_retry_in_a_chain(base):
    found = base.compare(lambda run: run.apply(run.chain(run.sig("retry", "plain"), run.sig("add", 10))))
    assert found.result(2) == 11


def test_retry_in_a_chord(base):
    base.compare(lambda run: run.apply(run.chord([run.sig("retry", "plain"), run.sig("add", 1, 1)], run.sig("total"))))


def test_autoretry_with_jitter(base):
    found = base.compare(lambda run: run.send("autoretry_jitter"))
    assert found.types().count("retried") == 3


def test_autoretry_with_arguments_for_retry(base):
    found = base.compare(lambda run: run.send("autoretry_kwargs"))
    assert found.types().count("retried") == 2 and found.states() == ["FAILURE"]


def test_retry_without_limit(base):
    found = base.compare(lambda run: run.send("retry_forever", 6))
    assert found.result() == 6


@pytest.mark.parametrize("options", [
    {"eta": 0.3}, {"countdown": 0, "expires": 300}, {"countdown": 5, "expires": 4}, {"countdown": 0, "max_retries": 0},
    {"countdown": 0, "headers": {"own": "header"}}, {"countdown": 0, "time_limit": 30, "soft_time_limit": 20},
    {"countdown": 0, "ignore_result": True}, {"countdown": 0, "serializer": "msgpack", "compression": "zlib"},
    {"countdown": 0, "task_id": "other"},
], ids=repr)
def test_options_of_a_retry(base, options):
    base.compare(lambda run: run.send("retry_options", options))


@pytest.mark.parametrize("how", ["message", "exc", "when", "eta", "nothing"])
def test_retry_by_hand(base, how):
    found = base.compare(lambda run: run.send("retry_by_hand", how))
    assert found.types() == ["received", "started", "retried"] and found.states() == ["RETRY"]
