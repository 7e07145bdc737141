"""The page of the explorer: controls, pictures, readouts and messages."""

from collections.abc import Callable
from dataclasses import replace
from html import escape

import numpy as np
from bokeh.document import Document
from bokeh.events import SelectionGeometry
from bokeh.layouts import column, row
from bokeh.models import (
    BoxSelectTool,
    Checkbox,
    ColumnDataSource,
    Div,
    HoverTool,
    RadioButtonGroup,
    RangeSlider,
)

from flows.explore.actions import Actions
from flows.explore.controls import Controls
from flows.explore.drawing import Artist, Drawn, Wish
from flows.explore.figures import BLUE, ORANGE, Frame, Picture
from flows.explore.latest import Latest
from flows.explore.recording import HeldRecording, View
from flows.explore.words import message, readouts, region_words
from tasks.explore.colours import MOVING
from tasks.explore.phases import Estimate, Trial
from tasks.explore.virtual import widest_angle
from tasks.store.publish import DamagedResultError

ESTIMATES: tuple[tuple[Estimate, str], ...] = (
    ("wpo", "weak phase"), ("both", "both sidebands"), ("left", "left"), ("right", "right"),
)  # fmt: skip
NAMES = {"wpo": "Weak-phase estimate", "both": "SSB, both sidebands",
         "left": "SSB, left sideband", "right": "SSB, right sideband"}  # fmt: skip
LARGE, SMALL = 480, 205
WATCH_EVERY = 2000
"""How often the page looks whether the store is still there [ms]."""


