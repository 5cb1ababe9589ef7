"""Receivers that greenlet pools call, and what an app may have begun before its worker forks."""

import os
import socket
import subprocess
import threading
import time

from celery import current_app, signals

NOTED = (
    "worker_init", "worker_process_init", "eventlet_pool_started", "eventlet_pool_apply", "eventlet_pool_preshutdown",
    "eventlet_pool_postshutdown",
)
beats = 0


def note(name):
    def receiver(sender=None, args=(), **_):
        words = [name, type(sender).__module__.rpartition(".")[2], *map(str, args[:1])]
        with open(os.environ["PROJ_HOOKS"], "a") as log:
            log.write(" ".join(words) + "\n")

    getattr(signals, name).connect(receiver, weak=False)


for name in NOTED:
    note(name)


def beat():
    global beats
    while True:
        time.sleep(0.005)
        beats += 1


@signals.worker_init.connect
def use_the_hub(**_):
    """All that makes a library set up its hub, its helpers and its threads."""
    use_everything()
    threading.Thread(target=beat, daemon=True).start()


def use_everything():
    time.sleep(0.001)
    subprocess.run(["true"], check=True)
    socket.getaddrinfo("localhost", 80)


@current_app.task(name="proj.beats")
def wait_for_beats(many):
    """Ends when the thread that was started before the fork has run so often after it."""
    use_everything()
    until = beats + many
    while beats < until:
        time.sleep(0.005)
    return True
