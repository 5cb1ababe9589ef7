"""Beat: an app's schedule as plain data (`src/beat`), or why only Celery's own beat can run it.

Rust runs intervals and crontabs, and sends what Celery would send. Whatever an app has put in between (a scheduler or
schedules of its own, receivers, routers, wrappers around Celery's functions) is left to the Python that it was written for.
"""
import os
import shelve
import sys
from datetime import timedelta, timezone
from types import FunctionType
from zoneinfo import ZoneInfo

import celery
from celery import beat, schedules, signals
from celery.app import amqp, base, routes
from celery.app import task as task_module
from celery.utils.imports import load_extension_class_names, symbol_by_name
from celery.utils.time import maybe_make_aware

from celery_rs import relay, steps
from celery_rs.manifest import receivers
from celery_rs.plain import text

#: Of `apply_async`, what the parent's producer knows.
OPTIONS = frozenset({
    'queue', 'exchange', 'routing_key', 'priority', 'expires', 'countdown', 'serializer', 'delivery_mode', 'compression',
    'time_limit', 'soft_time_limit', 'immediate', 'mandatory', 'headers', 'ignore_result', 'argsrepr', 'kwargsrepr',
    'retry', 'retry_policy', 'shadow',
})
NAMES = ('queue', 'exchange', 'routing_key', 'serializer', 'compression', 'shadow', 'argsrepr', 'kwargsrepr')
NUMBERS = ('expires', 'countdown', 'time_limit', 'soft_time_limit', 'priority')
CRONTAB = ('minute', 'hour', 'day_of_week', 'day_of_month', 'month_of_year')
#: Since then Celery marks what its beat sends, and says nothing of the results of tasks that it does not know.
FIVE_SEVEN = celery.VERSION >= (5, 7)
#: Whose receivers run where beat runs.
SIGNALS = ('beat_init', 'beat_embedded_init', 'before_task_publish', 'after_task_publish')
MICRO = timedelta(microseconds=1)
MAX_DEPTH = 50


class Pythons(Exception):
    """Why this is left to Celery's own beat."""


def describe(app, scheduler, filename, max_interval=None, remote_control=False):
    """JSON text: with the schedule (`src/app/beat.rs`), or with the reason why there is none."""
    found = {'python': None, 'interpreter': sys.executable}
    try:
        found.update(plan(app, scheduler, filename, max_interval, remote_control))
        return text(found)
    except Pythons as reason:
        return text({**found, 'python': str(reason)})


def plan(app, scheduler, filename, max_interval, remote_control):
    check(app, scheduler, remote_control)
    celerys = beat.Scheduler(app, schedule={}, max_interval=max_interval, lazy=True)
    celerys.merge_inplace(app.conf.beat_schedule)
    own = set(celerys.schedule)
    celerys.install_default_entries(celerys.schedule)
    return {
        'entries': [entry(app, item, item.name in own) for item in celerys.schedule.values()],
        'max_interval': celerys.max_interval,
        'sync_every': app.conf.beat_sync_every or 0,
        'deadline': app.conf.beat_cron_starting_deadline,
        'timezone': zone(app.timezone),
        'tz': None if app.conf.timezone is None else str(app.conf.timezone),
        'utc_enabled': bool(app.conf.enable_utc),
        'filename': str(filename),
        'kept': kept(str(filename)),
    }


def remote(program):
    """What Celery's Service is told of remote control, since it knows of it (5.7)."""
    names = ('remote_control', 'hostname')
    return {name: getattr(program, name) for name in names if hasattr(program, name)}


def check(app, scheduler, remote_control):
    """Raises Pythons for what has nothing to do with a single entry."""
    aliases = dict(load_extension_class_names('celery.beat_schedulers'))
    found = symbol_by_name(scheduler or beat.PersistentScheduler, aliases=aliases)
    if found is not beat.PersistentScheduler:
        raise Pythons(f'the scheduler {found.__module__}.{found.__qualname__} is Python')
    if remote_control:
        raise Pythons('beat_enable_remote_control is set')
    for name in SIGNALS:
        if any(not steps.of_celery(function) for function in receivers(getattr(signals, name))):
            raise Pythons(f'the signal {name} has a receiver')
    conf = app.conf
    for name in ('task_always_eager', 'task_send_sent_event'):
        if conf[name]:
            raise Pythons(f'{name} is set')
    if conf.task_protocol not in (1, 2):
        raise Pythons(f'task_protocol is {conf.task_protocol!r}')
    if any(type(route) is not routes.MapRoute for route in app.amqp.router.routes):
        raise Pythons('task_routes has a router that is code')
    if type(app.amqp) is not amqp.AMQP or not pristine(type(app).send_task, base) or 'send_task' in vars(app):
        raise Pythons('the app sends tasks in a way of its own')
    for owner, module in [
        (beat.Scheduler, beat), (beat.PersistentScheduler, beat), (beat.ScheduleEntry, beat), (beat.Service, beat),
        (schedules.BaseSchedule, schedules), (schedules.schedule, schedules), (schedules.crontab, schedules),
        (amqp.AMQP, amqp), (task_module.Task, task_module),
    ]:
        for name, function in vars(owner).items():
            if not name.startswith('__') and is_wrapped(function, module):
                raise Pythons(f'{owner.__module__}.{owner.__qualname__}.{name} has been replaced')


