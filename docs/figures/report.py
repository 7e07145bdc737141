"""A picture of the head of a report: python docs/figures/report.py REPORT PICTURE [HEIGHT]."""

import subprocess
import sys
from pathlib import Path


def photograph(report: Path, picture: Path, height: int) -> None:
    """Show a report in a headless Chromium, 1000 px wide, and keep four fifths of that."""
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars",
         f"--window-size=1000,{height}", "--force-device-scale-factor=0.8",
         f"--screenshot={picture.resolve()}", report.resolve().as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv[3:], 1180)[0]))
