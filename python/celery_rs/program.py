"""The program that the wheel brings along, started in the place of this interpreter."""
import os
import sys
import sysconfig


def path():
    return os.path.join(sysconfig.get_path('scripts'), 'celery-rs')


def main():
    program = path()
    os.environ.setdefault('CELERY_RS_PYTHON', sys.executable)
    os.execv(program, [program, *sys.argv[1:]])
