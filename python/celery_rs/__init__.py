"""The Python half of celery-rs: loads an app in the zygote, and runs its tasks in forked children.

Everything that Celery can do by itself is left to the installed Celery.
"""
