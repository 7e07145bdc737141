"""Write the tables of ``job.md`` anew from the job's model: run it after a key was added.

    .venv/bin/python docs/job_keys.py

Each table stands between ``<!-- keys of NAME -->`` and ``<!-- end -->``.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from flows import options, worker_options
from flows.dataset import Dataset
from flows.job import Job

PAGE = Path(__file__).with_name("job.md")
MODELS: dict[str, type[options.Options]] = {
    model.__name__: model
    for model in (Job, Dataset, *vars(options).values(), *vars(worker_options).values())
    if isinstance(model, type) and issubclass(model, options.Options)
}
TABLE = re.compile(r"<!-- keys of (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def table(name: str) -> str:
    """Rows of a model's keys in Markdown: key, default, meaning, examples."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in MODELS[name].model_fields.items():
        meaning = " ".join((field.description or "").split()) + _choices(field)
        if field.examples:
            meaning += " For example " + " or ".join(f"`{_yaml(one)}`" for one in field.examples)
        rows.append(f"| `{key}` | {_default(field)} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def renewed(page: str) -> str:
    """Return the page with every table as the model has it now."""
    return TABLE.sub(
        lambda found: f"<!-- keys of {found[1]} -->\n{table(found[1])}\n<!-- end -->", page
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ("", ()) or isinstance(value, options.Options):
        return "—"
    return f"`{_yaml(value)}`"


def _choices(field: FieldInfo) -> str:
    """The words that a key may have, where these are few."""
    inner = next(iter(get_args(field.annotation)), None)
    several = "Any of" if get_origin(field.annotation) is tuple else "One of"
    for kind in (field.annotation, inner):
        if get_origin(kind) is Literal:
            return f" {several} " + ", ".join(f"`{word}`" for word in get_args(kind)) + "."
    return ""


def _yaml(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
