"""`celery -A proj rs-worker ...`: an entry point of the group `celery.commands`, which starts the program instead."""
import os

import click
from click.core import ParameterSource

from celery_rs import program


class Worker(click.Command):
    """Takes everything as it is: the program knows the options of `celery worker`."""

    def parse_args(self, ctx, args):
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx):
        program.start([*global_options(ctx.parent), 'worker', *ctx.args])


def global_options(ctx):
    """What stood before the command; what is in the environment stays there."""
    for option in ctx.command.params:
        value = ctx.params.get(option.name)
        given = ctx.get_parameter_source(option.name) == ParameterSource.COMMANDLINE
        if option.name == 'app' and not isinstance(value, (str, type(None))):
            # The one whose `start()` this is.
            yield from ('-A', program.location(value))
        elif given and option.name != 'workdir':
            # Celery has gone there already.
            yield from [option.opts[-1]] if option.is_flag else (option.opts[-1], os.fspath(value))


worker = Worker('rs-worker', short_help='Start worker instance, by celery-rs.')
