"""The manifest: what the parent must know about the app, as plain data (`src/ipc/manifest.rs`)."""
import os
import platform
import weakref
from functools import partial

import celery
import kombu
from celery import signals
from celery.app.defaults import _TO_NEW_KEY, SETTING_KEYS
from celery.app.trace import task_has_custom
from celery.utils.functional import arity_greater
from celery.utils.imports import qualname
from kombu.serialization import registry
from kombu.utils import json as kombu_json
from kombu.transport.base import to_rabbitmq_queue_arguments

from celery_rs import relay, steps
from celery_rs.plain import Opaque, plain, plain_parts, text

#: Settings that Celery computes; the attribute is right where the stored value is not.
COMPUTED = (
    'broker_url', 'broker_read_url', 'broker_write_url', 'result_backend',
    'task_default_exchange', 'task_default_routing_key',
)
#: Read from the app's queues and tasks instead.
ELSEWHERE = {'task_queues', 'task_annotations'}
#: What kombu's JSON has of its own.
TYPES = frozenset({'bytes', 'base64', 'datetime', 'date', 'time', 'decimal', 'uuid'})
HOOKS = ('on_success', 'on_failure', 'on_retry', 'after_return')
PUBLISH_OPTIONS = (
    'queue', 'exchange', 'routing_key', 'priority', 'expires', 'compression', 'delivery_mode',
)
#: Attributes of the worker that are not among its options.
RESOLVED = (
    'concurrency', 'loglevel', 'logfile', 'statedb', 'pidfile', 'task_events', 'prefetch_multiplier', 'time_limit',
    'soft_time_limit', 'max_tasks_per_child', 'max_memory_per_child', 'optimization', 'quiet', 'purge', 'no_color',
    'scheduler', 'schedule_filename', 'worker_lost_wait', 'disable_rate_limits', 'pool_restarts', 'pool_putlocks',
    'redirect_stdouts', 'redirect_stdouts_level', 'autoscale', 'timer_precision',
)


def manifest(app, worker, pool, state=None):
    """All of it, with the names of `Manifest`'s fields."""
    from celery_rs import beat
    embedded = worker.options.get('beat')
    return {
        **of_app(app),
        'hostname': worker.hostname,
        'options': text(options(worker, pool)),
        'banner': worker.startup_info() + (worker.extra_info() or ''),
        'state': state,
        'beat': beat.describe(app, worker.scheduler, worker.schedule_filename) if embedded else '',
    }


def of_beat(app, program):
    """For a beat by itself; `program` is Celery's `Beat`."""
    from celery_rs import beat
    service = beat.beat.Service(
        app, max_interval=program.max_interval, scheduler_cls=program.scheduler_cls,
        schedule_filename=f'{program.schedule}.json', **beat.remote(program),
    )
    asked = program.colored.cyan(f'celery beat v{celery.VERSION_BANNER} is starting.')
    return {
        **of_app(app),
        'hostname': '',
        'options': text({
            'loglevel': program.loglevel, 'logfile': program.logfile, 'pidfile': program.pidfile,
            'no_color': program.no_color, 'quiet': bool(program.quiet),
        }),
        'banner': '' if program.quiet else f'{asked}\n{program.banner(service)}\n',
        'beat': beat.describe(
            app, program.scheduler_cls, program.schedule, program.max_interval, getattr(service, 'remote_control', False)
        ),
    }


def of_app(app):
    """What is the same for a worker and for beat."""
    opaque = []
    backend = app.backend
    return {
        'app_name': app.main or '__main__',
        'app_repr': f'{app.main or "__main__"}:{id(app):#x}',
        'loader': qualname(app.loader),
        'celery_version': celery.__version__,
        'celery_banner': celery.VERSION_BANNER,
        'kombu_version': kombu.__version__,
        'python_version': platform.python_version(),
        'platform': platform.platform(),
        'settings': text(settings(app, opaque)),
        'changed_settings': changed_settings(app.conf),
        'opaque_settings': opaque,
        'queues': text([queue(item) for item in app.amqp.queues.values()]),
        'consume_from': list(app.amqp.queues.consume_from),
        'tasks': [task(name, item) for name, item in app.tasks.items()],
        'serializers': serializers(),
        'registers_types': not TYPES.issuperset(kombu_json._decoders),
        'signals': listened_signals(),
        'bootsteps': steps.own(app),
        'control_commands': control_commands(),
        'backend': qualname(type(backend)),
        'relays_results': relay.relays(backend, app),
        'pid': os.getpid(),
    }


