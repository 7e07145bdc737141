"""The site builds without a warning, no link of it is dead, and it loads nothing from elsewhere."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("sphinx", reason="the site needs phasemill[docs]")


class Page(HTMLParser):
    """What a page of the site names: its anchors, its links, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.loaded += [found["src"]] if "src" in found else []
        self.loaded += [found["href"]] if tag == "link" and "href" in found else []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-c", "docs", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [*command, "-d", str(folder / "state"), ".", str(folder / "html")],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONSAFEPATH": ""},
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder / "html"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert {"tutorial.html", "physics.html", "job.html"} <= {path.name for path in pages}
    dead, foreign = [], []
    for path, page in pages.items():
        foreign += [f"{path.name}: {one}" for one in page.loaded if "//" in one]
        for link in [*page.links, *page.loaded]:
            if ":" in link.partition("#")[0] or "//" in link:
                continue
            name, _, anchor = link.partition("?")[0].partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            named = pages[target].anchors if target in pages else set()
            if not target.exists() or (anchor and unquote(anchor) not in named):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert dead == []
    assert foreign == []
