"""The pictures of a page: each a Bokeh figure that is given new pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    ImperialLength,
    LinearColorMapper,
    Range1d,
    ScaleBar,
)
from bokeh.palettes import cividis, gray
from bokeh.plotting import figure

from tasks.explore.colours import LARGEST, for_display, shown_range

UNITS: dict[str, dict[str, tuple[float, str] | tuple[float, str, str]]] = {
    "Å": {"Å": (1.0, "Å"), "nm": (10.0, "nm"), "µm": (1e4, "µm")},
    "1/Å": {"1/µm": (1e-4, "1/µm"), "1/nm": (0.1, "1/nm"), "1/Å": (1.0, "1/Å")},
}
"""Of scale bars, in Å and 1/Å."""
PALETTES = {"gray": gray(256), "cividis": cividis(256)}
SAME_RANGE = 0.05
"""Change of a range, in its own units, below which colours and their bar stay as they are."""
BLUE, ORANGE = "#0072b2", "#d55e00"
"""Two colours that every eye tells apart."""


@dataclass(frozen=True)
class Frame:
    """Where the pixels of a picture lie, in its own unit."""

    x: float
    y: float
    """Of the upper left corner."""
    width: float
    height: float

    @classmethod
    def of_scan(cls, shape: tuple[int, int], step: tuple[float, float]) -> "Frame":
        """A scan [Å], its first position at zero."""
        return cls(-step[1] / 2, -step[0] / 2, shape[1] * step[1], shape[0] * step[0])

    @classmethod
    def of_spectrum(cls, shape: tuple[int, int], step: tuple[float, float]) -> "Frame":
        """The plane of a scan's frequencies [1/Å], zero in the middle."""
        pixel = [1 / (n * s) for n, s in zip(shape, step, strict=True)]
        corner = [-(n // 2 + 0.5) * p for n, p in zip(shape, pixel, strict=True)]
        return cls(corner[1], corner[0], shape[1] * pixel[1], shape[0] * pixel[0])

    @property
    def square(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges (x, y) of a square around it."""
        side = max(self.width, self.height) / 2
        x, y = self.x + self.width / 2, self.y + self.height / 2
        return (x - side, x + side), (y - side, y + side)


class Picture:
    """A figure with one image, row down."""

    def __init__(
        self, name: str, title: str, size: int, colours: str | None = "gray",
        bar: str = "", unit: str = "", linked: "Picture | None" = None,
        tools: str = "pan,wheel_zoom,reset,save",
    ) -> None:  # fmt: skip
        """Make an empty picture.

        Parameters
        ----------
        name, title : str
            Of the model, for scripts and tests; for the eye.
        size : int
            Of the image's side [px].
        colours : str, optional
            A palette; None for pixels that are colours already.
        bar : str
            Unit of its axes, a key of ``UNITS``, for a scale bar; none when empty.
        unit : str
            Of the values, beside the colour bar; none when empty.
        linked : Picture, optional
            One that it zooms together with.
        tools : str
            Of Bokeh.
        """
        x, y = (linked.figure.x_range, linked.figure.y_range) if linked else (Range1d(), Range1d())
        self.figure: Any = figure(
            title=title, frame_width=size, frame_height=size, x_range=x, y_range=y,
            tools=tools, name=name,
            active_scroll="wheel_zoom" if "wheel_zoom" in tools else None, toolbar_location="right",
            min_border=4, output_backend="canvas",
        )  # fmt: skip
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.background_fill_color = "#f2f2f2"
        self.figure.toolbar.autohide = True
        self.figure.toolbar.logo = None
        self.source = ColumnDataSource(_columns(np.zeros((1, 1), np.float32), Frame(0, 0, 1, 1)))
        self.source.name = f"{name}-pixels"
        self.mapper: LinearColorMapper | None = None
        place: dict[str, Any] = {"x": "x", "y": "y", "dw": "dw", "dh": "dh", "source": self.source}
        if colours is None:
            self.source.data["image"] = [np.zeros((1, 1), np.uint32)]
            self.figure.image_rgba(image="image", **place)
        else:
            self.mapper = LinearColorMapper(
                PALETTES[colours], low=0, high=1, nan_color="rgba(204,51,102,0.5)"
            )
            self.figure.image(image="image", color_mapper=self.mapper, **place)
            if unit:
                side = ColorBar(color_mapper=self.mapper, title=unit, width=8, margin=2, padding=2)
                self.figure.add_layout(side, "right")
        if bar:
            # The one measure with a basis of its own that the browser's half of Bokeh knows.
            units = ImperialLength(basis=UNITS[bar], ticks=[1, 2, 5, 10, 20, 50, 100, 200, 500])
            self.figure.add_layout(
                ScaleBar(
                    range=self.figure.x_range, orientation="horizontal", location="bottom_left",
                    unit=bar, dimensional=units, bar_length=0.3, background_fill_alpha=0.75,
                    border_line_color=None, label="@{value} @{unit}",
                )
            )  # fmt: skip

    def fit(self, frame: Frame) -> None:
        """Show all of a frame."""
        (x0, x1), (y0, y1) = frame.square
        self.figure.x_range.update(start=x0, end=x1, reset_start=x0, reset_end=x1)
        self.figure.y_range.update(start=y1, end=y0, reset_start=y1, reset_end=y0)

    def show(self, image: np.ndarray, frame: Frame, limit: int = LARGEST, **more: Any) -> None:
        """Show an image of values.

        Parameters
        ----------
        image : (rows, cols) real
            NaN is pink.
        frame : Frame
            Where it lies.
        limit : int
            Pixels along a side that are sent.
        **more
            Columns of the source, for those who look at it.
        """
        assert self.mapper is not None
        low, high = shown_range(image)
        change = max(abs(low - self.mapper.low), abs(high - self.mapper.high))
        if change > SAME_RANGE * (high - low):
            self.mapper.update(low=low, high=high)
        self.source.data = _columns(for_display(image, limit), frame, **more)

    def show_colours(self, pixels: np.ndarray, frame: Frame, **more: Any) -> None:
        """Show pixels that are colours already, (rows, cols) uint32."""
        self.source.data = _columns(pixels, frame, **more)


def _columns(pixels: np.ndarray, frame: Frame, **more: Any) -> dict[str, list[Any]]:
    return {
        "image": [pixels], "x": [frame.x], "y": [frame.y], "dw": [frame.width],
        "dh": [frame.height], **{name: [value] for name, value in more.items()},
    }  # fmt: skip
