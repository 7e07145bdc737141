"""Watch: recordings are milled as they arrive, each when its file is complete."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.dataset import Dataset
from flows.deadline import Deadline
from flows.job import Job
from flows.recordings import arrived
from tasks.store.source import State, state_of

PATIENCE = 20
"""Looks at a file that has stopped to change and still does not open, or does not tell what the job
leaves to it, before it is tried as it is, so that its fault comes to light."""


@dataclass
class Arrivals:
    """Which recordings of a job are complete and were not milled as they are now."""

    _last: dict[str, State] = field(default_factory=dict)
    _milled: dict[str, State] = field(default_factory=dict)
    _closed_looks: dict[str, int] = field(default_factory=dict)

    def complete(self, datasets: tuple[Dataset, ...]) -> tuple[Dataset, ...]:
        """Datasets whose file did not change since the last look, opens, and lacks nothing.

        Each is given once, and again when its file changes.
        """
        return tuple(dataset for dataset in datasets if self._is_complete(dataset))

    def _is_complete(self, dataset: Dataset) -> bool:
        path = dataset.path
        try:
            state = state_of(Path(path))
        except (OSError, ValueError):
            return False
        before, self._last[path] = self._last.get(path), state
        if state != before:
            self._closed_looks.pop(path, None)
            return False
        if state == self._milled.get(path):
            return False
        if not arrived(dataset):
            self._closed_looks[path] = self._closed_looks.get(path, 0) + 1
            if self._closed_looks[path] < PATIENCE:
                return False
        self._milled[path] = state
        return True


def watch(
    read: Callable[[], Job],
    mill: Callable[[Job, list[dict[str, Any]]], list[dict[str, Any]]],
    every: float,
    until: Deadline | None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """Look for complete recordings and mill them, until the deadline or a signal.

    Parameters
    ----------
    read : callable
        Reads the job, with the files that are there by now.
    mill : callable
        Mills a job, beside the rows of what was milled before, and gives its own rows.
    every : float
        Seconds between looks; a file is complete when it did not change from one to the next.
    until : Deadline, optional
        When to stop; else a signal does.
    sleep : callable
        For tests.

    Returns
    -------
    list of dict
        A row for each dataset, as it was milled last.
    """
    arrivals, rows = Arrivals(), dict[str, dict[str, Any]]()
    while until is None or not until.passed:
        job = read()
        if complete := arrivals.complete(job.datasets):
            due = job.model_copy(update={"datasets": complete})
            again = {dataset.name for dataset in complete}
            earlier = [row for name, row in rows.items() if name not in again]
            rows |= {row["name"]: row for row in mill(due, earlier)}
        else:
            sleep(every)
    return list(rows.values())
