"""Found by `autodiscover_tasks`."""

from celery import shared_task


@shared_task(name="found_by_itself")
def found_by_itself():
    return "found"
