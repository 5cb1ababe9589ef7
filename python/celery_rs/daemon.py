"""What of `celery worker` is the parent's business although its options are Celery's: `--detach`, `--uid` and `--gid`."""
import os
import sys

from celery import platforms

from celery_rs.zygote import Detached

#: `celery.bin.celery` has imported it, and shows the command of that name instead.
worker = sys.modules['celery.bin.worker']


def install():
    worker.detach = detach
    worker.maybe_drop_privileges = drop_privileges


def detach(
    path, argv, logfile=None, pidfile=None, uid=None, gid=None, umask=None, workdir=None, fake=False, app=None,
    executable=None, hostname=None,
):
    """In the place of Celery's, which forks: the parent starts the daemon."""
    options = {
        'logfile': logfile, 'pidfile': pidfile, 'uid': uid, 'gid': gid, 'umask': umask, 'executable': executable,
    }
    written = {name: None if value is None or value == '' else str(value) for name, value in options.items()}
    raise Detached({'hostname': hostname or '', **written})


def drop_privileges(uid=None, gid=None):
    """As Celery does it. Whoever is that user already has nothing to drop, and may not ask again."""
    is_user = not uid or os.getuid() == os.geteuid() == platforms.parse_uid(uid)
    is_group = not gid or os.getgid() == os.getegid() == platforms.parse_gid(gid)
    if not (is_user and is_group):
        platforms.maybe_drop_privileges(uid=uid, gid=gid)
