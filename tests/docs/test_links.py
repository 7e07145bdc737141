"""Every link of the documentation leads somewhere."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for folder in (".", "docs", "docs/adr", "docs/reference", "benchmarks", "deploy")
    for page in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Names that a page's headings have in a link, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = [
        "".join(c for c in head.lower() if unicodedata.category(c)[0] in "LN" or c in " -_")
        for head in heads
    ]
    return {head.replace(" ", "-") for head in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_reached_from_the_readme_or_the_index():
    reached = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        reached |= {
            (page.parent / link.partition("#")[0]).resolve()
            for link in LINK.findall(text)
            if not re.match(r"[a-z]+:", link)
        }
    assert [p for p in PAGES if p.name != "README.md" and p.resolve() not in reached] == []
