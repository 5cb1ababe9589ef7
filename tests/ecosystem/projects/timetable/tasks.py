from celery import shared_task
from record import record


@shared_task(bind=True)
def note(self, word):
    record("noted", word=word, name=self.request.periodic_task_name)
