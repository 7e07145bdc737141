"""Where in a job file a mistake stands: the line of every key, and what is said of it."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from reprlib import Repr
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from flows.dataset import Dataset
from flows.job_model import Job
from flows.options import MIRROR, NAME
from tasks.redact import redacted

SHORT = Repr()
"""Shows what was found, however much it is."""
SHORT.maxstring = SHORT.maxother = 80
SHORT.maxlevel = 2
NAMES_ARE = {
    NAME: "is no name: a lower-case letter, then letters, digits and _, 31 at most",
    MIRROR: "is no address of a store, as s3://bucket/prefix; keys come from the environment",
}
CLUSTERS = "give local, threads, local-cuda, slurm, or the address of a scheduler: tcp://HOST:PORT"
OTHER_NAMES = "is no name: a letter or digit, then letters, digits and ._+-, 100 at most"


def place_and_message(item: Any, origins: list[int], lines: dict[tuple, int]) -> tuple[tuple, str]:
    """Where in the file a fault of pydantic's stands, and what to say of it."""
    place = tuple(item["loc"])
    if len(place) > 1 and place[0] == "datasets" and isinstance(place[1], int):
        place = ("datasets", origins[place[1]], *place[2:])
        if place not in lines and len(place) > 2 and ("defaults", *place[2:]) in lines:
            place = ("defaults", *place[2:])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "this key is not known" + _meant(place)
    elif item["type"] == "missing" and isinstance(place[-1], int):
        place, message = place[:-1], f"a value is missing, found {SHORT.repr(item.get('input'))}"
    elif item["type"] == "missing":
        message = "this key is missing"
    elif item["type"] == "tuple_type":
        message = f"give a list, found {SHORT.repr(item.get('input'))}"
    elif item["type"] == "too_long":
        most = item["ctx"]["max_length"]
        message = f"give {most} values, found {SHORT.repr(item.get('input'))}"
    elif item["type"] == "string_pattern_mismatch":
        wanted = OTHER_NAMES if place[-1] == "name" else f"is not known; {CLUSTERS}"
        found = SHORT.repr(item.get("input"))
        message = f"{found} {NAMES_ARE.get(item['ctx']['pattern'], wanted)}"
    elif item["type"] not in ("value_error",):
        message += f", found {SHORT.repr(item.get('input'))}"
    return place, message


def _meant(place: tuple) -> str:
    """Which key may have been meant by one that is not known."""
    model: Any = Dataset if place[0] == "defaults" else Job
    for part in place[:-1]:
        if part in getattr(model, "model_fields", {}):
            model = next(_models(model.model_fields[part].annotation), None)
    told, heads = str(place[-1]), dict[str, str]()
    for name in getattr(model, "model_fields", {}):  # units are what is left out most
        heads.setdefault(name[: len(told)], name)
    close = get_close_matches(told, heads, n=1)
    return f"; did you mean {heads[close[0]]}?" if close else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models of keys inside a type, as in ``tuple[Dataset, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def fault(lines: dict[tuple, int], place: tuple, message: str) -> str:
    """One mistake as a line of text, with the line of the file where its key stands."""
    known = place
    if place not in lines and place[:1] == ("datasets",) and ("defaults", *place[2:3]) in lines:
        known = ("defaults", *place[2:])  # the key stands in the defaults
    while known and known not in lines:
        known = known[:-1]
    line = f"line {lines[known]}: " if known in lines and lines else ""
    return f"{line}{'.'.join(str(part) for part in place)}: {redacted(message)}"


def lines_of(
    node: yaml.Node | None, place: tuple = (), passed: set[int] | None = None
) -> Iterator[tuple[tuple, int]]:
    """Line of every key and item of the file; a key that stands twice leaves a mark.

    What an alias repeats is passed once: it may hold itself, or be very many.
    """
    passed = set() if passed is None else passed
    if node is None or id(node) in passed:
        return
    passed.add(id(node))
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            yield from lines_of(value, (*place, key.value), passed)
            yield (*place, key.value), key.start_mark.line + 1
            if key.value in seen:
                yield ("repeated", *place, key.value), key.start_mark.line + 1
            seen.add(key.value)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from lines_of(value, (*place, number), passed)


def repeated_keys(lines: dict[tuple, int]) -> list[str]:
    """A mistake for each key that stands twice."""
    return [
        f"line {line}: {'.'.join(map(str, place[1:]))}: this key stands twice"
        for place, line in lines.items()
        if place and place[0] == "repeated"
    ]


def yaml_fault(error: Exception) -> str:
    """What is wrong with a text that is not YAML."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}this is not YAML: {getattr(error, 'problem', None) or error}"


def once(faults: list[str]) -> list[str]:
    """The same mistakes, each once, in the order of their lines."""
    return sorted(dict.fromkeys(faults), key=_line)


def _line(told: str) -> int:
    found = re.match(r"line (\d+): ", told)
    return int(found[1]) if found else 0
