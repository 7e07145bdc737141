"""A page on how a network was trained: its curves, its card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.training import Mark
from tasks.report.charts import Chart, Series, curves
from tasks.report.page import environment
from tasks.report.scales import number
from tasks.report.tables import yaml_of


def write_training_page(path: Path, card: dict[str, Any], marks: Sequence[Mark]) -> Path:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file.
    card : dict
        Of the network.
    marks : sequence of Mark
        Its validations, in order; none for a network that was fitted at once.

    Returns
    -------
    Path
        The same.
    """
    found = card["validation"]
    facts = [
        ("Network", card["network"]),
        ("Parameters", number(card["parameters"])),
        ("Patterns seen", number(card["patterns"])),
        ("Error", f"{number(1e3 * found['l1'], 3)} mrad"),
        ("Correlation", number(found["correlation"], 4)),
    ]
    page = environment().get_template("training.html.j2").render(
        facts=facts, charts=charts_of(marks), card=yaml_of(card)
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")
    return path


def charts_of(marks: Sequence[Mark]) -> list[Chart]:
    """Curves over the steps: error, correlation, and the learning rate."""
    if len(marks) < 2:
        return []
    steps = np.array([mark.step for mark in marks], float)
    loss = 1e3 * np.array([mark.loss for mark in marks])
    l1 = 1e3 * np.array([mark.score.l1 for mark in marks])
    correlation = np.array([mark.score.correlation for mark in marks])
    rate = 1e3 * np.array([mark.rate for mark in marks])
    return [
        Chart(
            "Error",
            curves([Series("in training", steps, loss, "s1"),
                    Series("on unseen pictures", steps, l1, "s0")],
                   "step", "mean |error| [mrad]", alt="error over the steps"),
            (("s1", "in training"), ("s0", "on unseen pictures")),
            "Good: both fall and level off together. Unseen pictures that get worse while training "
            "gets better are learnt by heart.",
            "In training it is weighted with the probe's intensity and sums all stages of the "
            "network, so it is the greater; unseen pictures count where the probe is bright.",
        ),
        Chart(
            "Correlation with the truth",
            curves([Series("on unseen pictures", steps, correlation, "s0")],
                   "step", "correlation", alt="correlation over the steps"),
            (("s0", "on unseen pictures"),),
            "Of the phases of bright pixels, each patch without its mean.",
        ),
        Chart(
            "Learning rate",
            curves([Series("learning rate", steps, rate, "s2")],
                   "step", "learning rate [1/1000]", alt="learning rate over the steps"),
            (("s2", "learning rate"),),
            "Rises, and falls to almost nothing: the last, small steps take away much of the "
            "error.",
        ),
    ]  # fmt: skip
