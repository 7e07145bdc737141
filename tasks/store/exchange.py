"""A folder takes the place of another in one step."""

import ctypes
import errno
import os
import shutil
from pathlib import Path


def move_into_place(aside: Path, folder: Path) -> None:
    """Rename a finished folder to its name, in one step where another already stands there."""
    if not folder.exists():
        aside.rename(folder)
        return
    try:
        _exchange(aside, folder)
        shutil.rmtree(aside)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
        # A filesystem that cannot exchange names: the old one steps aside first.
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        aside.rename(folder)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> None:
    at_cwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, "renameat2 is not there")
    done = libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), rename_exchange)
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))
