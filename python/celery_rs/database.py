"""Rows of Celery's database backend, column by column as the installed Celery words them, for the parent to write.

Nothing here imports SQLAlchemy: where an app has such a backend, it is there.
"""
import pickle
from types import SimpleNamespace

#: What the parent speaks, by SQLAlchemy's names.
DIALECTS = frozenset({'sqlite', 'postgresql', 'mysql', 'mariadb'})
#: What the parent can be told of the engine.
PLAIN = (type(None), bool, int, float, str)
#: Options of the engine whose values are code; without effect on who does not use SQLAlchemy's pools.
WITHOUT_EFFECT = frozenset({'poolclass'})


def is_usual(backend):
    """Whether it is Celery's own."""
    cls = type(backend)
    return cls.__module__ == 'celery.backends.database' and cls.__qualname__ == 'DatabaseBackend'


def is_spoken(backend):
    """Whether the parent can do what it does: nothing may hang on SQLAlchemy's own engine."""
    dialect = str(backend.url).partition('://')[0].partition('+')[0]
    manager = backend.session_manager
    return (
        dialect in DIALECTS and getattr(manager, 'engine_callback', None) is None
        and all(is_plain(value) for name, value in backend.engine_options.items() if name not in WITHOUT_EFFECT)
    )


def is_plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return isinstance(value, PLAIN)


def row(backend, result, state, traceback, request):
    """The pickled dict of the columns; what cannot be encoded raises."""
    columns = SimpleNamespace(children=None, stamps=None)
    backend._update_result(columns, result, state, traceback=traceback, request=request)
    columns = vars(columns)
    if not backend.extended_result:
        # The table has these columns all the same.
        for name in ('name', 'args', 'kwargs', 'worker', 'retries', 'queue', 'stamps'):
            columns.pop(name, None)
    pickler = getattr(backend.task_cls.__table__.c.result.type, 'pickler', None)
    if pickler is not None and columns['result'] is not None:
        columns['result'] = pickler.dumps(columns['result'], backend.task_cls.__table__.c.result.type.protocol)
    if columns['date_done'] is not None:
        columns['date_done'] = columns['date_done'].isoformat()
    # Its state is what is looked at without reading the rest.
    return pickle.dumps({'status': state, **columns}, 4)
