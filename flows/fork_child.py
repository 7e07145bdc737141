"""What the process that is forked for workers loads besides their work: its forks die with it.

Dask learns that a worker has ended from the process that forked it. Where that one is killed, its
forks would live on, unseen, and when told to leave the cluster would tell their nannies to close.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_server = os.getpid()
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_server() -> None:
    global _libc
    libc, _libc = _libc, None  # what a worker itself forks lives as that one says
    if libc is None:
        return
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _server:  # killed in between
        os.kill(os.getpid(), signal.SIGKILL)


os.register_at_fork(after_in_child=_die_with_server)
