"""Exports opened by the programs that they are for, in an environment of these programs' own.

    PYTHONPATH=. .venv/bin/python benchmarks/exports.py [--peers .venv-peers-exports/bin/python]

A small scan is simulated, milled and exported; the other interpreter opens the files with py4DSTEM,
napari's reader of OME-Zarr and tifffile, and what it found is compared: values, names, axes and
units. The exit code is 1 if anything differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

STEP = (0.4, 0.35)
PEERS = Path(".venv-peers-exports/bin/python")


def main() -> None:
    """Export and compare, or, where a folder is given, look at what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=PEERS)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look is not None:
        look(options.look)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        expected = make(folder)
        command = [options.peers, __file__, "--look", folder]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        faults = [fault for name in expected for fault in compare(folder, name, expected, found)]
    for name, row in found.items():
        print(f"{name}: {row['opened']}, values {row['shape']}, {row['axes']} {row['units']}")
    print("\n".join(faults) or "all as they were written")
    raise SystemExit(1 if faults else 0)


def make(folder: Path) -> dict[str, dict[str, Any]]:
    """Mill and export a scan; what the files are to hold, their values beside them."""
    import xarray as xr
    from rich.console import Console

    from flows.job import check_job
    from flows.overnight import run_night
    from tasks.export.export import export
    from tasks.simulate import simulate
    from tasks.simulation import small_simulation

    simulate(small_simulation(scan_shape=(24, 20), scan_step=STEP, electrons=60.0), folder / "s.h5")
    dataset = {
        "path": str(folder / "s.h5"), "voltage_kv": 80, "semiangle_mrad": 25, "dense": {"bin": 2},
        "scan_step_angstrom": list(STEP), "scan_rotation_deg": 0, "flip": False, "aberrations": {},
        "steps": ["virtual", "dpc", "ssb"],
    }  # fmt: skip
    job = {"output": str(folder / "out"), "cluster": "threads", "datasets": [dataset]}
    run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)
    made = folder / "out" / "s"
    names = export(made, folder / "images.ome.zarr")["holds"]
    export(made, folder / "images.ome.tif")
    export(made, folder / "dense.emd", "dense")
    images = xr.open_zarr(made / "results.zarr", chunks=None)
    counts = xr.open_zarr(made / "dense.zarr", chunks=None)["counts"]
    stack = np.stack([images[name].values.astype(np.float32) for name in names])
    np.save(folder / "images.ome.zarr.npy", stack)
    np.save(folder / "images.ome.tif.npy", stack)
    np.save(folder / "dense.emd.npy", counts.values)
    labels = [f"{name} [{images[name].attrs['units']}]" for name in names]
    q = float(counts.ky[1] - counts.ky[0])
    plane = {"axes": list(STEP), "names": labels}
    return {
        "images.ome.zarr": {**plane, "units": ["angstrom", "angstrom"]},
        "images.ome.tif": {**plane, "units": ["Å", "Å"]},
        "dense.emd": {"axes": [STEP[0], STEP[0], q, q], "units": ["A", "A", "A^-1", "A^-1"]},
    }


def look(folder: Path) -> None:
    """Open the files as their programs do, and print what these say of them."""
    import napari_ome_zarr
    import py4DSTEM
    import tifffile

    sys.stdout, out = sys.stderr, sys.stdout  # py4DSTEM prints as it reads
    path = str(folder / "images.ome.zarr")
    ((levels, told, _),) = napari_ome_zarr.napari_get_reader(path)(path)
    first = levels[0] if isinstance(levels, list) else levels
    np.save(
        folder / "images.ome.zarr.found.npy",
        np.moveaxis(np.asarray(first), told["channel_axis"], 0),
    )
    found = {
        "images.ome.zarr": {
            "opened": f"napari-ome-zarr {version('napari-ome-zarr')}",
            "axes": [float(scale) for scale in told["scale"]][-2:],
            "units": [str(unit) for unit in told.get("units", ())][-2:],
            # It puts the image's own name before that of each channel.
        "names": [name.removeprefix("s: ") for name in told["name"]],
        }
    }  # fmt: skip
    with tifffile.TiffFile(folder / "images.ome.tif") as file:
        np.save(folder / "images.ome.tif.found.npy", file.asarray())
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    found["images.ome.tif"] = {
        "opened": f"tifffile {version('tifffile')}",
        "axes": [pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]],
        "units": [pixels["PhysicalSizeYUnit"], pixels["PhysicalSizeXUnit"]],
        "names": [channel["Name"] for channel in pixels["Channel"]],
    }
    cube = py4DSTEM.read(str(folder / "dense.emd"))
    np.save(folder / "dense.emd.found.npy", cube.data)
    found["dense.emd"] = {
        "opened": f"py4DSTEM {version('py4DSTEM')}, {type(cube).__name__}",
        "axes": [float(dim[1] - dim[0]) for dim in cube.dims],
        "units": list(cube.dim_units),
    }
    for name, row in found.items():
        row["shape"] = list(np.load(folder / f"{name}.found.npy", mmap_mode="r").shape)
    print(json.dumps(found), file=out)


def compare(folder: Path, name: str, expected: dict, found: dict) -> list[str]:
    """What another program read otherwise than it was written."""
    faults = [
        f"{name}: {key} are {found[name][key]}, written were {value}"
        for key, value in expected[name].items()
        if (key == "axes" and not np.allclose(found[name][key], value))
        or (key != "axes" and found[name][key] != value)
    ]
    values, wanted = (np.load(folder / f"{name}{end}.npy") for end in (".found", ""))
    if not np.array_equal(values, wanted, equal_nan=values.dtype.kind == "f"):
        faults.append(f"{name}: its values differ")
    return faults


if __name__ == "__main__":
    main()
