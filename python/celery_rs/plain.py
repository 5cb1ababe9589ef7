"""Values as plain data: what JSON can carry, and what it cannot."""
import datetime
import enum
import json
import os

from kombu.utils.json import dumps as kombu_dumps

#: Deeper than any setting; what is deeper refers to itself.
MAX_DEPTH = 20


class Opaque(Exception):
    """The value is a function, a class, an object: nothing to be sent to another process."""


def plain(value, depth=0):
    """`value` as JSON has it; time spans are seconds. Raises Opaque."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return basic(value)
    if depth > MAX_DEPTH:
        raise Opaque(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return plain(os.fspath(value), depth + 1)
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    if type(value).__name__ == '__proxy__':  # Django's lazy texts
        return str(value)
    raise Opaque(value)


def basic(value):
    """Without the subclass: an IntEnum is its number, a str subclass its text."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float) and value in (float('inf'), float('-inf')):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value


def plain_parts(value, name, opaque):
    """Like plain, but only what is opaque is left out of a dict, and named in `opaque`."""
    if isinstance(value, dict):
        parts = {str(key): plain_parts(item, f'{name}.{key}', opaque) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item is not Opaque}
    try:
        return plain(value)
    except Opaque:
        opaque.append(name)
        return Opaque


def text(value):
    """JSON text of plain data."""
    return json.dumps(value, allow_nan=False)


def kombu_text(value):
    """JSON text with kombu's typed extensions."""
    return kombu_dumps(value)
