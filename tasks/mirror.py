"""Mirror: a published folder, copied to an object store (S3, GCS, …) so that it is whole there too.

An object store has no rename, so the manifest is what tells: the old one goes first, the new one
comes last, after every file was read back and compared.
"""

import hashlib
import json
from pathlib import Path

import fsspec

from tasks.store import layout
from tasks.store.publish import DamagedResultError, Manifest, verify

PIECE = 8 << 20


def mirror(folder: Path, address: str) -> bool:
    """Copy a published folder, unless the same is there already.

    Parameters
    ----------
    folder : Path
        A published folder; it is verified first.
    address : str
        Where copies go, as fsspec takes it: ``s3://bucket/prefix``. Keys come from the environment.

    Returns
    -------
    bool
        Whether anything had to be copied.

    Raises
    ------
    DamagedResultError
        If the folder is not whole, or a copy differs from it.
    OSError
        If the store cannot be reached or refuses.
    """
    manifest = verify(folder)
    try:
        return _mirror(folder, manifest, address)
    except (OSError, DamagedResultError):
        raise
    except ImportError as error:
        raise ValueError(f"{address}: {error}; for S3, install phasemill[s3].") from error
    except Exception as error:  # the errors of each store's own library
        raise OSError(f"{address}: the store does not take the copy: {error}") from error


def _mirror(folder: Path, manifest: Manifest, address: str) -> bool:
    text = (folder / layout.MANIFEST).read_bytes()
    store, root = fsspec.core.url_to_fs(f"{address.rstrip('/')}/{folder.name}")
    store.invalidate_cache()
    told = f"{root}/{layout.MANIFEST}"
    if store.exists(told):
        if store.cat_file(told) == text and mirrored_faults(store, root, manifest) == []:
            return False
        store.rm_file(told)
    _drop_what_is_no_more(store, root, manifest)
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
    try:
        stored = json.loads(store.cat_file(f"{root}/{layout.MANIFEST}"))
        return store, root, Manifest.sealed(stored)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DamagedResultError(
            f"{address}: there is no whole {layout.MANIFEST}, so the copy was never finished."
        ) from error


def _drop_what_is_no_more(store: fsspec.AbstractFileSystem, root: str, manifest: Manifest) -> None:
    for path in store.find(root):
        if str(path).removeprefix(root).lstrip("/") not in manifest.files:
            store.rm_file(path)


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
