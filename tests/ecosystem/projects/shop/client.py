"""What the project's web processes do."""

import django

django.setup()


def prepare():
    from django.core.management import call_command
    from shop.models import Order

    call_command("migrate", run_syncdb=True, verbosity=0)
    Order.objects.create(name="first")
    return None


def client():
    from celery import chain, chord, group
    from celery.result import AsyncResult
    from django_celery_results.models import ChordCounter, GroupResult

    from shop import tasks

    plain = (
        tasks.add.s(1, y=2), tasks.fails.s("no"), tasks.meta.s(), tasks.retries.s(), tasks.lazy.s(),
        tasks.orders.s("second"), tasks.orders.s("third", fail=True),
        chain(tasks.add.s(1, 1), tasks.add.s(3)), chord([tasks.add.s(1, 2), tasks.add.s(3, 4)], tasks.total.s()),
        chord([tasks.add.s(1, 2), tasks.fails.s("part")], tasks.total.s()),
    )
    ids, got = [], []
    for signature in plain:
        result = signature.apply_async()
        got.append(repr(result.get(propagate=False, timeout=60)))
        ids += names(result)
    later = AsyncResult(f"{ids[5]}-2")
    later.get(timeout=60)
    ids.append(later.id)
    for signature in tasks.ignored.s(), tasks.unkept.s(), tasks.progress.s():
        ids.append(signature.apply_async().id)
    done = group(tasks.add.s(1, 1), tasks.add.s(2, 2)).apply_async()
    done.save()
    done.get(timeout=60)
    ids += names(done)
    return {
        "ids": ids, "got": got, "rows": rows(), "chords": list(ChordCounter.objects.values_list("count", flat=True)),
        "groups": [group_row(row) for row in GroupResult.objects.all()],
        "restored": [result.get() for result in done.restore(done.id).results],
        "read": [type(AsyncResult(id).result).__name__ for id in ids],
    }


def lost():
    from celery import chord

    from shop import tasks

    results = [tasks.dies.delay(), tasks.hangs.delay(), tasks.add.apply_async((1, 2), expires=-1)]
    results.append(chord([tasks.add.s(1, 2), tasks.dies.s()], tasks.total.s())())
    got = [repr(result.get(propagate=False, timeout=60)) for result in results]
    ids = [id for result in results for id in names(result)]
    return {"ids": ids, "got": got, "rows": rows()}


def names(result):
    """Ids in the order in which a workflow runs."""
    found = names(result.parent) if result.parent is not None else []
    for part in getattr(result, "results", None) or ():
        found += names(part)
    return [*found, result.id]


def rows():
    from django_celery_results.models import TaskResult

    return [
        {**{field.name: getattr(row, field.name) for field in row._meta.fields if not field.name.startswith("date_")},
         "dates": [name for name in ("date_created", "date_started", "date_done") if getattr(row, name)]}
        for row in TaskResult.objects.order_by("id")
    ]


def group_row(row):
    return {"result": row.result, "content": [row.content_type, row.content_encoding]}
