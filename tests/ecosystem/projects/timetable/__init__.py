"""A Django project whose schedule is in its database."""
from timetable.celery import app

__all__ = ("app",)