def is_wrapped(function, module):
    if isinstance(function, FunctionType):
        return not pristine(function, module)
    return callable(function) and not isinstance(function, (type, staticmethod, classmethod))


def pristine(function, module):
    """Whether it was written in that module."""
    return isinstance(function, FunctionType) and function.__globals__ is vars(module)


def entry(app, item, kept):
    """With the names of `Entry::from_value`."""
    try:
        found = {'name': str(item.name), 'task': item.task, 'kept': kept, 'schedule': schedule(item.schedule)}
        return {**found, **call(app, item)}
    except Pythons as reason:
        raise Pythons(f'beat_schedule entry {item.name!r}: {reason}') from None


def schedule(item):
    """With the names of `Schedule::from_value`."""
    if item is None or getattr(item, 'nowfun', None) is not None:
        raise Pythons('its schedule has a clock of its own')
    if type(item) is schedules.schedule:
        return {'every': item.run_every // MICRO, 'relative': bool(item.relative)}
    if type(item) is not schedules.crontab:
        raise Pythons(f'its schedule is a {type(item).__module__}.{type(item).__qualname__}')
    return {name: field(getattr(item, f'_orig_{name}'), getattr(item, name)) for name in CRONTAB}


def field(written, numbers):
    """As it was written, but for what can be read only once."""
    if isinstance(written, str):
        return str.__str__(written)
    return int(written) if isinstance(written, int) else plain(sorted(numbers))


def call(app, item):
    """Arguments and options as `Scheduler.apply_async` and then `Task.apply_async` have them."""
    task = app.tasks.get(item.task)
    args, kwargs, options = list(item.args or ()), dict(item.kwargs or {}), dict(item.options or {})
    if FIVE_SEVEN:
        options['headers'] = {**(options.get('headers') or {}), 'celery_beat_task': True}
    if task is None:
        options.setdefault('ignore_result', None if FIVE_SEVEN else False)
    else:
        options = options_of(task, args, kwargs, options)
    headers = app.amqp.as_task_v2('', item.task, args, kwargs).headers
    for name in ('argsrepr', 'kwargsrepr'):
        options.setdefault(name, headers[name])
    options = {name: value for name, value in options.items() if value is not None}
    serializer = options.get('serializer') or app.conf.task_serializer
    check_options(options, serializer)
    exact = serializer == 'pickle'
    return {'args': plain(args, exact), 'kwargs': plain(kwargs, exact), 'options': plain(options)}


def options_of(task, args, kwargs, options):
    kind = type(task)
    if kind.apply_async is not task_module.Task.apply_async or kind.shadow_name is not task_module.Task.shadow_name:
        raise Pythons(f'its task is sent by {kind.__module__}.{kind.__qualname__}')
    if 'apply_async' in vars(task) or getattr(task, '__self__', None) is not None:
        raise Pythons('its task is sent in a way of its own')
    if task.soft_time_limit and task.time_limit and task.soft_time_limit > task.time_limit:
        raise Pythons('its soft time limit is longer than its hard one')
    if task.typing:
        try:
            task.__header__(*args, **kwargs)
        except TypeError as exc:
            raise Pythons(f'it does not fit its task: {exc}') from None
    found = {**task._get_exec_options(), **options}
    found.setdefault('ignore_result', task.ignore_result)
    if task.priority:
        found.setdefault('priority', task.priority)
    return found


def check_options(options, serializer):
    for name, value in options.items():
        if name not in OPTIONS:
            raise Pythons(f'it has the option {name}')
        if name in NAMES and not isinstance(value, str) or name in NUMBERS and type(value) not in (int, float):
            raise Pythons(f'its option {name} is {value!r}')
    if serializer not in relay.SERIALIZERS:
        raise Pythons(f'its serializer is {serializer}')


def plain(value, exact=False, depth=0):
    """What is written the same by whoever reads it from JSON: `exact` where a tuple is not the same as a list."""
    if depth > MAX_DEPTH:
        raise Pythons('it refers to itself')
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float and value - value == 0:
        return value
    if type(value) is list or type(value) is tuple and not exact:
        return [plain(item, exact, depth + 1) for item in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: plain(item, exact, depth + 1) for key, item in value.items()}
    raise Pythons(f'{value!r} is not plain data')


def zone(found):
    if isinstance(found, ZoneInfo) and found.key:
        return found.key
    if found is timezone.utc:
        return 'UTC'
    raise Pythons(f'the time zone {found!r} has no name')


def kept(filename):
    """When Celery's beat has last sent what: for the first start after it, before there is a file of ours."""
    if os.path.exists(f'{filename}.json'):
        return None
    try:
        with shelve.open(filename, flag='r') as store:
            return {
                'tz': store.get('tz'),
                'utc_enabled': bool(store.get('utc_enabled', True)),
                'entries': {name: run(item) for name, item in store['entries'].items()},
            }
    except Exception:
        return None


def run(item):
    last = maybe_make_aware(item.last_run_at).astimezone(timezone.utc)
    return {'last_run_at': last.isoformat(), 'total_run_count': int(item.total_run_count)}