class Page:
    """One page that looks at a recording."""

    def __init__(self, recording: HeldRecording, document: Document) -> None:
        """Fill a document."""
        self.recording, self.document = recording, document
        self.drawn: dict[str, Drawn] = {}
        """The last of each part that was delivered."""
        self._gone = False
        self._outlined: tuple = ()
        self._make_pictures()
        self.message = Div(text="", width=2 * LARGE, name="message")
        self.readouts = Div(text="", width=310, name="readouts")
        self.region = Div(text=region_words(None), width=310, name="region")
        self.progress = Div(text="", width=310, name="progress")
        self.controls = Controls(
            recording.trial, recording.opened.store.detector_shape, self._moved, self.complain
        )
        self.estimate = RadioButtonGroup(
            labels=[t for _, t in ESTIMATES], active=0, name="estimate"
        )
        self.wiener = Checkbox(label="weighted by signal and noise (Wiener)", active=True)
        self.estimate.on_change("active", lambda attr, old, new: self._moved())
        self.wiener.on_change("active", lambda attr, old, new: self._moved())
        self._make_detectors()
        self.actions = Actions(self)
        self.artist = Artist(lambda d: self.later(lambda: self._show_at_once(d)),
                             lambda t: self.later(lambda: self.complain(t)))  # fmt: skip
        self.latest: Latest[Wish] = Latest(self.artist.draw)
        self._stop_watching = recording.watch(lambda: self.later(self._changed))
        document.add_root(self._layout())
        document.title = f"{recording.opened.name} · Phasemill"
        document.add_periodic_callback(self._look_after_store, WATCH_EVERY)
        document.on_session_destroyed(lambda _: self.close())
        self._fit()
        if not recording.opened.origin:
            self.say("Nothing is known of rotation and aberrations yet: press Auto to fit them.")
        self._changed()

    def close(self) -> None:
        """End the page's thread."""
        self.latest.close()
        self.actions.close()
        self._stop_watching()

    def later(self, function: Callable[[], None]) -> None:
        """Call a function on the page's own thread, from any other."""
        if self.document.session_context is None or not self.document.session_context.destroyed:
            self.document.add_next_tick_callback(function)

    def say(self, text: str) -> None:
        """Show a message."""
        self.message.text = message(text, "note")

    def complain(self, text: str) -> None:
        """Show what is wrong."""
        self.message.text = message(text, "wrong")

    def show_trial(self, trial: Trial) -> None:
        """Set the controls, and draw."""
        self.controls.show(trial)
        self.wish()

    def wish(self) -> None:
        """Ask for the pictures of what the controls say."""
        trial = self.controls.trial
        view = self.recording.view
        self._outline()
        self.latest.ask(
            Wish(
                view, trial, ESTIMATES[self.estimate.active or 0][0], bool(self.wiener.active),
                tuple((s.value[0] * 1e-3, s.value[1] * 1e-3) for s in self.detectors),
            )
        )  # fmt: skip

    def _moved(self) -> None:
        self.message.text = ""
        geometry = self.controls.trial.geometry
        if not self.recording.view.held.covers(geometry):
            self.recording.hold_again(geometry)
        self.wish()

    def _changed(self) -> None:
        """Something changed in the background."""
        if self.recording.progress is not None:
            what, part = self.recording.progress
            self.progress.text = f"{escape(what)}: {100 * part:.0f} %"
            return
        self.progress.text = ""
        if self.recording.fault:
            self.complain(self.recording.fault)
        if self._fitted is not self.recording.view:
            self._fit()
        self.wish()

    def _look_after_store(self) -> None:
        if self._gone == self.recording.store_is_there():
            self._gone = not self._gone
            if self._gone:
                self.complain(
                    f"The event store {self.recording.opened.store.path} is gone. What is held in "
                    "memory can still be explored, saved to a job and exported."
                )
            else:
                self.say("The event store is there again.")

    # Pictures.

    def _make_pictures(self) -> None:
        tools = "pan,wheel_zoom,box_zoom,reset,save"
        self.main = Picture("main", NAMES["wpo"], LARGE, bar="Å", unit="rad", tools=tools)
        self.main.figure.add_tools(
            BoxSelectTool(persistent=True, description="measure a region"),
            HoverTool(tooltips=[("x, y", "$x{0.0}, $y{0.0} Å"), ("phase", "@image{0.000} rad")]),
        )
        self.main.figure.on_event(SelectionGeometry, self._selected)
        linked = {"linked": self.main, "bar": "Å"}
        self.beside = Picture("beside", NAMES["both"], SMALL, unit="rad", **linked)  # type: ignore[arg-type]
        self.dpc = Picture("dpc", "DPC", SMALL, unit="rad", **linked)  # type: ignore[arg-type]
        self.spectrum = Picture("spectrum", "Spectrum, log |Φ|", SMALL, "cividis", "1/Å")
        self.pattern = Picture("pattern", "Mean pattern, log", SMALL, "gray")
        self.before = Picture("before", "Trotters, as measured", SMALL, None)
        self.after = Picture("after", "Trotters, corrected", SMALL, None)
        self.virtual = [
            Picture("virtual0", "Detector A", SMALL, unit="e", **linked),  # type: ignore[arg-type]
            Picture("virtual1", "Detector B", SMALL, unit="e", **linked),  # type: ignore[arg-type]
        ]
        self.circles = ColumnDataSource({"x": [], "y": [], "radius": [], "dash": []})
        self.marks = ColumnDataSource({"x": [], "y": []})
        self.rings = ColumnDataSource({"x": [], "y": [], "inner": [], "outer": [], "colour": []})
        self.reach = ColumnDataSource({"x": [], "y": [], "radius": []})
        self.rings.name = "rings"
        figure = self.pattern.figure
        figure.annulus(
            x="x", y="y", inner_radius="inner", outer_radius="outer", fill_color="colour",
            line_color="colour", fill_alpha=0.18, source=self.rings,
        )  # fmt: skip
        figure.circle(x="x", y="y", radius="radius", fill_color=None, line_color="white",
                      line_dash="dashed", source=self.circles)  # fmt: skip
        self.spectrum.figure.circle(
            x="x", y="y", radius="radius", fill_color=None, line_color="white", source=self.reach
        )
        self.spectrum.figure.scatter(
            x="x", y="y", size=9, fill_color=None, line_color=ORANGE, line_width=2,
            source=self.marks,
        )  # fmt: skip

    def _make_detectors(self) -> None:
        held, geometry = self.recording.view.held, self.recording.trial.geometry
        disk, widest = geometry.semiangle * 1e3, widest_angle(held, geometry) * 1e3
        spans = ((0.0, disk), (min(1.1 * disk, 0.5 * widest), widest))
        self.detectors = [
            RangeSlider(
                title=f"{name} [mrad]", start=0, end=round(widest, 2), value=span,
                step=round(disk / 50, 3), width=SMALL - 20, bar_color=colour,
                css_classes=[f"detector-{name}"],
            )
            for name, span, colour in zip("AB", spans, (BLUE, ORANGE), strict=True)
        ]  # fmt: skip
        for slider in self.detectors:
            slider.on_change("value", lambda attr, old, new: self.wish())

    def _layout(self) -> object:
        side = column(
            self.controls.layout, self.estimate, self.wiener, self.readouts, self.region,
            self.progress, self.actions.layout, width=330,
        )  # fmt: skip
        right = column(
            row(self.beside.figure, self.dpc.figure),
            row(self.spectrum.figure, self.pattern.figure),
        )
        below = row(
            self.before.figure, self.after.figure,
            column(self.virtual[0].figure, self.detectors[0]),
            column(self.virtual[1].figure, self.detectors[1]),
        )  # fmt: skip
        return column(
            self.message, row(side, column(row(self.main.figure, right), below)), name="page"
        )

    def _fit(self) -> None:
        """Lay the frames of all pictures around what is held."""
        self._fitted: View | None = self.recording.view
        held, step = self._fitted.held, self.recording.trial.geometry.scan_step
        scan = Frame.of_scan(held.window.shape, step)
        self.main.fit(scan)
        plane = Frame.of_spectrum(held.window.shape, step)
        self.spectrum.fit(plane)
        rows, cols = held.detector_shape
        detector = Frame(-0.5, -0.5, cols, rows)
        self.pattern.fit(detector)
        try:
            mean = self.recording.mean_pattern
        except DamagedResultError as error:
            self.complain(str(error))
        else:
            least = mean[mean > 0].min(initial=1.0)
            self.pattern.show(np.log10(np.maximum(mean, least)), detector)
        self.marks.data = dict(zip("yx", self.recording.strongest_frequencies(), strict=True))

    def _outline(self) -> None:
        """Draw disk, detectors and the reach of the sidebands."""
        geometry = self.controls.trial.geometry
        lines = (replace(geometry, rotation=0.0), *(slider.value for slider in self.detectors))
        if lines == self._outlined:
            return
        self._outlined = lines
        y, x = geometry.center
        per_mrad = geometry.radius / (geometry.semiangle * 1e3)
        self.circles.data = {"x": [x], "y": [y], "radius": [geometry.radius], "dash": ["dashed"]}
        spans = [slider.value for slider in self.detectors]
        self.rings.data = {
            "x": [x, x], "y": [y, y], "colour": [BLUE, ORANGE],
            "inner": [s[0] * per_mrad for s in spans], "outer": [s[1] * per_mrad for s in spans],
        }  # fmt: skip
        k0 = geometry.aperture
        self.reach.data = {"x": [0, 0], "y": [0, 0], "radius": [k0, 2 * k0]}

    def _show_at_once(self, drawn: Drawn) -> None:
        """Show a part in one message: the browser then paints once."""
        self.document.hold("combine")
        try:
            self._show(drawn)
        finally:
            self.document.unhold()

    def _show(self, drawn: Drawn) -> None:
        self.drawn[drawn.part] = drawn
        held, step = drawn.wish.view.held, drawn.wish.trial.geometry.scan_step
        scan = Frame.of_scan(held.window.shape, step)
        if drawn.part == "main":
            self.main.figure.title.text = NAMES[drawn.wish.estimate]
            C10 = drawn.wish.trial.aberrations.C10
            self.main.show(drawn.images[0], scan, MOVING, C10=C10)
        elif drawn.part == "sharp":
            self.main.show(drawn.images[0], scan, C10=drawn.wish.trial.aberrations.C10)
        elif drawn.part == "beside":
            other = "both" if drawn.wish.estimate == "wpo" else "wpo"
            self.beside.figure.title.text = NAMES[other]
            self.beside.show(drawn.images[0], scan)
        elif drawn.part == "spectrum":
            self.spectrum.show(drawn.images[0], Frame.of_spectrum(held.window.shape, step))
        elif drawn.part == "dpc":
            self.dpc.show(drawn.images[0], scan)
        elif drawn.part == "trotters":
            for picture, sheet in zip((self.before, self.after), drawn.images, strict=True):
                frame = Frame(0, 0, sheet.shape[1], sheet.shape[0])
                picture.show_colours(sheet, frame, C10=drawn.wish.trial.aberrations.C10)
                picture.fit(frame)
        elif drawn.part == "virtual":
            for picture, image in zip(self.virtual, drawn.images, strict=True):
                picture.show(image, scan)
        self.readouts.text = readouts(self.recording.view, self.drawn)

    def _selected(self, event: SelectionGeometry) -> None:
        if event.final and "main" in self.drawn:
            corner = event.geometry
            self.region.text = region_words(
                (self.drawn["main"], (corner["x0"], corner["x1"]), (corner["y0"], corner["y1"]))
            )
