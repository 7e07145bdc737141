"""How the site is made of the Markdown pages: ``make docs`` writes it to ``build/site``.

The pages are plain Markdown, as a repository's browser shows it. The root of the project is the
root of the sources, so that links to the changelog or to a source file mean the same in both.
"""

import re
from importlib.metadata import version as version_of

# Autodoc imports as a type checker would; Prefect cannot be loaded for the first time like that.
import prefect.main  # noqa: F401
from sphinx.application import Sphinx

project = "Phasemill"
author = "The Phasemill developers"
copyright = "The Phasemill developers. BSD-3-Clause"
version = release = version_of("phasemill")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    "docs/**", "benchmarks/RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "tests", "deploy", "**/__pycache__", "*.egg-info"]
# A shape such as (positions, 2) in a docstring is for people; it is no reference to an attribute.
suppress_warnings = ["ref.python"]

# Pages ---------------------------------------------------------------------------------------
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # notebooks keep their outputs; the tests run them anew
nb_merge_streams = True
smartquotes = False  # which would make a dash of --json
copybutton_prompt_text = "$ "

# The reference of the Python functions --------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
toc_object_entries = False

# How it looks --------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_title = "Phasemill"
html_show_sourcelink = False
html_copy_source = False
html_additional_pages = {"index": "to_index.html"}
templates_path = ["templates"]
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
}


def setup(app: Sphinx) -> None:
    """Connect what Sphinx cannot know of these pages."""
    app.connect("source-read", _contents_from_links)
    app.connect("autodoc-process-docstring", _plain_text, priority=100)
    app.connect("autodoc-process-docstring", _whole_sentence, priority=900)


def _contents_from_links(app: Sphinx, page: str, source: list[str]) -> None:
    # The page of contents is a list of links with headings; the site's menu is made of the same.
    if page != root_doc:
        return
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        linked = re.findall(r"\]\(([^):#\s]+\.(?:md|ipynb))\)", text)
        pages = "\n".join(dict.fromkeys(linked))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def _plain_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]):
    # Docstrings are text with ``code``; |Γ| and A* are the field's, and no marks of Sphinx.
    for number, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        parts[::2] = [re.sub(r"([*|\\])", r"\\\1", re.sub(r"`", r"\`", p)) for p in parts[::2]]
        lines[number] = "".join(parts)
    _before_napoleon[name] = [*lines]


_before_napoleon: dict[str, list[str]] = {}


def _whole_sentence(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
):
    # Of "Signed sums: sign, and where they begin", napoleon takes all before the colon for a type.
    if what in ("attribute", "data", "property"):
        lines[:] = _before_napoleon[name]
