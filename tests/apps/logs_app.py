"""An app that speaks, and whose logging is set up as the environment says."""

import json
import logging
import os
import sys

from celery import Celery, signals
from celery.utils.log import get_task_logger

app = Celery("proj", broker=os.environ.get("PROJ_BROKER"), backend=os.environ.get("PROJ_BACKEND") or None)
app.conf.update(task_default_queue=os.environ.get("PROJ_QUEUE", "proj"), **json.loads(os.environ.get("LOGS_CONF", "{}")))

#: Receivers note how they are called.
CALLS = os.environ.get("LOGS_CALLS")
#: Where handlers of the app's own write.
OWN = os.environ.get("LOGS_OWN")
WANTED = os.environ.get("LOGS_WANTED", "").split()


def own_handler():
    handler = logging.FileHandler(OWN)
    handler.setFormatter(logging.Formatter("own|%(levelname)s|%(name)s|%(processName)s|%(message)s"))
    return handler


def note(signal, kwargs):
    logger = kwargs.get("logger")
    told = {
        "signal": signal,
        "arguments": sorted(kwargs),
        "logger": logger and logger.name,
        "handlers": logger and [type(handler).__name__ for handler in logger.handlers],
        "loglevel": kwargs["loglevel"],
        "logfile": kwargs["logfile"] and os.path.basename(kwargs["logfile"]),
        "format": kwargs["format"],
        "colorize": kwargs["colorize"],
    }
    with open(CALLS, "a") as file:
        file.write(json.dumps(told) + "\n")


def receive(name):
    def receiver(**kwargs):
        note(name, kwargs)
        if name == "setup_logging":
            root = logging.getLogger()
            root.addHandler(own_handler())
            root.setLevel(logging.INFO)
        elif name == "after_setup_logger":
            kwargs["logger"].addHandler(own_handler())
        else:
            for handler in kwargs["logger"].handlers:
                handler.setFormatter(logging.Formatter("task|%(levelname)s|%(message)s"))

    getattr(signals, name).connect(receiver, weak=False)


for wanted in WANTED:
    if wanted == "root":
        logging.getLogger().addHandler(own_handler())
    else:
        receive(wanted)


@app.task(name="proj.speak")
def speak(word):
    get_task_logger("proj").info("by the task's logger: %s", word)
    logging.getLogger("proj.other").warning("by a logger: %s", word)
    print(f"printed: {word}")
    print(f"printed in error: {word}", file=sys.stderr)
    return word


@app.task(name="proj.raise_it")
def raise_it(word):
    raise ValueError(word)


@app.task(name="proj.expects", throws=(KeyError,))
def expects(word):
    logging.getLogger("proj.other").error("about to raise", exc_info=ZeroDivisionError(word))
    raise KeyError(word)
