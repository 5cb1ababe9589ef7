"""The Celery project that both workers serve. Only workers import it: the client sends by name."""

from project.celery import app  # noqa: F401
