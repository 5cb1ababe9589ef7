"""A package that offers a serializer to kombu by an entry point: JSON from its end to its beginning."""

import json


def dumps(value):
    return json.dumps(value)[::-1]


def loads(text):
    return json.loads((str(text, "utf-8") if isinstance(text, (bytes, memoryview)) else text)[::-1])


SERIALIZER = dumps, loads, "application/x-entry", "utf-8"
