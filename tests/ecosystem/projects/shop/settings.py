import os
import pathlib

from django.utils.translation import gettext_lazy

DIRECTORY = pathlib.Path(os.environ["ECO_DIR"])
SECRET_KEY = "none"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_results", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3",
        # Two processes write to it.
        "OPTIONS": {"timeout": 30},
    },
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": DIRECTORY / "cache"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
#: No plain data: it is text once somebody asks.
SHOP_NAME = gettext_lazy("a shop")

CELERY_BROKER_URL = os.environ["ECO_BROKER"]
CELERY_RESULT_BACKEND = os.environ.get("ECO_RESULTS") or "django-db"
CELERY_CACHE_BACKEND = "django-cache"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_TRACK_STARTED = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_TIME_LIMIT = 30
CELERY_DB_REUSE_MAX = int(os.environ.get("ECO_REUSE") or 0)