def settings(app, opaque):
    """Every setting by its new name; what is no plain data goes to `opaque`."""
    conf = app.conf
    found = {}
    for name in sorted(SETTING_KEYS | unknown_names(conf)):
        if name in ELSEWHERE:
            continue
        value = getattr(conf, name, None) if name in COMPUTED else conf.get(name)
        if name == 'deprecated_settings':
            # Celery's own note, which its worker forgets when there is nothing in it.
            value = value or None
        value = plain_parts(value, name, opaque)
        if value is not Opaque:
            found[name] = value
    found['timezone'] = str(app.timezone)
    for name, connection in (
        ('broker_url', app.connection_for_read), ('broker_read_url', app.connection_for_read),
        ('broker_write_url', app.connection_for_write),
    ):
        # Nothing, or the host of a broker that is described by its parts.
        if not is_url(getattr(conf, name)):
            found[name] = connection().as_uri(include_password=True)
    return found


def is_url(setting):
    """Whether a broker setting says by itself where to go: a URL, or a list of them."""
    return isinstance(setting, (list, tuple)) and len(setting) > 0 or isinstance(setting, str) and '://' in setting


def changed_settings(conf):
    """What `inspect conf` shows without defaults."""
    members = set(dir(dict))
    return [
        key for key in conf.without_defaults()
        if isinstance(key, str) and not key.startswith('_') and key not in members
    ]


def unknown_names(conf):
    """Keys of the user's own, which Celery keeps as well."""
    names = {key for key in conf.without_defaults() if isinstance(key, str)}
    known = {old for old in _TO_NEW_KEY} | SETTING_KEYS
    members = set(dir(dict))
    return {
        name for name in names
        if name not in known and name.islower() and not name.startswith('_') and name not in members
    }


def options(worker, pool):
    """What command line, environment and settings have come to."""
    found = {}
    for name, value in {**worker.options, **{name: getattr(worker, name, None) for name in RESOLVED}}.items():
        try:
            found[name] = plain(value)
        except Opaque:
            found[name] = path(value)
    found['pool'] = pool
    # Of which `--uid` and `--gid` have made something.
    found['uid'], found['gid'] = os.geteuid(), os.getegid()
    return found


def binding(item):
    """With the names of `Binding`'s fields."""
    return {
        'exchange': exchange(item.exchange),
        'routing_key': item.routing_key or '',
        'arguments': plain(item.arguments or {}),
    }


def queue(item):
    """With the names of `Queue`'s fields."""
    arguments = to_rabbitmq_queue_arguments(
        dict(item.queue_arguments or {}), expires=item.expires, message_ttl=item.message_ttl,
        max_length=item.max_length, max_length_bytes=item.max_length_bytes, max_priority=item.max_priority,
    )
    return {
        'name': item.name,
        'alias': item.alias,
        'exchange': exchange(item.exchange),
        'routing_key': item.routing_key or '',
        'bindings': [binding(by) for by in item.bindings or ()],
        'durable': bool(item.durable),
        'exclusive': bool(item.exclusive),
        'auto_delete': bool(item.auto_delete),
        'no_ack': bool(item.no_ack),
        'no_declare': bool(item.no_declare),
        'arguments': plain(arguments),
        'binding_arguments': plain(item.binding_arguments or {}),
        'consumer_arguments': plain(item.consumer_arguments or {}),
    }


