import os
import pathlib

DIRECTORY = pathlib.Path(os.environ["ECO_DIR"])
SECRET_KEY = "none"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_beat", "timetable"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3", "OPTIONS": {"timeout": 30}},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = os.environ["ECO_BROKER"]
CELERY_RESULT_BACKEND = os.environ["ECO_BACKEND"]
CELERY_TIMEZONE = TIME_ZONE
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
