"""Mirror: a published folder, copied to an object store (S3, GCS, …) so that it is whole there too.

An object store has no rename, so the manifest is what tells: the old one goes first, the new one
comes last, after every file was read back and compared. Nothing is taken away but what a copy put
there.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from tasks.redact import redacted
from tasks.store import layout
from tasks.store.exchange import move_into_place
from tasks.store.files import hash_file
from tasks.store.foreign import ForeignFilesError
from tasks.store.publish import DamagedResultError, Manifest, verify

PIECE = 8 << 20
COPYING = "copying.json"
"""Beside a copy that is under way: the names of all that is its own."""


def mirror(folder: Path, address: str, read_back: bool = True) -> bool:
    """Copy a published folder, unless the same is there already.

    Parameters
    ----------
    folder : Path
        A published folder; it is verified first.
    address : str
        Where copies go, as fsspec takes it: ``s3://bucket/prefix``. Keys come from the environment.
    read_back : bool
        Read every byte of a copy that is there already; else its manifest tells.

    Returns
    -------
    bool
        Whether anything had to be copied.

    Raises
    ------
    DamagedResultError
        If the folder is not whole, or a copy differs from it.
    ForeignFilesError
        If something else lies where the copy is to lie.
    OSError
        If the store cannot be reached or refuses.
    """
    manifest = verify(folder)
    with _told_apart(address, "does not take the copy"):
        return _mirror(folder, manifest, address, read_back)


def restore(folder: Path, address: str) -> bool:
    """Bring a published folder back from its copy, where there is none here.

    Parameters
    ----------
    folder : Path
        Where it is to stand; what stands there stays.
    address : str
        Where ``mirror`` put the copy.

    Returns
    -------
    bool
        Whether it was brought back: not where it is here, nor where no copy is whole.

    Raises
    ------
    OSError
        If the store cannot be reached or refuses.
    """
    if folder.exists():
        return False
    aside = folder.with_name(folder.name + layout.ASIDE)
    with _told_apart(address, "does not give the copy"):
        try:
            _fetch(aside, f"{address.rstrip('/')}/{folder.name}")
        except DamagedResultError:
            shutil.rmtree(aside, ignore_errors=True)
            return False
    move_into_place(aside, folder)
    return True


@contextmanager
def _told_apart(address: str, what: str) -> Iterator[None]:
    """Errors of a store as those that say what failed."""
    try:
        yield
    except (OSError, DamagedResultError, ForeignFilesError):
        raise
    except ImportError as error:
        raise ValueError(f"{address}: {error}; for S3, install phasemill[s3].") from error
    except Exception as error:  # the errors of each store's own library
        raise OSError(redacted(f"{address}: the store {what}: {error}")) from None


def _fetch(aside: Path, address: str) -> None:
    store, root, manifest = read_mirrored(address)
    shutil.rmtree(aside, ignore_errors=True)
    for name, expected in manifest.files.items():
        target = aside / name
        if not target.resolve().is_relative_to(aside.resolve()):
            raise DamagedResultError(f"{address}: the copy's manifest names {name}, outside of it.")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            store.get_file(f"{root}/{name}", str(target))
        except FileNotFoundError as error:
            raise DamagedResultError(f"{address}: {name} is missing.") from error
        if hash_file(target) != expected:
            raise DamagedResultError(f"{address}: {name} is not what its manifest says.")
    (aside / layout.MANIFEST).write_bytes(store.cat_file(f"{root}/{layout.MANIFEST}"))


def _mirror(folder: Path, manifest: Manifest, address: str, read_back: bool) -> bool:
    text = (folder / layout.MANIFEST).read_bytes()
    store, root = fsspec.core.url_to_fs(f"{address.rstrip('/')}/{folder.name}")
    store.invalidate_cache()
    told = f"{root}/{layout.MANIFEST}"
    if (
        store.exists(told)
        and store.cat_file(told) == text
        and (not read_back or mirrored_faults(store, root, manifest) == [])
    ):
        return False
    _drop_what_is_no_more(store, root, manifest, address)
    for name in manifest.files:
        if _size(store, f"{root}/{name}") != (folder / name).stat().st_size or (
            _sha256(store, f"{root}/{name}") != manifest.files[name]
        ):
            store.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            store.put_file(str(folder / name), f"{root}/{name}")
    if faults := mirrored_faults(store, root, manifest):
        raise DamagedResultError(
            f"{address}: the copy of {folder} differs: {'; '.join(faults[:5])}"
        )
    store.pipe_file(told, text)
    store.rm_file(f"{root}/{COPYING}")
    return True


def mirrored_faults(store: fsspec.AbstractFileSystem, root: str, manifest: Manifest) -> list[str]:
    """What differs between a copy and its manifest; every byte is read."""
    faults = []
    for name, expected in manifest.files.items():
        found = _sha256(store, f"{root}/{name}")
        if found is None:
            faults.append(f"{name} is missing")
        elif found != expected:
            faults.append(f"{name} has SHA-256 {found[:12]}…, expected {expected[:12]}…")
    return faults


def read_mirrored(address: str) -> tuple[fsspec.AbstractFileSystem, str, Manifest]:
    """Open a copy by its manifest.

    Raises
    ------
    DamagedResultError
        If there is none that is whole.
    """
    store, root = fsspec.core.url_to_fs(address.rstrip("/"))
    store.invalidate_cache()
    try:
        stored = json.loads(store.cat_file(f"{root}/{layout.MANIFEST}"))
        return store, root, Manifest.sealed(stored)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DamagedResultError(
            f"{address}: there is no whole {layout.MANIFEST}, so the copy was never finished."
        ) from error


def _drop_what_is_no_more(
    store: fsspec.AbstractFileSystem, root: str, manifest: Manifest, address: str
) -> None:
    """Take away what earlier copies left, and that alone; and the manifest of the last one."""
    own = _named(store, f"{root}/{layout.MANIFEST}") | _named(store, f"{root}/{COPYING}")
    found = {str(path).removeprefix(root).lstrip("/") for path in store.find(root)}
    others = found - manifest.files.keys() - own - {layout.MANIFEST, COPYING}
    if others and not found & {layout.MANIFEST, COPYING}:
        raise ForeignFilesError(
            f"{address}/{root.rpartition('/')[2]} holds {min(others)} and is no copy of a result; "
            "give the job another mirror, or the dataset another name."
        )
    # So that whoever goes on after an interruption knows these for its own.
    names = sorted(own | manifest.files.keys())
    store.makedirs(root, exist_ok=True)
    store.pipe_file(f"{root}/{COPYING}", json.dumps({"files": names}).encode())
    for name in sorted(found & (own - manifest.files.keys() | {layout.MANIFEST})):
        store.rm_file(f"{root}/{name}")


def _named(store: fsspec.AbstractFileSystem, path: str) -> set[str]:
    """Names that a manifest, or a list of what is being copied, has; none where it is not whole."""
    try:
        return set(json.loads(store.cat_file(path))["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()


def _size(store: fsspec.AbstractFileSystem, path: str) -> int | None:
    try:
        return int(store.info(path)["size"])
    except FileNotFoundError:
        return None


def _sha256(store: fsspec.AbstractFileSystem, path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.open(path, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    except FileNotFoundError:
        return None
    return digest.hexdigest()