def exchange(item):
    """With the names of `Exchange`'s fields."""
    if item is None:
        return {'name': '', 'kind': 'direct', 'durable': True, 'auto_delete': False, 'no_declare': False, 'arguments': {}}
    return {
        'name': item.name,
        'kind': item.type or 'direct',
        'durable': bool(item.durable),
        'auto_delete': bool(item.auto_delete),
        'no_declare': bool(item.no_declare),
        'arguments': plain(item.arguments or {}),
    }


def task(name, item):
    """With the names of `TaskManifest`'s fields."""
    either = getattr(item, 'acks_on_failure_or_timeout', True)
    either = True if either is None else either
    app = item.app
    return {
        'name': name,
        'acks_late': bool(item.acks_late),
        'acks_on_failure': first(getattr(item, 'acks_on_failure', None), either),
        'acks_on_timeout': first(getattr(item, 'acks_on_timeout', None), either),
        'reject_on_worker_lost': bool(item.reject_on_worker_lost),
        'retry_on_worker_lost': bool(getattr(item, 'retry_on_worker_lost', False)),
        'ignore_result': bool(item.ignore_result),
        'store_errors_even_if_ignored': bool(item.store_errors_even_if_ignored),
        'track_started': bool(item.track_started),
        'send_events': bool(item.send_events),
        'rate_limit': None if item.rate_limit is None else str(item.rate_limit),
        'time_limit': number(item.time_limit),
        'soft_time_limit': number(item.soft_time_limit),
        'max_retries': item.max_retries,
        'default_retry_delay': float(item.default_retry_delay),
        'serializer': item.serializer,
        'publish_options': text(publish_options(item)),
        'hooked': hooked(item) or bool(custom_request(item)),
        'own_backend': has_own_backend(item, app),
        'new_style_errback': new_style_errback(item),
        'custom_request': custom_request(item),
    }


def first(value, other):
    return bool(other if value is None else value)


def number(value):
    return None if value is None else float(value)


def publish_options(item):
    found = {}
    for name in PUBLISH_OPTIONS:
        value = getattr(item, name, None)
        try:
            if value is not None:
                found[name] = plain(value)
        except Opaque:
            found[name] = getattr(value, 'name', str(value))
    return found


def hooked(item):
    return any(task_has_custom(item, hook) for hook in HOOKS)


def has_own_backend(item, app):
    """Whether the parent writes the app's results, but not this task's."""
    return relay.relays(app.backend, app) and not relay.relays(item.backend, app)


def new_style_errback(item):
    """As `Backend._call_task_errbacks` finds out; what a signature has bound already is looked at there."""
    header = getattr(item, '__header__', None)
    return header is not None and not isinstance(header, partial) and bool(arity_greater(header, 1))


def custom_request(item):
    """Class path of a Request that is not Celery's; empty if it is."""
    found = path(item.Request)
    return '' if found == 'celery.worker.request:Request' else found


def custom_strategy(item):
    """Path of a Strategy that is not Celery's; empty if it is."""
    found = path(item.Strategy)
    return '' if found == 'celery.worker.strategy:default' else found


def serializers():
    """MIME types of those that are not kombu's own, by their names."""
    return {
        name: mime for name, mime in registry.name_to_type.items()
        if name not in relay.SERIALIZERS and name not in ('raw', mime)
    }


def listened_signals():
    """Names of the signals that anybody but Celery itself listens to."""
    return sorted(
        name for name in signals.__all__
        if any(not steps.of_celery(function) for function in receivers(getattr(signals, name)))
    )


def receivers(signal):
    for _, receiver in signal.receivers or ():
        function = receiver() if isinstance(receiver, weakref.ReferenceType) else receiver
        if function is not None:
            yield function


def control_commands():
    """Names of the remote control commands that are not Celery's own, or no longer."""
    from celery.worker.control import Panel
    return sorted(name for name, function in Panel.data.items() if not steps.of_celery(function))


def path(value):
    """`module:name`."""
    if isinstance(value, str):
        return value
    return f'{getattr(value, "__module__", "?")}:{getattr(value, "__qualname__", type(value).__qualname__)}'
