"""Verify: read a published result again and compare every byte with what was published."""

from pathlib import Path
from typing import Any

from tasks.store import layout
from tasks.store.publish import DamagedResultError, Manifest, read_manifest, verify


def verify_result(result: Path, against: Path | None = None) -> dict[str, Any]:
    """Check a dataset's folder, an event store, a step or a whole night.

    Parameters
    ----------
    result : Path
        What to check. A night is a folder whose datasets are folders with a manifest.
    against : Path, optional
        A result whose data must be the same to the byte.

    Returns
    -------
    dict
        ``status`` (``ok`` or ``damaged``), ``code`` (exit code), ``lines`` to print, and the
        ``digests`` of the data by path.
    """
    folders = _published_folders(result)
    if not folders:
        return _answer(2, [f"{result}: nothing that was published is here"], {})
    lines: list[str] = []
    digests: dict[str, str] = {}
    code = 0
    for folder in folders:
        try:
            manifest = verify(folder)
        except DamagedResultError as error:
            lines.append(str(error))
            code = 1
            continue
        digests[str(folder)] = manifest.digest
        lines.append(f"{folder}: whole, {len(manifest.files)} files, data {_data(manifest)[:16]}")
    if against is not None and code == 0:
        code = max(code, _compare(folders, against, lines))
    return _answer(code, lines, digests)


def _published_folders(result: Path) -> list[Path]:
    if result.name == layout.RESULTS:
        result = result.parent
    if (result / layout.MANIFEST).is_file():
        return [result]
    if not result.is_dir():
        return []
    return sorted(path.parent for path in result.glob(f"*/{layout.MANIFEST}"))


def _data(manifest: Manifest) -> str:
    """Digest of what must repeat to the byte: all but the record of how it came about."""
    return str(manifest.summary.get("data", manifest.digest))


def _compare(folders: list[Path], against: Path, lines: list[str]) -> int:
    others = {path.name: path for path in _published_folders(against)}
    if len(folders) == len(others) == 1:
        others = {folders[0].name: next(iter(others.values()))}
    code = 0
    for folder in folders:
        mine = read_manifest(folder)
        other = read_manifest(others[folder.name]) if folder.name in others else None
        if mine is None or other is None:
            lines.append(f"{folder}: there is no such result in {against}")
            code = 1
        elif _data(mine) != _data(other):
            different = sorted(
                name
                for name in mine.files.keys() | other.files.keys()
                if mine.files.get(name) != other.files.get(name)
            )
            lines.append(f"{folder}: differs from {others[folder.name]} in {different[:8]}")
            code = 1
        else:
            lines.append(f"{folder}: same bytes as {others[folder.name]}")
    return code


def _answer(code: int, lines: list[str], digests: dict[str, str]) -> dict[str, Any]:
    return {
        "status": "ok" if code == 0 else "damaged" if code == 1 else "not found",
        "code": code,
        "lines": lines,
        "digests": digests,
    }
