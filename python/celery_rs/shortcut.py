"""Two functions that Celery calls for every task, by shorter ways to the same answers.

Each is put in place only where a trial shows that the installed Celery answers alike, and where nobody else has replaced
Celery's own.
"""
from celery.app import trace
from celery.app.task import Context
from celery.utils import saferepr as saferepr_module

#: Of these types exactly, and of `int` up to this size, `repr` is all that is to be said.
SINGLE = frozenset({bool, type(None)})
SMALL = 10 ** 18
#: No such text is longer.
SHORT = 20

TRIAL_HEADERS = (
    {},
    {'id': 'i', 'task': 't', 'lang': 'py', 'argsrepr': '()', 'kwargsrepr': '{}', 'compression': None, 'stamps': {}},
    {'id': 'i', 'mine': 1, 'timelimit': (None, None), 'yours': [2], 'headers': {'x': 1}, '__doc__': 'd'},
)
TRIAL_VALUES = (0, 1 - SMALL, True, False, None)


def install():
    """To be called once, before the first task."""
    if of_celery(Context._get_custom_headers, 'celery.app.task'):
        usual = Context._get_custom_headers
        ours = custom_headers(usual)
        if all(list_of(ours(Context(), case)) == list_of(usual(Context(), case)) for case in TRIAL_HEADERS):
            Context._get_custom_headers = ours
    if trace.saferepr is saferepr_module.saferepr:
        usual = trace.saferepr
        ours = short_saferepr(usual)
        if all(ours(case, 1024) == usual(case, 1024) for case in TRIAL_VALUES):
            trace.saferepr = ours


def of_celery(function, module):
    return getattr(function, '__module__', None) == module and not hasattr(function, '__wrapped__')


def list_of(headers):
    return None if headers is None else list(headers.items())


def custom_headers(usual):
    """`Context._get_custom_headers`, which takes some sixty names out of a copy of what are some twenty."""
    known = frozenset(Context.__dict__) | {'lang', 'task', 'argsrepr', 'kwargsrepr', 'compression'}
    size = len(Context.__dict__)

    def _get_custom_headers(self, *args, **kwargs):
        if kwargs or len(args) != 1 or type(args[0]) is not dict or len(Context.__dict__) != size:
            return usual(self, *args, **kwargs)
        headers = args[0]
        if headers.keys() <= known:
            return None
        return {name: value for name, value in headers.items() if name not in known}

    _get_custom_headers.__wrapped__ = usual
    return _get_custom_headers


def short_saferepr(usual):
    """`saferepr` as the tracer calls it; what it says of a small number needs no stack of tokens."""

    def saferepr(o, maxlen=None, maxlevels=3, seen=None):
        kind = type(o)
        if (kind in SINGLE or (kind is int and -SMALL < o < SMALL)) and (maxlen is None or maxlen >= SHORT):
            return repr(o)
        return usual(o, maxlen, maxlevels, seen)

    saferepr.__wrapped__ = usual
    return saferepr
