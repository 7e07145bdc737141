"""Files as hyperspy writes them, which know their microscope: images and patterns of a scan."""

import numpy as np
from rsciio import hspy


def write_image(path, shape=(24, 24), step_nm=0.04):
    return write_signal(path, np.zeros(shape), [(name, step_nm, "nm", False) for name in "yx"])


def write_signal(path, data, told):
    axes = [
        {"name": name, "size": size, "scale": scale, "offset": 0.0, "units": units,
         "navigate": navigate, "_type": "UniformDataAxis", "is_binned": False}
        for size, (name, scale, units, navigate) in zip(data.shape, told, strict=True)
    ]  # fmt: skip
    tem = {"beam_energy": 80.0, "convergence_angle": 25.0}
    signal = {
        "data": data, "axes": axes, "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False}, "learning_results": {},
        "metadata": {"General": {"title": "HAADF"}, "Acquisition_instrument": {"TEM": tem}},
        "package_info": {}, "models": {}, "tmp_parameters": {},
    }  # fmt: skip
    hspy.file_writer(str(path), signal, show_progressbar=False)
    return path


def write_patterns(path, axes):
    """Frames of a hyperspy signal that knows its microscope."""
    frames = np.random.default_rng(0).poisson(2.0, (8, 8, 32, 32)).astype("u2")
    y, x = np.indices((32, 32)) - 15.5
    frames *= np.hypot(y, x) < 9
    write_signal(path, frames, axes)
