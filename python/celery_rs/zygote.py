"""The zygote: loads the app as `celery worker` does, up to where the pool would start, and forks children on request."""
import gc
import io
import json
import logging
import os
import signal
import sys
import traceback

from celery_rs import stacks

NO_CELERY = """\
celery-rs cannot import celery in {0}: {1}
Activate the virtualenv of your project, or set VIRTUAL_ENV."""
NO_SQLALCHEMY = """\
The database result backend requires SQLAlchemy to be installed. See https://pypi.org/project/SQLAlchemy/
Tasks in Python ask their backend through it; only a worker of Rust tasks alone does without."""

#: The parent decides when to leave, and says so by closing the socket.
IGNORED_SIGNALS = ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2')
#: Of which Rust has handlers, where Python has none.
FATAL_SIGNALS = ('SIGSEGV', 'SIGBUS')


class Initialized(BaseException):
    """Unwinds the command line once the worker is as far as `WorkController.start`, or beat as its `run`."""

    def __init__(self, worker):
        super().__init__(worker)
        self.worker = worker


class Detached(BaseException):
    """Unwinds the command line: a daemon is wanted, and this is what it shall be (`DaemonOptions`)."""

    def __init__(self, options):
        super().__init__(options)
        self.options = options


class Failed(Exception):
    """There will be no worker: what Celery prints, and its exit code."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.message = message
        self.code = code


class NoSteps:
    """In the place of the worker's blueprint, whose steps are the parent's business."""

    def __init__(self, steps=None, **callbacks):
        self.steps = steps
        self.state = None

    def apply(self, worker, autoscale=None, **kwargs):
        warn_of_green_setting(worker.app)
        worker.autoscale = autoscale
        worker.max_concurrency, worker.min_concurrency = autoscale or (None, worker.concurrency)


def main(bridge, argv, survey=False):
    """Serves until the parent leaves; the exit code.

    With `survey` nothing is run afterwards: what would be refused is told instead, and nothing is written.
    """
    for name in IGNORED_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for name in FATAL_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    add_to_path(os.getcwd())
    try:
        worker = load(argv, survey)
        if is_beat(worker):
            bridge.manifest(prepare_beat(worker))
            return wait(bridge)
        if survey:
            bridge.manifest(look_at(worker))
            return wait(bridge)
        plan, text = prepare(worker)
    except Failed as failed:
        bridge.failed(failed.message, failed.code)
        return failed.code
    except Detached as detached:
        bridge.detach(json.dumps(detached.options))
        return 0
    except Exception:
        bridge.failed(traceback.format_exc().rstrip('\n'), 1)
        return 1
    stacks.install()
    bridge.manifest(text)
    freeze()
    return serve(bridge, plan, worker)


def add_to_path(directory):
    if directory not in sys.path:
        sys.path.insert(0, directory)


def load(argv, survey=False):
    """Celery's own command line, stopped before it starts the worker."""
    try:
        from celery import maybe_patch_concurrency
    except ImportError as exc:
        raise Failed(NO_CELERY.format(sys.prefix, exc)) from exc
    # As `celery` does, before anything else is imported.
    maybe_patch_concurrency(['celery', *argv])
    from celery.worker import WorkController

    from celery_rs import json_log
    json_log.install()
    WorkController.Blueprint = NoSteps
    WorkController.start = initialized
    from celery.apps.beat import Beat
    Beat.run = initialized_beat
    import click
    from celery.bin.celery import celery
    from celery_rs import daemon
    daemon.install()
    if survey:
        from celery_rs import surveyor
        surveyor.install()
    try:
        status = celery.main(args=list(argv), prog_name='celery', standalone_mode=False, auto_envvar_prefix='CELERY')
    except Initialized as done:
        return done.worker
    except click.ClickException as exc:
        raise Failed(shown(exc), exc.exit_code) from exc
    except click.exceptions.Abort as exc:
        raise Failed('Aborted!') from exc
    except SystemExit as exc:
        raise Failed('' if isinstance(exc.code, int) else str(exc.code or ''), exit_code(exc)) from exc
    raise Failed('', status if isinstance(status, int) else 0)


def initialized(worker):
    raise Initialized(worker)


def initialized_beat(beat):
    beat.init_loader()
    raise Initialized(beat)


def is_beat(loaded):
    from celery.apps.beat import Beat
    return isinstance(loaded, Beat)


def prepare_beat(beat):
    """The manifest, after which nothing is left to do here: what needs Python is not begun in Rust."""
    from celery_rs import manifest
    return json.dumps(manifest.of_beat(app_of(beat), beat))


def wait(bridge):
    """Until the parent has no more use for this process."""
    bridge.serve()
    while bridge.next() is not None:
        pass
    return 0


def shown(exc):
    """A usage error as click prints it."""
    text = io.StringIO()
    exc.show(file=text)
    return text.getvalue().rstrip('\n')


def exit_code(exc):
    if exc.code is None:
        return 0
    return exc.code if isinstance(exc.code, int) else 1


