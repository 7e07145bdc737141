"""Roots: the folders that a job may read and write, where a facility sets any."""

import os
from collections.abc import Iterator
from pathlib import Path

from flows.dataset import Dataset
from flows.job_model import Job
from flows.places import fault
from tasks.fetch import is_remote
from tasks.roots import refusal, roots
from tasks.store import layout

STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory")
"""Kinds of stores that hold no file of this machine."""

LOCAL = ("file", "local")


def escaped_paths(job: Job, origins: list[int], lines: dict[tuple, int]) -> list[str]:
    """A fault for each path of a job that leaves its roots, links followed."""
    found = ((place, refusal(path)) for place, path in _paths(job, origins))
    faults = [fault(lines, place, text) for place, text in found if text is not None]
    kind = (job.mirror or "s3:").partition(":")[0]
    if roots() and kind not in (*STORES, *LOCAL):
        faults.append(fault(lines, ("mirror",), f"{kind} may lead to files of this machine"))
    return faults


def overwritten_paths(job: Job, origins: list[int], lines: dict[tuple, int]) -> list[str]:
    """A fault for each recording whose place a result would take, or that the output lies in."""
    output = os.path.realpath(job.output)
    results = {os.path.join(output, one.name): one.name for one in job.datasets}
    faults = []
    for dataset, origin in zip(job.datasets, origins, strict=True):
        for key in ("path", "metadata"):
            path = getattr(dataset, key)
            if path is None or is_remote(path):
                continue
            real = os.path.realpath(path)
            work = os.path.realpath(layout.work_folder(Path(job.output), dataset.name))
            if names := [name for folder, name in results.items() if _inside(real, folder)]:
                text = f"{path} lies where the result of '{names[0]}' is to stand"
            elif _inside(real, work):
                text = f"{path} lies in {work}, which the mill clears as it likes"
            elif _inside(output, real):
                text = f"the output {job.output} lies inside of {path}, which is read"
            else:
                continue
            text += "; give the job another output"
            faults.append(fault(lines, ("datasets", origin, key), text))
    return faults


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _paths(job: Job, origins: list[int]) -> Iterator[tuple[tuple, str]]:
    yield ("output",), job.output
    if job.mirror is not None and job.mirror.partition(":")[0] in LOCAL:
        yield ("mirror",), job.mirror.partition("://")[2]
    for dataset, origin in zip(job.datasets, origins, strict=True):
        at = ("datasets", origin)
        yield (*at, "path"), dataset.path
        if dataset.metadata is not None:
            yield (*at, "metadata"), dataset.metadata
        for place, mask in masks_of(dataset):
            yield (*at, *place, "mask"), mask
        if dataset.probe not in (None, "vacuum"):
            yield (*at, "probe"), dataset.probe
        for name in ("dark", "gain"):
            if dataset.counting is not None and (path := getattr(dataset.counting, name)):
                yield (*at, "counting", name), path
        for step, names in (("cnn", ("network", "positions")), ("epie", ("positions",))):
            for name in names:
                if (path := getattr(getattr(dataset, step), name)) is not None:
                    yield (*at, step, name), path


def masks_of(dataset: Dataset) -> Iterator[tuple[tuple, str]]:
    """Every mask file that a dataset names, with its place in the job."""
    for key in ("detectors", "regions"):
        for number, one in enumerate(getattr(dataset, key)):
            if one.mask is not None:
                yield (key, number), one.mask
    if dataset.vacuum is not None and dataset.vacuum.mask is not None:
        yield ("vacuum",), dataset.vacuum.mask
