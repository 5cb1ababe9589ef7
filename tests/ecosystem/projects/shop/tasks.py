import os
import time

from celery import shared_task, signals
from celery.exceptions import Ignore
from django.db import connection, transaction
from django.utils.translation import gettext_lazy

from record import record
from shop.models import Order


@signals.worker_init.connect
def on_worker_init(**_):
    """A query in Celery's main process: its connection is open when children are forked."""
    record("main", orders=Order.objects.count(), **connections())
    # Django's fixup has connected its receivers before.
    signals.worker_process_init.connect(on_process_init)
    signals.task_prerun.connect(on_prerun)
    signals.task_postrun.connect(on_postrun)


def on_process_init(**_):
    record("child", **connections())


def on_prerun(sender=None, **_):
    record("prerun", task=sender.name, **connections())


def on_postrun(sender=None, **_):
    record("postrun", task=sender.name, **connections())


def connections():
    return {"open": connection.connection is not None}


@shared_task
def add(x, y):
    return x + y


@shared_task
def fails(x):
    raise ValueError(x)


@shared_task(bind=True)
def meta(self):
    self.request.meta = {"noted": self.request.id}
    return "noted"


@shared_task(bind=True, max_retries=1)
def retries(self):
    raise self.retry(exc=OSError("again"), countdown=0)


@shared_task
def ignored():
    raise Ignore


@shared_task(ignore_result=True)
def unkept():
    return 1


@shared_task
def dies():
    os._exit(3)


@shared_task(time_limit=1)
def hangs():
    time.sleep(60)


@shared_task
def lazy():
    return {"text": gettext_lazy("lazily"), "orders": list(Order.objects.values_list("name", flat=True))}


@shared_task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 50})
    raise Ignore


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def stored(name):
    return Order.objects.filter(name=name).count()


@shared_task(bind=True)
def orders(self, name, fail=False):
    """Whoever is told on commit finds what has been committed; nobody is told of what is not."""
    try:
        with transaction.atomic():
            Order.objects.create(name=name)
            stored.delay_on_commit(name)
            stored.apply_async_on_commit((name,), task_id=f"{self.request.id}-2")
            record("in transaction", sent=len(transaction.get_connection().run_on_commit))
            if fail:
                raise ValueError(name)
    except ValueError:
        return "rolled back"
    return [base.__name__ for base in type(self).__mro__]
