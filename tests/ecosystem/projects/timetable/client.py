"""What the project's administrator does."""

import django

django.setup()


def prepare():
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    call_command("migrate", run_syncdb=True, verbosity=0)
    second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="each second", task="timetable.tasks.note", args='["tick"]', interval=second)