def prepare(worker):
    """The rest of what Celery's main process does before its pool starts."""
    from celery import signals
    from celery_rs import child, manifest, refusals, relay, shortcut, statedb
    add_to_path(os.getcwd())
    app = app_of(worker)
    for refusal in refusals.found(app, worker):
        raise Failed(str(refusal))
    pool = refusals.pool_name(worker)
    signals.celeryd_after_setup.send(sender=worker.hostname, instance=worker, conf=app.conf)
    refuse_without_sqlalchemy(app)
    relay.install(app)
    shortcut.install()
    state = statedb.read(worker)
    text = json.dumps(manifest.manifest(app, worker, pool, state))
    from celery import platforms
    platforms.set_process_title('celeryd', info=f'{worker.hostname}:zygote')
    if not worker._custom_logging and worker.redirect_stdouts:
        app.log.redirect_stdouts(worker.redirect_stdouts_level)
    warn_deprecated(app)
    return child.Plan(app, worker, pool), text


def look_at(worker):
    """The manifest of a worker that shall not run, with all that is refused."""
    from celery import signals
    from celery_rs import manifest, refusals
    add_to_path(os.getcwd())
    app = app_of(worker)
    refused = list(refusals.found(app, worker))
    # What Celery's own backend would create at once.
    app.conf.database_create_tables_at_setup = False
    refuse_without_sqlalchemy(app)
    signals.celeryd_after_setup.send(sender=worker.hostname, instance=worker, conf=app.conf)
    return json.dumps({**manifest.manifest(app, worker, refusals.pool_name(worker)), 'refusals': refused})


def app_of(worker):
    """The worker's class is bound to the app through a proxy in some cases."""
    return getattr(worker.app, '_get_current_object', lambda: worker.app)()


def refuse_without_sqlalchemy(app):
    """In the words that Celery has for it and does not come to."""
    try:
        app.backend
    except ModuleNotFoundError as exc:
        if exc.name != 'sqlalchemy':
            raise
        raise Failed(NO_SQLALCHEMY) from None


def warn_of_green_setting(app):
    """What Celery says to a pool that comes too late to patch anything."""
    from celery.worker import components
    if app.conf.worker_pool in components.GREEN_POOLS:
        import warnings
        warnings.warn(UserWarning(components.W_POOL_SETTING), stacklevel=2)


def warn_deprecated(app):
    source = app._config_source
    if isinstance(source, str) and source.lower() == 'django.conf:settings':
        return
    if app.conf.maybe_warn_deprecated_settings():
        logging.getLogger('celery.apps.worker').warning(
            'Please run `celery upgrade settings path/to/settings.py` to avoid these warnings and to allow a smoother '
            'upgrade to Celery 6.0.'
        )


def freeze():
    """Everything loaded so far is shared with the children for good: no collection shall write to its pages."""
    gc.collect()
    gc.disable()
    gc.freeze()


def serve(bridge, plan, worker):
    bridge.serve()
    while True:
        try:
            request = bridge.next()
        except ConnectionError:
            return 1
        if request is None:
            return 0
        kind, *details = request
        if kind == 'child':
            fork_child(bridge, plan, *details)
        elif kind == 'steward':
            fork_steward(bridge, plan, worker, *details)
        elif kind == 'beat':
            fork_beat(bridge, plan, worker, *details)
        else:
            fork_writer(bridge, plan, *details)


def fork_child(bridge, plan, index, serial, descriptors):
    from celery import signals
    from celery_rs import child
    if plan.pool == 'prefork':
        signals.worker_before_create_process.send(sender=plan.sender)
    pid = fork(plan)
    if pid == 0:
        become_child(bridge)
        child.serve(plan, index, serial, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    bridge.forked(index, pid)


def fork_steward(bridge, plan, worker, descriptors):
    pid = fork(plan)
    if pid == 0:
        become_child(bridge)
        from celery_rs import steward
        steward.serve(worker, plan.pool, *descriptors)
    os.close(*descriptors)
    bridge.steward_forked(pid)


def fork_beat(bridge, plan, worker, descriptors):
    pid = fork(plan)
    if pid == 0:
        become_child(bridge)
        from celery_rs import celerys_beat
        celerys_beat.serve(worker, *descriptors)
    os.close(*descriptors)
    bridge.steward_forked(pid)


def fork(plan):
    from celery_rs import child
    for stream in (sys.stdout, sys.stderr):
        child.flush(stream)
    return plan.fork()


def fork_writer(bridge, plan, clock, revoked):
    """A process that writes the state database: what Celery changes for that is nothing to the zygote."""
    pid = fork(plan)
    if pid:
        return bridge.saving(pid)
    from celery.worker import state
    from celery_rs import child, statedb
    code = 1
    try:
        bridge.leave()
        statedb.save(state, plan.statedb, plan.app.clock, revoked, clock)
        code = 0
    except BaseException:
        logging.getLogger('celery.worker').exception('cannot save the state database %s', plan.statedb)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            child.flush(stream)
        os._exit(code)


def become_child(bridge):
    bridge.leave()
    for name in IGNORED_SIGNALS:
        default = signal.default_int_handler if name == 'SIGINT' else signal.SIG_DFL
        signal.signal(getattr(signal, name), default)
