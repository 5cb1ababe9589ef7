"""The app of the zygote tests."""
import os
import sys
import time

import billiard
from celery import Celery, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery(
    'proj', broker='redis://localhost:1/0', backend=os.environ.get('TEST_BACKEND', 'redis://localhost:1/1'),
)
app.conf.update(
    task_queues=None, result_expires=3600, task_soft_time_limit=30,
    task_routes={'proj.add': {'queue': 'sums'}}, task_annotations={'proj.annotated': {'rate_limit': '7/m'}},
)
journal = os.environ.get('TEST_JOURNAL')


def note(text):
    if journal:
        with open(journal, 'a') as file:
            file.write(f'{text}\n')


@app.task
def add(x, y):
    return x + y


@app.task
def annotated():
    pass


@app.task
def noted(text):
    note(text)


@app.task
def wait(path):
    """Until somebody creates the file."""
    note('waiting')
    while not os.path.exists(path):
        time.sleep(0.005)
    return 'over'


@app.task
def fail():
    raise KeyError('nothing there')


@app.task(bind=True, max_retries=3)
def again(self):
    # Not published: the broker of this app does not exist.
    self.request.called_directly = False
    from celery.exceptions import Retry
    raise Retry('once more', exc=ValueError('why'))


@app.task
def ignore():
    raise Ignore()


@app.task
def reject(requeue):
    raise Reject('not me', requeue=requeue)


@app.task
def leave(code):
    sys.exit(code)


@app.task
def sign(path, text, dies):
    """One line of the file tells that it has run."""
    with open(path, 'a') as file:
        file.write(f'{text}\n')
    if dies:
        os._exit(7)


@app.task
def exhaust():
    raise MemoryError()


@app.task
def soft(path):
    note('softly')
    try:
        while not os.path.exists(path):
            time.sleep(0.005)
    except SoftTimeLimitExceeded:
        return 'soft limit'
    return 'no limit'


@app.task
def whoami():
    current = billiard.current_process()
    return [current.name, getattr(current, 'index', None), sys.prefix, sys.argv]


@app.task(bind=True)
def context(self):
    request = self.request
    return {
        'id': request.id, 'delivery_info': request.delivery_info, 'reply_to': request.reply_to,
        'hostname': request.hostname, 'headers': request.headers, 'correlation_id': request.correlation_id,
        'properties': request.properties, 'task': request.task, 'retries': request.retries,
    }


class Hooked(app.Task):
    def on_success(self, retval, task_id, args, kwargs):
        note('on_success')


@app.task(base=Hooked)
def hooked():
    return 'done'


@signals.worker_init.connect
def on_init(sender, **kwargs):
    note(f'worker_init {sender.hostname}')


@signals.worker_process_init.connect
def on_process_init(**kwargs):
    note('worker_process_init')
    if os.environ.get('TEST_FAIL_INIT'):
        sys.exit(3)


@signals.worker_process_shutdown.connect
def on_process_shutdown(pid, exitcode, **kwargs):
    note(f'worker_process_shutdown {exitcode}')
