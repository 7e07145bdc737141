"""Settings of Prefect that a local run needs; imported before Prefect is.

A local run starts no server that listens beyond localhost, sends nothing, and keeps its database
under the user's own state folder. Whatever is already set in the environment wins.
"""

import os
from pathlib import Path


def state_folder() -> Path:
    """Folder of what Phasemill remembers on this machine, apart from any result."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "phasemill"


def quiet_local_prefect() -> None:
    """Set Prefect's environment for a run without a server: no telemetry, no chatter, local.

    Raises
    ------
    OSError
        If the folder for Prefect's record cannot be made.
    """
    if "PREFECT_HOME" not in os.environ:
        home = state_folder() / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        os.environ["PREFECT_HOME"] = str(home)
    for name, value in {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_CLI_PROMPT": "false",
    }.items():
        os.environ.setdefault(name, value)
