"""Why a file cannot be read, in words for whoever named it."""

import os
import stat
from pathlib import Path

EFFECTIVE = os.access in os.supports_effective_ids
"""Ask for the rights that count, where the system can tell them from those of who logged in."""


def why_unreadable(path: str | Path, folders: bool = False) -> str | None:
    """Why a file or folder cannot be read; None where it can.

    A pipe or device counts as unreadable, for it would be waited for without end.

    Parameters
    ----------
    path : path
        Links are followed.
    folders : bool
        Whether a folder will do.

    Returns
    -------
    str or None
        The end of a sentence that begins with the path.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            return f"this is a link to {os.readlink(path)}, which is not there."
        return "there is no such file."
    except ValueError:  # a name with a zero in it
        return "there is no such file."
    except PermissionError:
        return "this user may not look into its folder."
    except OSError as error:
        return f"cannot be read: {error.strerror}."
    if stat.S_ISDIR(mode) and not folders:
        return "this is a folder; give a file."
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "this is no regular file."
    if not os.access(path, os.R_OK, effective_ids=EFFECTIVE):
        return "this user may not read it."
    return None


def why_unwritable(path: str | Path) -> str | None:
    """Why no file can be written at a path, in folders that are made where they are not there.

    Parameters
    ----------
    path : path
        Of a file; one that is there would be replaced.

    Returns
    -------
    str or None
        The end of a sentence that begins with the path; None where nothing speaks against it.
    """
    if os.path.isdir(path):
        return "this is a folder; give the name of a file."
    standing = next(one for one in Path(path).absolute().parents if os.path.exists(one))
    if not standing.is_dir():
        return f"{standing} is no folder."
    if not os.access(standing, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
        return f"this user may not write to {standing}."
    return None


def in_words(error: BaseException) -> str:
    """What an error says, an operating system's one without its number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    named = error.filename is not None
    return f"{os.fsdecode(error.filename)}: {error.strerror}" if named else error.strerror
