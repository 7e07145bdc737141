"""What every test may ask for."""

import shutil
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and reference recordings, which are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"reference recordings are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def chromium():
    """A browser without a window."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
