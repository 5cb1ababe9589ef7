"""Builds the wheel: the module by maturin, and the program `celery-rs`, which maturin has no place for beside a module
(PyO3/maturin#368), by cargo, as a script of the wheel.

Nothing in it links libpython: the program has no Python inside, and has the interpreter beside it load the module.
"""
import json
import pathlib
import shutil
import subprocess

import maturin
from maturin import (  # noqa: F401: the rest of the interface; metadata are taken from the wheel
    get_requires_for_build_editable, get_requires_for_build_sdist, get_requires_for_build_wheel,
)

#: `data` of `[tool.maturin]`, and the directory in it that pip installs from into the environment's `bin`.
SCRIPTS = pathlib.Path('target', 'wheel.data', 'scripts')
#: Arguments of maturin that hold for the program too.
SHARED = ('--profile', '--target')


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    put_program(config_settings)
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    put_program(config_settings)
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    return maturin.build_sdist(sdist_directory, config_settings)


def put_program(config_settings):
    command = ['cargo', 'build', '--locked', '--bin', 'celery-rs', '--no-default-features', '--features', 'program']
    command += ['--message-format', 'json-render-diagnostics']
    options = shared(maturin.get_maturin_pep517_args(config_settings))
    options.setdefault('--profile', 'release')
    built = subprocess.run([*command, *(f'{name}={value}' for name, value in options.items())], stdout=subprocess.PIPE)
    if built.returncode:
        raise SystemExit(f'cargo cannot build the program: exit code {built.returncode}')
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    shutil.copy2(executable(built.stdout), SCRIPTS / 'celery-rs')


def shared(arguments):
    """With `--name value` and `--name=value`."""
    words = [word for argument in arguments for word in argument.split('=', 1)]
    return {name: value for name, value in zip(words, words[1:]) if name in SHARED}


def executable(messages):
    artifacts = map(json.loads, messages.splitlines())
    return [artifact['executable'] for artifact in artifacts if artifact.get('executable')][-1]
