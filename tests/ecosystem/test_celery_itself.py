"""What Celery offers to libraries and apps: serializers, signals of publishing, what is left after a fork."""

import pytest


@pytest.mark.parametrize("serializer", ["json", "reverse", "auth", "entry"])
def test_serializers(both, serializer):
    """kombu's JSON with types of its own, one that the app registers, signed messages, one of a package."""
    calls = ("prepare", "client") if serializer == "auth" else ("client",)
    returned, code = both("serializers_app", results, calls=calls, ECO_SERIALIZER=serializer)
    more = {"json": [["Point", 2, 3], {"cents": 5}, {"cents": 7}]}.get(serializer, [])
    # What is signed badly, or not at all, does not keep what comes after it from running.
    last = {"auth": ["signed", "after"]}.get(serializer, [])
    assert returned == [{"a": [1, None]}, *more, [1], *last] and code == 0


def results(found):
    return found.returned[-1], found.code


def test_signals_of_publishing(both):
    found = both("publish_app", published)
    told, from_child, other, retried, chained, linked = found["returned"]
    assert told == [["client"], "celery", 3] and from_child == [["worker"], "celery", 3]
    assert other == [["worker"], "other", 3] and retried == [["client", "worker"], 3]


def published(found):
    return {
        "returned": found.returned[0],
        "records": [
            {key: value for key, value in record.items() if key != "pid"}
            for record in found.records if record["role"] == "worker"
        ],
    }


def test_resources_after_a_fork(both):
    """No connection of Celery's main process is used by a child."""
    assert both("resources_app", shared) == {"broker": [False, False], "redis": [False, False], "database": [False, False]}


def shared(found):
    (main,) = [record["held"] for record in found.of("main")]
    return {name: [held[name] == main[name] for held in found.returned[0]] for name in main}
