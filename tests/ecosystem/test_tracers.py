"""Libraries that replace what Celery runs tasks with."""

from side import KINDS


def test_celery_aio_pool(both):
    returned, postruns, code = both("aio_app", summary)
    assert returned == [["3", "ValueError(True)", "8", 7]] and code == 0


def summary(found):
    return found.returned, [(record["task"], record["state"]) for record in found.of("postrun")], found.code


def test_what_needs_celerys_consumer_is_refused(sides):
    """A Strategy decides what its task is called with: no worker starts. Of a Request it is said when it is used."""
    ours = sides("batches_app", ECO_BATCHES="1")[KINDS.index("ours")]
    assert ours.start(ready=False).process.wait(60) == 1
    assert ours.worker.text().splitlines()[-1] == (
        "celery-rs cannot run the task 'batches_app.collect', whose Strategy celery_batches:Batches.Strategy works with "
        "Celery's consumer: leave it out of this worker's app, or run this worker with Python's celery"
    )
    ours = sides("batches_app")[KINDS.index("ours")]
    found = ours.play((), ("client",))
    assert found.returned == [3]
    line = "task batches_app.add: batches_app:Watched is used by celery-rs only for ends that no child has seen"
    assert found.log.count(line) == 1
