"""Calibrating the microscope from the data itself: disk, rotation, mirror, aberrations."""
