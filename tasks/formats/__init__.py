"""Detector files: which format a path is in, and one reader for each."""
