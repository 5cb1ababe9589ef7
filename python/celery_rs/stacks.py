"""What a child is doing, for USR1: written at a signal by C code, so that it is told of a thread that holds the GIL too."""
import faulthandler
import signal

STDERR = 2


def install():
    """In the zygote; its children inherit it."""
    faulthandler.register(signal.SIGPWR, file=STDERR, all_threads=True, chain=False)
