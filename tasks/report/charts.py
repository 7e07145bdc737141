"""Curves and histograms as SVG that takes its colours from the page, light or dark.

No plotting library: the few shapes are written as text, which is the same text every time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from tasks.report.scales import number, round_ticks

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 44
MOST_POINTS = 400
LABEL, CHARACTER = 27, 6.5
"""Room left of the axis for its name, and for each character of its ticks."""
STYLES = 6
"""Line styles that the page's style sheet knows."""


@dataclass(frozen=True)
class Series:
    """A curve."""

    label: str
    x: np.ndarray
    y: np.ndarray
    style: str
    """Class of the style sheet: ``s0`` to ``s5``, or ``guide`` for a threshold or expectation."""


@dataclass(frozen=True)
class Chart:
    """Curves or bars over axes, ready for the page."""

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]
    """(style, label) of each curve."""
    caption: str
    note: str = ""


def curves(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    bars: tuple[np.ndarray, np.ndarray] | None = None,
    alt: str,
) -> str:
    """Draw curves over linear axes.

    Parameters
    ----------
    series : sequence of Series
        NaN interrupts a curve.
    x_label, y_label : str
        With units.
    x_range, y_range : (low, high), optional
        From the data, where they are absent.
    bars : (edges, heights), optional
        A histogram behind the curves.
    alt : str
        What a reader hears who cannot see it.

    Returns
    -------
    str
        An ``<svg>`` element; all text in it is escaped.
    """
    axes = _Axes(
        *(x_range or _range([s.x for s in series] + ([bars[0]] if bars else []))),
        *(y_range or _range([s.y for s in series] + ([bars[1], [0]] if bars else []))),
    )
    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(alt, quote=True)}">',
            *_ticks(axes),
            _bars(axes, *bars) if bars else "",
            *(f'<path class="line {s.style}" d="{_line(axes, s)}"/>' for s in series),
            f'<path class="axis" d="M{axes.left:.1f} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
            _text((axes.left + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle", "label"),
            f'<g transform="translate(13 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)">',
            _text(0, 0, y_label, "middle", "label"),
            "</g></svg>",
        ]
    )


def histogram(values: np.ndarray, most_bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Bars of a histogram, whole numbers wide where the values are whole.

    Returns
    -------
    edges : (bins + 1,) float64
    counts : (bins,) int64
    """
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)):
        width = max(1.0, np.ceil((high - low + 1) / most_bins))
        edges = np.arange(low - 0.5, high + 0.5 + width, width)
    else:
        edges = np.linspace(low, high if high > low else low + 1, most_bins + 1)
    counts, _ = np.histogram(values, edges)
    return edges, counts


@dataclass(frozen=True)
class _Axes:
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places along y and what is written there."""
        return [(at, number(_clean(at))) for at in round_ticks(self.y_low, self.y_high, 4)]

    @property
    def left(self) -> float:
        """Where the axis stands: as far in as its longest tick needs."""
        longest = max((len(text) for _, text in self.ticks), default=0)
        return max(LEFT, LABEL + CHARACTER * longest)

    def across(self, x: Any) -> np.ndarray:
        share = (np.asarray(x, dtype=float) - self.x_low) / (self.x_high - self.x_low)
        return self.left + share * (WIDTH - self.left - RIGHT)

    def down(self, y: Any) -> np.ndarray:
        share = (np.asarray(y, dtype=float) - self.y_low) / (self.y_high - self.y_low)
        places = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        return np.clip(places, TOP - 2, HEIGHT - BOTTOM + 2)


def _ticks(axes: _Axes) -> Iterator[str]:
    for tick in round_ticks(axes.x_low, axes.x_high):
        x = float(axes.across(tick))
        yield f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        yield _text(x, HEIGHT - BOTTOM + 17, number(_clean(tick)), "middle")
    left = axes.left
    for tick, text in axes.ticks:
        y = float(axes.down(tick))
        yield f'<path class="grid" d="M{left:.1f} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(left - 7, y + 4, text, "end")


def _bars(axes: _Axes, edges: np.ndarray, heights: np.ndarray) -> str:
    base, left, tops = float(axes.down(axes.y_low)), axes.across(edges), axes.down(heights)
    path = "".join(
        f"M{a:.1f} {base:.1f}V{top:.1f}H{b:.1f}V{base:.1f}Z"
        for a, b, top in zip(left[:-1], left[1:], tops, strict=True)
        if top < base
    )
    return f'<path class="bars" d="{path}"/>'


def _line(axes: _Axes, series: Series) -> str:
    every = max(1, -(-series.x.size // MOST_POINTS))
    x, y = axes.across(series.x[::every]), axes.down(series.y[::every])
    commands, drawing = [], False
    for a, b in zip(x, y, strict=True):
        if not (np.isfinite(a) and np.isfinite(b)):
            drawing = False
            continue
        commands.append(f"{'L' if drawing else 'M'}{a:.1f} {b:.1f}")
        drawing = True
    return "".join(commands)


def _range(parts: Sequence[np.ndarray | Sequence[float]]) -> tuple[float, float]:
    values = np.concatenate([np.ravel(part).astype(float) for part in parts])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _clean(tick: float) -> float:
    return 0.0 if abs(tick) < 1e-12 else float(f"{tick:.10g}")


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(text)}</text>'
