"""What Celery calls for every task, several times, by shorter ways to the same answers.

Each is put in place only where a trial shows that the installed Celery answers alike, and where nobody else has replaced
Celery's own.
"""
from celery.app import trace
from celery.app.task import Context
from celery.utils import saferepr as saferepr_module
from celery.utils import threads

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
    if stacks_are_celerys() and played(ShortStack()) == played(threads._LocalStack()):
        for name in STACK:
            setattr(threads._LocalStack, name, ShortStack.__dict__[name])


def of_celery(function, module):
    return getattr(function, '__module__', None) == module and not hasattr(function, '__wrapped__')


def list_of(headers):
    return None if headers is None else list(headers.items())


STACK = ('push', 'pop', 'top')


class ShortStack(threads._LocalStack):
    """Celery's stack of what runs, which asks for a missing attribute, and catches what that raises, whenever it is empty."""

    def push(self, obj):
        local = self._local
        storage, ident = local.__storage__, local.__ident_func__()
        names = storage.get(ident)
        stack = names.get('stack') if names else None
        if stack is None:
            local.stack = stack = []
        stack.append(obj)
        return stack

    def pop(self):
        local = self._local
        storage, ident = local.__storage__, local.__ident_func__()
        names = storage.get(ident)
        stack = names.get('stack') if names else None
        if stack is None:
            return None
        if len(stack) == 1:
            storage.pop(ident, None)
            return stack[-1]
        return stack.pop()

    @property
    def top(self):
        local = self._local
        names = local.__storage__.get(local.__ident_func__())
        stack = names.get('stack') if names else None
        return stack[-1] if stack else None


def stacks_are_celerys():
    own = [getattr(threads._LocalStack, name) for name in ('push', 'pop')] + [threads._LocalStack.top.fget]
    used = [getattr(threads.Local, name) for name in ('__getattr__', '__setattr__', '__release_local__')]
    return all(of_celery(function, 'celery.utils.threads') for function in own + used)


def played(stack):
    """What a stack answers, and what it holds, at each step of a short life."""
    steps = [stack.pop, lambda: stack.push(1), lambda: stack.push(2), stack.pop, stack.pop, stack.pop, lambda: stack.push(3)]
    return [(repr(step()), stack.top, len(stack), list(stack._local.__storage__.values())) for step in steps]


def custom_headers(usual):
    """`Context._get_custom_headers`, which takes some sixty names out of a copy of what are some twenty."""
    known = frozenset(Context.__dict__) | {'lang', 'task', 'argsrepr', 'kwargsrepr', 'compression'}
    size = len(Context.__dict__)

    def _get_custom_headers(self, *args, **kwargs):
        # What the tracer gives by name are names of Celery's own.
        if len(args) != 1 or type(args[0]) is not dict or not kwargs.keys() <= known or len(Context.__dict__) != size:
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
