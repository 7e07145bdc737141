"""Copies of an event store and of finished steps in an object store, to go on from elsewhere.

A step's identity tells whether it can be reused, wherever its folder came from. So a night that
begins on an empty disk, as that of a container, finds what another machine had finished.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.mirror import mirror, restore
from tasks.store import layout
from tasks.store.publish import Manifest


@dataclass(frozen=True)
class StepCopies:
    """The copies of one dataset."""

    work: Path
    """Folder of its event store and steps."""
    address: str
    """Folder of their copies, as fsspec takes it."""

    @classmethod
    def of(cls, output: Path, name: str, address: str) -> "StepCopies":
        """Copies of a dataset of a night that is mirrored to ``address``."""
        work = layout.work_folder(output, name)
        return cls(work, f"{address.rstrip('/')}/{work.relative_to(output)}")

    def keep(self, manifest: Manifest) -> None:
        """Copy a step that is finished, unless its copy has the same manifest.

        Raises
        ------
        OSError
            If the store cannot be reached or refuses.
        """
        folder = self._folder(manifest.step)
        mirror(folder, self._beside(folder), read_back=False)

    def bring_back(self, steps: Iterable[str]) -> list[str]:
        """Bring back what is missing here, and name it.

        Raises
        ------
        OSError
            If the store cannot be reached or refuses.
        """
        folders = {step: self._folder(step) for step in steps}
        return [step for step, folder in folders.items() if restore(folder, self._beside(folder))]

    def _folder(self, step: str) -> Path:
        if step == "ingest":
            return layout.event_store(self.work)
        return layout.step_folder(self.work, step)

    def _beside(self, folder: Path) -> str:
        return f"{self.address}/{folder.parent.relative_to(self.work)}".removesuffix("/.")
