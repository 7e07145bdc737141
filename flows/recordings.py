"""A dataset's recording: how it is read, and whether it has arrived."""

from flows.chosen import chosen_counting
from flows.companions import untold
from flows.dataset import Dataset
from flows.job_model import Job
from tasks.formats.companion import read_companion
from tasks.formats.recording import RecordingError
from tasks.ingest import ReaderOptions


def reader_options(dataset: Dataset) -> ReaderOptions:
    """What the job tells the reader."""
    return ReaderOptions(
        array=dataset.array,
        scan_shape=dataset.scan_shape,
        detector_shape=dataset.detector_shape,
        drop_flyback=dataset.drop_flyback,
        threshold=dataset.threshold,
        out_of_range=dataset.out_of_range,
        scan_bin=dataset.scan_bin,
        counting=chosen_counting(dataset.counting),
    )


def opens(dataset: Dataset) -> bool:
    """Whether a recording can be read, and the companion that the job names beside it."""
    try:
        reader_options(dataset).open(dataset.path)
        if dataset.metadata is not None:
            read_companion(dataset.metadata)
        return True
    except (RecordingError, OSError, ValueError):
        return False


def arrived(dataset: Dataset) -> bool:
    """Whether all files of a dataset can be read, and nothing is missing that they may tell."""
    return untold(dataset) is None and opens(dataset)


def never_told(job: Job) -> list[str]:
    """What datasets lack whose files are all there already: nothing will bring it any more."""
    lacking = [(one.name, untold(one)) for one in job.datasets if untold(one) and opens(one)]
    return [f"{name}: {missing}" for name, missing in lacking]
