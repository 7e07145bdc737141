"""What the buttons of a page do: Auto, Reset, Save and Export."""

import base64
import getpass
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, Select, TextInput

from flows.explore import latest
from flows.explore.opening import ExploreError
from flows.explore.saving import entry_of, save_to_job, save_to_store, tuned_values
from tasks.explore.auto import fit
from tasks.explore.export import figure_file, tiff_file
from tasks.explore.phases import Trial

if TYPE_CHECKING:
    from flows.explore.page import Page

EXPORTS = (
    ("figure.png", "figure of all (PNG)"), ("figure.svg", "figure of all (SVG)"),
    ("main.tif", "phase (TIFF)"), ("beside.tif", "the other estimate (TIFF)"),
    ("dpc.tif", "DPC (TIFF)"), ("virtual0.tif", "detector A (TIFF)"),
    ("virtual1.tif", "detector B (TIFF)"),
)  # fmt: skip
DOWNLOAD = """
const [name, mime, text] = cb_obj.tags;
const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([bytes], {type: mime}));
link.download = name;
link.click();
setTimeout(() => URL.revokeObjectURL(link.href), 10000);
"""
MIME = {"png": "image/png", "svg": "image/svg+xml", "tif": "image/tiff"}


class Actions:
    """The buttons, and the one long piece of work that may go on behind them."""

    def __init__(self, page: "Page") -> None:
        """Make the buttons of a page."""
        self.page = page
        opened = page.recording.opened
        self.saved = page.recording.trial
        """What Save takes for the state before."""
        self._working = False
        self._closed = False
        self.auto = Button(label="Auto", button_type="primary", width=150, name="auto")
        self.reset = Button(label="Reset", width=150, name="reset")
        self.who = TextInput(title="saved by", value=_user(), width=150, name="who")
        job = opened.job or Path(f"{opened.name}.yaml")
        self.job = TextInput(title="job file", value=str(job), width=310, name="job")
        self.to_job = Button(label="Save to job", width=150, name="save-job")
        self.to_store = Button(label="Save to store", width=150, name="save-store")
        self.what = Select(
            title="export", options=list(EXPORTS), value="figure.png", width=200, name="what"
        )
        self.export = Button(label="Export", width=100, margin=(24, 5, 5, 5), name="export")
        self.export.js_on_change("tags", CustomJS(code=DOWNLOAD))
        self.auto.on_click(self._auto)
        self.reset.on_click(lambda: page.show_trial(page.recording.trial))
        self.to_job.on_click(lambda: self._save(self._to_job))
        self.to_store.on_click(lambda: self._save(self._to_store))
        self.export.on_click(self._export)
        self.layout = column(
            row(self.auto, self.reset), self.who, self.job, row(self.to_job, self.to_store),
            row(self.what, self.export),
        )  # fmt: skip

    def close(self) -> None:
        """Say nothing more to the page."""
        self._closed = True

    def _in_background(self, what: str, work: Callable[[], Callable[[], None]]) -> None:
        """Do one thing on a thread of its own; what it returns is called on the page's."""
        if self._working:
            self.page.say("Something is being worked on already; wait for it.")
            return
        self._working = True
        self.page.progress.text = f"{what} …"

        def run() -> None:
            with latest.work.piece() as begun:
                if not begun:
                    return
                try:
                    finish = work()
                except Exception as error:  # whatever it is, the page says it and goes on
                    text = str(error) or f"{what} failed: {type(error).__name__}"

                    def finish() -> None:
                        self.page.complain(text)

            def end() -> None:
                self._working = False
                self.page.progress.text = ""
                finish()

            if not self._closed:
                self.page.later(end)

        threading.Thread(target=run, name=what, daemon=True).start()

    def _auto(self) -> None:
        held, trial = self.page.recording.view.held, self.page.controls.trial

        def work() -> Callable[[], None]:
            found = fit(held, trial.geometry)

            def finish() -> None:
                self.page.show_trial(found.trial)
                self.page.say(found.words)

            return finish

        self._in_background("fitting rotation and aberrations", work)

    def _save(self, save: Callable[[dict], Path]) -> None:
        trial = self.page.controls.trial
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            path = save(entry_of(self.who.value, at, self.saved, trial))
        except ExploreError as error:
            self.page.complain(str(error))
            return
        before, after = tuned_values(self.saved), tuned_values(trial)
        changed = [key for key in after if after[key] != before[key]]
        self.saved = trial
        self.page.say(f"Saved to {path}: {', '.join(changed) or 'nothing changed'}.")

    def _to_job(self, entry: dict) -> Path:
        if not self.job.value.strip():
            raise ExploreError("Which job? Give its file above the button.")
        path = Path(self.job.value.strip()).expanduser()
        return save_to_job(self.page.recording.opened, path, entry)

    def _to_store(self, entry: dict) -> Path:
        return save_to_store(self.page.recording.opened, entry)

    def _export(self) -> None:
        chosen, page = str(self.what.value), self.page
        if "main" not in page.drawn:
            page.complain("There is nothing to export yet.")
            return
        drawn, name = dict(page.drawn), page.recording.opened.name
        trial: Trial = drawn["main"].wish.trial

        def work() -> Callable[[], None]:
            data = _file(chosen, drawn, name, trial)
            kind = chosen.split(".")[1]
            file = f"{name}-{chosen}"
            text = base64.b64encode(data).decode("ascii")

            def finish() -> None:
                self.export.tags = [file, MIME[kind], text]  # the browser takes it from there
                page.say(f"Exported {file} ({len(data) / 1e6:.1f} MB).")

            return finish

        self._in_background("exporting", work)


def _file(chosen: str, drawn: dict, name: str, trial: Trial) -> bytes:
    pictures: dict[str, np.ndarray] = {}
    for part, names in (
        ("main", ("main",)), ("beside", ("beside",)), ("dpc", ("dpc",)),
        ("spectrum", ("spectrum",)), ("trotters", ("before", "after")),
        ("virtual", ("virtual0", "virtual1")),
    ):  # fmt: skip
        if part in drawn:
            pictures |= dict(zip(names, drawn[part].images, strict=True))
    stem, kind = chosen.split(".")
    step, values = trial.geometry.scan_step, tuned_values(trial)
    if kind == "tif":
        if stem not in pictures:
            raise ExploreError("This picture is not drawn yet; wait a moment.")
        return tiff_file(stem, pictures[stem], step, {"title": name, "calibration": values})
    lens = ", ".join(f"{k} {v:g}" for k, v in values["aberrations"].items()) or "no aberrations"
    caption = f"{name} · {lens} · rotation {values['scan_rotation_deg']:g}°"
    return figure_file(pictures, step, caption, kind)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
