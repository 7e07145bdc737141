"""Each test that the page on formats names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tests_that_the_page_names_are_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/formats.md").read_text("utf-8")))
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert len(named) > 25
    assert named <= defined
