"""What one check of the doctor says."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "bad"]
"""``warn``: works, but not well, or not always; ``bad``: will not work."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    level: Level
    found: str
    mend: str = ""
    """What to do; empty where all is well."""
