"""Damaged files of every format, each opened and read whole: no crash, hang, flood or silent loss.

    PYTHONPATH=. .venv/bin/python benchmarks/fuzz.py [--files 10000] [--seed 0] [--formats npy eer]

Small good files are damaged by chance as ``tests/tasks/formats/test_hostile.py`` has it: bits
flipped, words overwritten by ones or zeros, bytes by noise, ends cut off. Each format has a process
of its own with a limit to its memory and, for each file, to its time. What is read is compared with
the good file. Counted are files that are refused, that are read with the same
events, and that are read with others:

- *noted*: the recording says so, in its notes or in which frames are missing.
- *values*: it was bytes that hold counts or pixels that made the difference, and scan and detector
  are the same. Where a format has no checksum nobody can see that: readers are blind to it.
- *fields*: something else made the difference. Each of these is printed with its number.

The exit code is 1 if a file crashes, hangs or floods its reader, or *fields* are not 0.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import json
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import tifffile

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("zarr 3", "zarr 2", "raw_csr")
"""Formats that are folders: their files are damaged as if they were one after another."""
WORDS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", "scan.toml")
"""Files of such folders that hold no counts and no pixels."""
HANG = 60.0
"""Seconds for one file on a busy machine."""
ROOM = 2 << 30
"""Address space that a reader may add [bytes]."""
FLOOD = 300 << 20
"""Memory that all files of a format may add [bytes]."""


class Read(NamedTuple):
    """What a recording was read as."""

    shapes: tuple
    indptr: np.ndarray
    indices: np.ndarray
    said: tuple
    """Notes, and which positions are missing: what the report says."""

    def same_as(self, other: "Read") -> bool:
        """Whether scan, detector and events are the same."""
        return self.shapes == other.shapes and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("indptr", "indices")
        )


def main() -> None:
    """Damage files of each format and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", default=list(_formats()), choices=list(_formats()))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuzz(options.inside, options.files, options.seed)
        return
    print(f"{'format':<12}{'files':>8}{'refused':>9}{'same':>7}{'noted':>7}{'values':>8}"
          f"{'fields':>8}  added")  # fmt: skip
    bad = [name for name in options.formats if not _one(name, options.files, options.seed)]
    raise SystemExit(bool(bad))


