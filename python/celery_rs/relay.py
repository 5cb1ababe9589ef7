"""The result relay: the states a task ends with are encoded here and written by the parent.

Only for the backends the parent speaks, by their exact class; everything else on a backend (custom states, other tasks'
ids, groups, chords) remains Celery's own business.
"""
import os
import threading
import weakref

from celery import signals
from celery.app.trace import task_has_custom
from celery.exceptions import BackendStoreError
from kombu.serialization import dumps

from celery_rs import database
from celery_rs.document import document, short_way

#: What a tracer stores about its own task.
FINAL = frozenset({'SUCCESS', 'FAILURE', 'RETRY'})
#: Stored on behalf of the running task, but not its end.
STARTED = 'STARTED'
HOOKS = ('on_success', 'on_failure', 'on_retry', 'after_return')
SIGNALS = (signals.task_success, signals.task_failure, signals.task_retry, signals.task_postrun)
#: Receivers that do not look at results.
HARMLESS = frozenset({'celery.fixups.django'})

#: What the parent can read again; others are the app's or a package's own.
SERIALIZERS = frozenset({'json', 'msgpack', 'yaml', 'pickle'})

#: Encoding did not work out.
FAILED = object()

#: `current` is the Execution that runs in this thread.
running = threading.local()

_hooked = {}
_classes = None


class Execution:
    """One job, as long as it runs."""

    __slots__ = ('bridge', 'number', 'id', 'task', 'stored')

    def __init__(self, bridge, number, id, task):
        self.bridge = bridge
        self.number = number
        self.id = id
        self.task = task
        self.stored = None


def install(app):
    """Puts the relay between Celery's tracer and the writes of the backends that the parent speaks."""
    redis_class, rpc_class = classes()
    if redis_class is not None:
        # An app that has replaced `store_result` shall have its way, and the relay a step further down.
        usual = redis_class.store_result.__module__ == 'celery.backends.base'
        intercept(redis_class, 'store_result' if usual else '_store_result', app, redis_document)
    intercept(rpc_class, 'store_result', app, rpc_document)
    if database.is_usual(app.backend):
        cls = type(app.backend)
        usual = cls.store_result.__module__ == 'celery.backends.base'
        intercept(cls, 'store_result' if usual else '_store_result', app, database_document)
    backend = app.backend
    if type(backend) is redis_class:
        short_way(backend)
    os.register_at_fork(after_in_child=forget)


def forget():
    """A process forked by a task is not the child: it has no parent to relay to."""
    running.current = None


def classes():
    global _classes
    if _classes is None:
        from celery.backends.rpc import RPCBackend
        try:
            from celery.backends.redis import RedisBackend
        except ImportError:
            RedisBackend = None
        _classes = RedisBackend, RPCBackend
    return _classes


def relays(backend, app):
    """Whether the parent writes what this backend would."""
    redis_class, rpc_class = classes()
    if getattr(backend, 'serializer', None) not in SERIALIZERS:
        return False
    if type(backend) is rpc_class:
        return True
    if database.is_usual(backend):
        return database.is_spoken(backend) and same_place(backend, app.backend)
    return type(backend) is redis_class and same_place(backend, app.backend)


def same_place(backend, other):
    """A task may have a backend of its own, which leads elsewhere."""
    return backend is other or all(
        getattr(backend, name, None) == getattr(other, name, None)
        for name in ('connparams', 'task_keyprefix', 'serializer', 'expires', 'url', 'engine_options')
    )


def intercept(cls, name, app, encode):
    original = getattr(cls, name)
    encodes = name == 'store_result'

    def store(self, task_id, result, state, traceback=None, request=None, **kwargs):
        execution = getattr(running, 'current', None)
        if execution is None or task_id != execution.id or not relayed(self, state, request, app):
            return original(self, task_id, result, state, traceback, request=request, **kwargs)
        try:
            stored, result = encode(self, task_id, result, state, traceback, request, encodes)
        except Exception:
            stored = FAILED
        if stored is FAILED:
            # Celery's own words, and its own traceback, for what cannot be encoded.
            return original(self, task_id, result, state, traceback, request=request, **kwargs)
        if stored is not None:
            hand_over(execution, stored, state, request)
        return result

    store.__wrapped__ = original
    setattr(cls, name, store)


def relayed(backend, state, request, app):
    if state not in FINAL and state != STARTED:
        return False
    answer = backend.__dict__.get('_relays_results')
    if answer is None:
        answer = backend._relays_results = relays(backend, app)
    return answer and request is not None


def redis_document(backend, task_id, result, state, traceback, request, encodes):
    if encodes:
        result = backend.encode_result(result, state)
    payload = as_bytes(document(backend, task_id, result, state, traceback, request))
    return (task_id, state, payload, None, None), result


def database_document(backend, task_id, result, state, traceback, request, encodes):
    if encodes:
        result = backend.encode_result(result, state)
    return (task_id, state, database.row(backend, result, state, traceback, request), None, None), result


def rpc_document(backend, task_id, result, state, traceback, request, encodes):
    routing_key, correlation_id = backend.destination_for(task_id, request)
    if not routing_key:
        return None, result
    meta = backend._to_result(task_id, state, result, traceback, request)
    _, _, payload = dumps(meta, serializer=backend.serializer)
    return (task_id, state, as_bytes(payload), routing_key, correlation_id), result


def as_bytes(payload):
    return payload.encode('utf-8') if isinstance(payload, str) else bytes(payload)


def hand_over(execution, stored, state, request):
    if state != STARTED and not watched(execution.task, state, request):
        # Nothing replaces a success, not even a failure of what came after it.
        if execution.stored is None or execution.stored[1] != 'SUCCESS':
            execution.stored = stored
        return
    error = execution.bridge.store(execution.number, stored)
    if error:
        raise BackendStoreError(error, state=state, task_id=execution.id)


def watched(task, state, request):
    """Whether anything that runs in this process before the report is out may look at the stored result."""
    hooked = _hooked.get(task.name)
    if hooked is None:
        hooked = _hooked[task.name] = any(task_has_custom(task, hook) for hook in HOOKS)
    if hooked or request.chord or (state == 'FAILURE' and (request.errbacks or request.chain)):
        return True
    for signal in SIGNALS:
        if signal.receivers and any(not harmless(receiver) for _, receiver in signal.receivers):
            return True
    return False


def harmless(receiver):
    function = receiver() if isinstance(receiver, weakref.ReferenceType) else receiver
    return function is None or getattr(function, '__module__', None) in HARMLESS
