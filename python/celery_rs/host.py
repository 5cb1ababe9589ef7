"""`python -m celery_rs.host OPTIONS`: what the wheel's program becomes for its zygote, an interpreter of this environment."""
import os
import sys

if __name__ == '__main__':
    from celery_rs import _bridge
    code = _bridge.zygote(sys.argv[1])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # As the program ends that has an interpreter inside: what the app has registered for the exit is its children's.
    os._exit(code)
