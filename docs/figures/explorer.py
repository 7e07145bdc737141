"""The picture of the explorer: python docs/figures/explorer.py rotavirus_events.h5."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

MICROSCOPE = ["--voltage-kv", "300", "--semiangle-mrad", "1.03", "--scan-step-angstrom", "31.25"]
IMAGES = Path(__file__).parents[1] / "images"


def main() -> None:
    """Open a recording, let Auto fit it, and take the page in focus and without defocus."""
    program = Path(sys.executable).with_name("phasemill")
    command = [program, "explore", sys.argv[1], *MICROSCOPE, "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1500, "height": 1120})
            page.set_default_timeout(120_000)
            page.goto(address)
            page.locator("#detectorA").wait_for()
            page.get_by_role("button", name="Auto", exact=True).click()
            page.get_by_text("of the signal explained").wait_for()
            page.get_by_label("saved by").fill("ana")
            _take(page, "explorer.png")
            box = page.locator(".box-C10 input")
            box.fill("0")
            box.press("Enter")
            _take(page, "explorer_unfocused.png")
        process.terminate()


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(5000)  # all pictures are drawn
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
