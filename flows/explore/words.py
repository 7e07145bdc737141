"""What the page says in words: messages, readouts and regions."""

from html import escape

import numpy as np

from flows.explore.drawing import Drawn
from flows.explore.recording import View
from tasks.report.scales import length_label, number

COLOURS = {"note": ("#dbe9f4", "#0072b2"), "wrong": ("#fbe3d4", "#d55e00")}

Region = tuple[Drawn, tuple[float, float], tuple[float, float]]


def message(text: str, kind: str) -> str:
    """A message as a coloured line of HTML."""
    fill, edge = COLOURS[kind]
    return (
        f'<div role="alert" class="{kind}" style="background:{fill};border-left:4px solid {edge};'
        f'padding:6px 10px;font-size:14px">{escape(text)}</div>'
    )


def readouts(view: View, drawn: dict[str, Drawn]) -> str:
    """Contrast, flatness, dose and what is held, as a table of HTML."""
    held = view.held
    rows: list[tuple[str, str, str]] = []
    if "main" in drawn:
        facts = drawn["main"].numbers
        rows.append(("contrast", "contrast of the phase", f"{1e3 * facts['contrast']:.2f} mrad"))
    if "trotters" in drawn:
        share = drawn["trotters"].numbers["flatness"]
        rows.append(("flatness", "trotters are flat to", f"{100 * share:.1f} %"))
    step_y, step_x = held.geometry.scan_step
    mean = held.mean_electrons
    rows += [
        ("electrons", "electrons a frame", number(round(mean, 1))),
        ("dose", "dose", f"{number(float(f'{mean / step_y / step_x:.4g}'))} e/Å²"),
    ]
    if "virtual" in drawn:
        for n, name in enumerate("AB"):
            value = drawn["virtual"].numbers[f"mean{n}"]
            rows.append((f"detector{name}", f"on detector {name}", f"{number(value)} e a frame"))
    shape = held.window.shape
    part = "the whole scan" if held.whole else "the middle of the scan"
    rows.append(("held", "seen", f"{part}, {shape[0]} × {shape[1]} positions"))
    rows.append(("memory", "in memory", f"{held.bytes / 1e6:.0f} MB"))
    if "main" in drawn:
        rows.append(("time", "computed in", f"{1e3 * drawn['main'].numbers['seconds']:.0f} ms"))
    lines = "".join(
        f'<tr><td style="padding-right:10px">{label}</td><td id="{key}">{escape(text)}</td></tr>'
        for key, label, text in rows
    )
    return f'<table style="font-size:13px">{lines}</table>'


def region_words(region: Region | None) -> str:
    """Size, phase and dose of a selected region, as HTML."""
    if region is None:
        return '<i style="font-size:13px">Draw a box on the phase to measure a region.</i>'
    drawn, x, y = region
    held, step = drawn.wish.view.held, drawn.wish.trial.geometry.scan_step
    rows, cols = (
        slice(max(0, round(min(span) / s)), min(n, round(max(span) / s) + 1))
        for span, s, n in zip((y, x), step, held.window.shape, strict=True)
    )
    phase = drawn.images[0][rows, cols]
    electrons = held.frame_electrons[rows, cols][~held.unusable[rows, cols]]
    if not phase.size or not electrons.size:
        return '<i style="font-size:13px">No recorded position lies in this box.</i>'
    sides = [n * s for n, s in zip(phase.shape, step, strict=True)]
    size = [length_label(float(f"{side:.3g}"), "Å") for side in sides]
    dose = electrons.mean() / step[0] / step[1]
    text = (
        f"region {size[1]} × {size[0]}: phase {np.mean(phase):+.4f} ± {np.std(phase):.4f} rad, "
        f"{number(int(electrons.sum()))} electrons, {number(float(f'{dose:.4g}'))} e/Å²"
    )
    return f'<span id="region" style="font-size:13px">{escape(text)}</span>'
