"""Flask: a `__call__` of the task class that opens the application's context."""


def test_flask(both):
    returned, torn_down, code = both("flask_app", summary)
    assert returned == [[["books", None], ["books", None], "ValueError('flask_app')", "flask_app", ["books", None], False]]
    assert ["ValueError('flask_app')", "failing"] in torn_down and code == 0


def summary(found):
    return found.returned, [[record["error"], record["seen"]] for record in found.of("torn down")], found.code
