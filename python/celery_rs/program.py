"""The program that the wheel brings along, started in the place of this interpreter."""
import os
import shutil
import sys
import sysconfig


def path():
    """Beside this interpreter, or on the `PATH`."""
    installed = os.path.join(sysconfig.get_path('scripts'), 'celery-rs')
    found = installed if os.path.exists(installed) else shutil.which('celery-rs')
    if not found:
        raise SystemExit(f'there is no program celery-rs in {os.path.dirname(installed)}, nor on the PATH')
    return found


def main():
    start(sys.argv[1:])


def start(arguments):
    """Does not return: this process becomes the program, whose app runs in this environment."""
    if 'celery_rs._bridge' in sys.modules:
        raise RuntimeError("the app's module starts a worker while it is imported: `if __name__ == '__main__':` is missing")
    program = path()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.environ.setdefault('CELERY_RS_PYTHON', sys.executable)
    os.execv(program, [program, *arguments])


def worker_main(app, argv=None):
    """In the place of `app.worker_main(argv)`: `argv` is Celery's command line from `worker` on, or what comes before it too.

    `app` is the app or what `-A` would name. Does not return: nothing after it is run, nor `atexit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if 'worker' not in arguments:
        raise ValueError("The worker sub-command must be specified in argv, as app.worker_main wants it too.")
    name = app if isinstance(app, str) else location(app)
    start(['-A', name, *arguments])


def location(app):
    """`module:attribute` of an app that has been imported, or is in the script that runs."""
    # The script that runs is imported a second time by that name: better the module it has the app from.
    script = sys.modules['__main__']
    for name, module in sorted(sys.modules.items(), key=lambda item: item[1] is script):
        for attribute, value in list(getattr(module, '__dict__', {}).items()):
            if value is app:
                return f'{of_script(module) if module is script else name}:{attribute}'
    raise ValueError(f'{app!r} is not in a module: say as text where it is, as for -A')


def of_script(main):
    """By which name the script can be imported; its directory is looked in."""
    if getattr(main, '__spec__', None):
        return main.__spec__.name.removesuffix('.__main__')
    directory, script = os.path.split(os.path.abspath(main.__file__))
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, (directory, os.environ.get('PYTHONPATH'))))
    return os.path.splitext(script)[0]
