"""What a person sees while a night runs: one line a step, with its rate and the time left."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.units import Reporter, reporting


class StepLines:
    """A reporter that keeps one line for each step of the dataset at hand."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lines: dict[str, TaskID] = {}
        self._dataset = ""

    def start(self, dataset: str) -> None:
        """Begin the lines of another dataset."""
        self._dataset = dataset
        self._lines.clear()

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """Move the line of a step."""
        label = f"{self._dataset} · {step}" if self._dataset else step
        if step not in self._lines:
            self._lines[step] = self._progress.add_task(label, total=max(total, 1))
        self._progress.update(
            self._lines[step],
            completed=done if total else 1,
            total=max(total, 1),
            description=f"{label} ({note})" if note else label,
        )


@contextmanager
def step_lines(console: Console, quiet: bool) -> Iterator[StepLines | None]:
    """Show progress on a console for as long as the block runs.

    Parameters
    ----------
    console : Console
        Where to draw; a pipe or file gets no moving lines.
    quiet : bool
        Show nothing.

    Yields
    ------
    StepLines or None
        The reporter, to be told which dataset is at hand.
    """
    if quiet or not console.is_terminal:
        with reporting(None if quiet else _PlainLines(console)):
            yield None
        return
    columns = (
        TextColumn("{task.description}", justify="left"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        lines = StepLines(progress)
        with reporting(lines):
            yield lines


class _PlainLines:
    """For logs and pipes: one line when a step is done, and at each tenth of one that says more."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        if done == total or (note and done % max(1, total // 10) == 0):
            more = f" ({note})" if note else ""
            self._console.print(f"  {step}: {done} of {total}{more}", highlight=False)


def stderr_console() -> Console:
    """Console for people; standard output is kept for results."""
    return Console(file=sys.stderr, soft_wrap=True)


__all__ = ["Reporter", "StepLines", "stderr_console", "step_lines"]
