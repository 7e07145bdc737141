"""Settings of Prefect and of numba that a local run needs; Prefect's are made before its import.

A local run starts no server that listens beyond localhost, sends nothing, and keeps Prefect's
database under the user's own state folder. Whatever is already set in the environment wins. Whoever
has no home to write to, as a service may, gets temporary folders, which go with the run.
"""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


class PlaceError(ValueError):
    """A run finds no folder for what it needs to write beside its results."""


def state_folder() -> Path:
    """Folder of what Phasemill remembers on this machine, apart from any result."""
    return _of_user("XDG_STATE_HOME", ".local/state") / "phasemill"


def kernel_caches() -> list[Path]:
    """Folders in which numba would keep compiled kernels, best first."""
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if asked:
        return [Path(asked)]
    return [ROOT / "gpu_kernels" / "__pycache__", _of_user("XDG_CACHE_HOME", ".cache") / "numba"]


def can_write(folder: Path) -> bool:
    """Whether a folder is there, or can be made, and takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def find_caches() -> None:
    """Give numba and matplotlib temporary folders where they have no other.

    Numba compiles nothing without one, and matplotlib warns at each start.
    """
    drawing = _of_user("XDG_CONFIG_HOME", ".config") / "matplotlib"
    if not os.environ.get("MPLCONFIGDIR") and not can_write(drawing):
        os.environ["MPLCONFIGDIR"] = str(_temporary() / "matplotlib")
    if not any(map(can_write, kernel_caches())):
        os.environ["NUMBA_CACHE_DIR"] = str(_temporary() / "numba")
        from numba import config

        config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]  # it reads its environment once


def quiet_local_prefect() -> str:
    """Set Prefect's environment for a run without a server: no telemetry, no chatter, local.

    Returns
    -------
    str
        What to tell the user; empty where all is as it should be.

    Raises
    ------
    PlaceError
        If ``PREFECT_HOME`` is set and cannot be written.
    """
    said, home = "", os.environ.get("PREFECT_HOME")
    if home and not can_write(Path(home)):
        raise PlaceError(f"PREFECT_HOME: {home} cannot be written; give a folder of your own.")
    if not home:
        home = str(state_folder() / "prefect")
        if not can_write(Path(home)):
            said = (
                f"{state_folder()} cannot be written: Prefect's record goes with this run. Set "
                "XDG_STATE_HOME to a folder of your own to keep it."
            )
            home = tempfile.mkdtemp(dir=_temporary())
    for name, value in {
        "PREFECT_HOME": home,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_CLI_PROMPT": "false",
    }.items():
        os.environ.setdefault(name, value)
    return said


def _of_user(variable: str, below_home: str) -> Path:
    """A folder that an environment variable names, or its usual place below the home."""
    base = os.environ.get(variable)
    try:
        return Path(base) if base else Path.home() / below_home
    except RuntimeError:  # a user without an entry, as in containers
        return Path("/nonexistent") / below_home


@cache
def _temporary() -> Path:
    """A folder for this process and those that it starts; nobody else can read it.

    Raises
    ------
    PlaceError
        If not even that can be made.
    """
    try:
        folder = tempfile.mkdtemp(prefix="phasemill-")
    except OSError as error:
        raise PlaceError(
            f"no folder for temporary files can be written ({error.strerror}); set TMPDIR to one."
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
