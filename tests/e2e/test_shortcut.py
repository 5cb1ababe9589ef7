"""The shorter ways that children take (`celery_rs/shortcut.py`) lead where Celery's own lead."""
import importlib.util
import pathlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery.app import trace
from celery.app.task import Context
from celery.utils import threads

SOURCE = pathlib.Path(__file__).parents[2] / "python/celery_rs/shortcut.py"

HEADERS = [
    {},
    {"id": "1", "task": "t", "lang": "py", "retries": 0, "stamps": {}, "timelimit": [None, None], "shadow": None},
    {"id": "1", "mine": 1, "yours": None, "headers": {"a": 1}, "properties": {}, "compression": "zlib"},
    {"_children": [], "as_execution_options": 1, "__module__": "m", "__dict__": {}},
    [("pairs", 1), ("id", "1")],
]
VALUES = [
    0, -1, 2**63, 10**18, -(10**18), 10**40, 10**3000, True, False, None, 1.5, float("nan"), "text", "it's", b"bytes",
    [1, None], (1,), {"a": 1}, set(), type("Int", (int,), {"__repr__": lambda self: "mine"})(3),
]


@pytest.fixture
def shortcut(monkeypatch):
    spec = importlib.util.spec_from_file_location("shortcut", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Put back after the test, whatever `install` does.
    monkeypatch.setattr(Context, "_get_custom_headers", Context._get_custom_headers)
    monkeypatch.setattr(trace, "saferepr", trace.saferepr)
    for name in module.STACK:
        monkeypatch.setattr(threads._LocalStack, name, threads._LocalStack.__dict__[name])
    return module


def test_answers_are_celerys(shortcut):
    usual_headers, usual_repr = Context._get_custom_headers, trace.saferepr
    shortcut.install()
    assert (Context._get_custom_headers, trace.saferepr) != (usual_headers, usual_repr)
    for headers in HEADERS:
        ours, theirs = (way(Context(), headers) for way in (Context._get_custom_headers, usual_headers))
        assert ours == theirs
        assert list(ours or {}) == list(theirs or {})
        named = {"args": (), "kwargs": {}, "called_directly": False}
        assert Context._get_custom_headers(Context(), headers, **named) == usual_headers(Context(), headers, **named)
    assert Context._get_custom_headers(Context(), {"a": 1}, b=2) == {"a": 1, "b": 2}
    for value in VALUES:
        for most in (None, 1024, 5):
            assert trace.saferepr(value, most) == usual_repr(value, most)


def test_stacks_are_each_threads_own(shortcut):
    stack, before = threads._LocalStack(), shortcut.played(threads._LocalStack())
    shortcut.install()
    assert threads._LocalStack.push is shortcut.ShortStack.push
    assert shortcut.played(threads._LocalStack()) == before
    stack.push(1)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: (stack.top, stack.pop(), stack.push(2), stack.stack)).result() == (None, None, [2], [2])
    assert (stack.top, len(stack), stack.pop(), len(stack)) == (1, 1, 1, 0)


def test_what_others_have_put_there_stays(shortcut, monkeypatch):
    def mine(*args, **kwargs):
        return "mine"

    monkeypatch.setattr(trace, "saferepr", mine)
    monkeypatch.setattr(Context, "_get_custom_headers", mine)
    monkeypatch.setattr(threads._LocalStack, "push", mine)
    shortcut.install()
    assert trace.saferepr is mine
    assert Context._get_custom_headers is mine
    assert threads._LocalStack.push is mine and threads._LocalStack.pop is not shortcut.ShortStack.pop
