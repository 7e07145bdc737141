"""Sliders and number boxes: one pair for each number of a calibration."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from math import degrees, isfinite, radians
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import Checkbox, RadioButtonGroup, Slider, TabPanel, Tabs, TextInput

from models.geometry import Geometry
from tasks.explore.limits import (
    Quantity,
    geometry_quantities,
    lens_of,
    lens_quantities,
    lens_values,
)
from tasks.explore.phases import Trial

LENS_FIRST = ("C10", "C12", "C21", "C23")
"""What is on the first tab; the third order is on the second."""


class Control:
    """A number box and a slider that move together."""

    def __init__(self, quantity: Quantity, changed: Callable[[], None],
                 refused: Callable[[str], None]) -> None:  # fmt: skip
        """Make both; ``refused`` is told what is wrong with a text."""
        self.quantity, self.value = quantity, 0.0
        self._changed, self._refused, self._quiet = changed, refused, False
        low, high = quantity.span(quantity.around)
        label = f"{quantity.label} [{quantity.unit}]"
        self.box = TextInput(title=label, value="0", width=104, css_classes=[f"box-{quantity.key}"])
        self.slider = Slider(
            start=low, end=high, step=quantity.step, value=quantity.around, show_value=False,
            tooltips=False, width=188, margin=(24, 5, 5, 5), css_classes=[f"slider-{quantity.key}"],
        )  # fmt: skip
        self.box.on_change("value", self._typed)
        self.slider.on_change("value", self._slid)

    @property
    def layout(self) -> Any:
        """Both, side by side."""
        return row(self.box, self.slider)

    def show(self, value: float, typed: bool = False) -> None:
        """Show a value without reporting it as a change; what was typed stays as it was typed."""
        self.value = value
        self._quiet = True
        self.slider.start, self.slider.end = self.quantity.span(value)
        self.slider.value = value
        if not typed:
            self.box.value = _text(value)
        self._quiet = False

    def _typed(self, attribute: str, old: str, new: str) -> None:
        if self._quiet:
            return
        try:
            number = float(new.strip().replace("−", "-"))
            if not isfinite(number):
                raise ValueError
        except ValueError:
            unit = self.quantity.unit
            self._refused(f"{self.quantity.label}: “{new[:40]}” is not a number in {unit}")
            self.show(self.value)
            return
        try:
            self.show(self.quantity.check(number), typed=True)
        except ValueError as error:
            self._refused(str(error))
            self.show(self.value)
            return
        self._changed()

    def _slid(self, attribute: str, old: float, new: float) -> None:
        if self._quiet:
            return
        self.value = float(new)
        self._quiet = True
        self.box.value = _text(self.value)
        self._quiet = False
        self._changed()


class Controls:
    """Every number of a calibration; gives the trial that they stand for."""

    def __init__(
        self, trial: Trial, detector_shape: tuple[int, int],
        changed: Callable[[], None], refused: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Show a trial; ``changed`` is called when a person moved something."""
        self._trial, self._report = trial, changed
        geometry = trial.geometry
        self._sets = {
            parts: [Control(q, changed, refused) for q in lens_quantities(geometry, parts)]
            for parts in (False, True)
        }
        self._own = [
            Control(q, changed, refused) for q in geometry_quantities(geometry, detector_shape)
        ]
        self._flip = Checkbox(label="detector is mirrored", active=geometry.flip, name="flip")
        self._flip.on_change("active", self._flipped)
        self._form = RadioButtonGroup(labels=["size, azimuth", "a, b parts"], active=0, name="form")
        self._form.on_change("active", lambda attr, old, new: self._choose_form())
        self._quiet = False
        self._first, self._third = column(name="first"), column(name="third")
        self.layout = Tabs(
            tabs=[
                TabPanel(child=column(self._form, self._first), title="Lens"),
                TabPanel(child=self._third, title="Third order"),
                TabPanel(
                    child=column(*(c.layout for c in self._own), self._flip), title="Geometry"
                ),
            ],
            name="controls",
        )
        self._choose_form()
        self.show(trial)

    @property
    def trial(self) -> Trial:
        """What the controls stand for."""
        lens = lens_of({c.quantity.key: c.value for c in self._lens}, self._parts)
        own = {c.quantity.key: c.value for c in self._own}
        geometry: Geometry = replace(
            self._trial.geometry,
            semiangle=own["semiangle_mrad"] * 1e-3,
            center=(own["center_row"], own["center_col"]),
            radius=own["semiangle_px"],
            rotation=radians(own["scan_rotation_deg"]),
            flip=bool(self._flip.active),
        )
        return Trial(geometry, lens)

    def show(self, trial: Trial) -> None:
        """Show another trial, without reporting it as a change."""
        geometry = trial.geometry
        self._show_lens(trial)
        own = {
            "scan_rotation_deg": degrees(geometry.rotation),
            "semiangle_mrad": geometry.semiangle * 1e3,
            "semiangle_px": geometry.radius,
            "center_row": geometry.center[0],
            "center_col": geometry.center[1],
        }
        with self._silence():
            for control in self._own:
                control.show(own[control.quantity.key])
            self._flip.active = geometry.flip

    @property
    def _parts(self) -> bool:
        return self._form.active == 1

    @property
    def _lens(self) -> list[Control]:
        return self._sets[self._parts]

    def _show_lens(self, trial: Trial) -> None:
        for parts, controls in self._sets.items():
            values = lens_values(trial.aberrations, parts)
            for control in controls:
                control.show(values[control.quantity.key])

    def _choose_form(self) -> None:
        other = self._sets[not self._parts]
        lens = lens_of({c.quantity.key: c.value for c in other}, not self._parts)
        self._show_lens(Trial(self._trial.geometry, lens))
        first = [c for c in self._lens if _coefficient(c.quantity.key) in LENS_FIRST]
        third = [c for c in self._lens if c not in first]
        self._first.children = [c.layout for c in first]
        self._third.children = [c.layout for c in third]

    def _flipped(self, attribute: str, old: bool, new: bool) -> None:
        if not self._quiet:
            self._report()

    @contextmanager
    def _silence(self) -> Any:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def _coefficient(key: str) -> str:
    return "C" + key[3:5] if key.startswith("phi") else key[:3]


def _text(value: float) -> str:
    return f"{value:.7g}"
