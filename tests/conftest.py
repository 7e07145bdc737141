"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and reference recordings, which are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"reference recordings are not at {SHARED}")
    return SHARED
