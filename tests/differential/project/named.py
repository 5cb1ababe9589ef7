"""Imported because the command line says so."""

from celery import shared_task


@shared_task(name="named_on_the_command_line", bind=True)
def named(self):
    return [self.max_retries, self.rate_limit, self.time_limit]