def _one(name: str, files: int, seed: int) -> bool:
    command = [sys.executable, __file__, "--inside", name, f"--files={files}", f"--seed={seed}"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        last = lines[-1] if lines else "before the first file"
        print(f"{name:<12} ended with code {done.returncode} at {last}\n{done.stderr[-2000:]}")
        return False
    found = json.loads(lines[-1])
    print(
        f"{name:<12}{files:>8}{found['refused']:>9}{found['same']:>7}{found['noted']:>7}"
        f"{found['values']:>8}{found['fields']:>8}  {found['memory'] / 2**20:.0f} MiB"
    )
    for line in found["lines"][:20]:
        print(f"    {line}")
    return not found["fields"] and found["memory"] < FLOOD


def fuzz(name: str, files: int, seed: int) -> None:
    """Damage one format's file again and again; prints its outcome as JSON, last."""
    hostile, path, options = _made(name, Path(tempfile.mkdtemp()))
    parts = _files(path)
    good = b"".join(part.read_bytes() for part in parts)
    whole = _read(path, options)
    payload = np.zeros(len(good), bool)
    for first, last in _payload(name, path, good):
        payload[first:last] = True
    assert payload.any(), name
    other = path.with_name("damaged" + path.suffix)

    def write(data: bytes) -> None:
        _write(path, parts, other, data)

    found: Counter[str] = Counter()
    lines: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    for number in range(files):
        bad = hostile.damaged(good, np.random.default_rng([seed, number]))
        write(bad)
        faulthandler.dump_traceback_later(HANG, exit=True)
        try:
            outcome, said = _outcome(other, write, options, whole, good, bad, payload)
        except BaseException as error:
            print(f"file {number}: {type(error).__name__}: {error}", flush=True)
            raise
        faulthandler.cancel_dump_traceback_later()
        found[outcome] += 1
        if outcome == "fields":
            lines.append(f"file {number}: {said}")
        if number % 100 == 0:
            print(f"file {number} or one of the next 100", flush=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {key: found[key] for key in ("refused", "same", "noted", "values", "fields")}
    print(json.dumps(counts | {"memory": 1024 * (after - before), "lines": lines}))


def _files(path: Path) -> list[Path]:
    """The file, or all that a folder holds: one file after another is what is damaged."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _write(path: Path, files: list[Path], other: Path, data: bytes) -> None:
    """Write damaged bytes as the recording beside it; a folder that was cut lacks files."""
    if path.is_file():
        other.write_bytes(data)
        return
    shutil.rmtree(other, ignore_errors=True)
    first = 0
    for file in files:
        size = file.stat().st_size
        if first < len(data) or not size:
            target = other / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data[first : first + size])
        first += size


def _outcome(
    path: Path,
    write: Callable[[bytes], None],
    options: dict,
    whole: Read,
    good: bytes,
    bad: bytes,
    payload: np.ndarray,
) -> tuple[str, str]:
    read = _read_or_refused(path, options)
    if read is None:
        return "refused", ""
    if read.same_as(whole):
        return "same", ""
    if read.said != whole.said:
        return "noted", ""
    shapes = f"shapes {whole.shapes} -> {read.shapes}, events {whole.indices.size} -> "
    shapes += str(read.indices.size)
    if len(good) != len(bad):
        return "fields", f"cut to {len(bad)} of {len(good)}; {shapes}"
    # What the same damage does where it leaves the counts alone.
    before, after = np.frombuffer(good, "u1"), np.frombuffer(bad, "u1")
    outside = np.flatnonzero((before != after) & ~payload)
    write(np.where(payload, before, after).tobytes())
    spared = _read_or_refused(path, options)
    if spared is not None and spared.same_as(whole) and read.shapes == whole.shapes:
        return "values", ""
    return "fields", f"bytes {outside[:6].tolist()} of {len(good)}; {shapes}"


def _read_or_refused(path: Path, options: dict) -> Read | None:
    from tasks.formats.recording import RecordingError

    try:
        return _read(path, options)
    except RecordingError as error:
        said = str(error)
    if str(path) not in said or "\n" in said:
        raise AssertionError(f"not one sentence that names the file: {said}")
    return None


def _read(path: Path, options: dict) -> Read:
    from tasks.formats.detect import open_recording

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = path / "scan.toml"
        recording = open_recording(table if path.suffix == ".csr" else path, **options)
        block = recording.read_rows(0, recording.scan_shape[0])
    assert block.indptr[-1] == block.indices.size
    assert (np.diff(block.indptr) >= 0).all()
    assert block.indices.max(initial=0) < recording.pixels
    said = (*recording.notes, block.frames_present.tobytes())
    shapes = (recording.scan_shape, recording.detector_shape)
    return Read(shapes, block.indptr, block.indices, said)


def _payload(name: str, path: Path, good: bytes) -> list[tuple[int, int]]:
    """Where in a file the counts or pixels of frames lie."""
    if path.is_dir():
        ends = np.cumsum([file.stat().st_size for file in _files(path)]).tolist()
        spans = zip(_files(path), [0, *ends[:-1]], ends, strict=True)
        return [(first, last) for file, first, last in spans if file.name not in WORDS]
    if name == "npy":
        return [(good.index(b"\n") + 1, len(good))]
    if name == "block":
        (offset,) = struct.unpack_from("<I", good, 12)
        return [(offset, len(good))]
    if name == "merlin":
        return [(good.index(b"\0") if b"\0" in good else 0, len(good))]
    if name == "eer":
        with tifffile.TiffFile(path) as tiff:
            return [
                (first, first + count)
                for page in tiff.pages
                for first, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
    with h5py.File(path) as file:
        if "electron_events" in file:
            rows = [row.astype("<u4").tobytes() for row in file["electron_events/frames"][:]]
            return [(good.index(row), good.index(row) + len(row)) for row in rows]
        data = file["experiment/data"]
        if data.chunks is None:
            return [(data.id.get_offset(), data.id.get_offset() + data.id.get_storage_size())]
        chunks = [data.id.get_chunk_info(n) for n in range(data.id.get_num_chunks())]
        return [(one.byte_offset, one.byte_offset + one.size) for one in chunks]


def _module(name: str) -> Any:
    path = ROOT / "tests" / "tasks" / "formats" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fuzzed_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _formats() -> list[str]:
    return [*_module("test_hostile").FORMATS, *FOLDERS]


def _made(name: str, folder: Path) -> tuple[Any, Path, dict]:
    hostile, conftest = _module("test_hostile"), _module("conftest")
    write_counted = conftest.write_counted.__wrapped__(folder)
    with contextlib.redirect_stdout(sys.stderr):
        if name == "raw_csr":
            path, maker = folder / "a.csr", hostile.makers("test_raw_csr")
            path.mkdir()
            maker.write(path, maker.dense())
            return hostile, path, {}
        make = hostile.dense(name, "a.zarr") if name in FOLDERS else hostile.FORMATS[name]
        path, options = make(folder, write_counted)
    return hostile, path, options


if __name__ == "__main__":
    main()
