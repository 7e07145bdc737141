"""What runs, in which order, on which cluster."""

import os

# For whoever loads NumPy after this, as the command does. Work is parted among processes and Dask's
# threads, and small matrices take five times the CPU where all cores wait for each other over them.
# Last digits depend on it as well, and are so the same on any number of cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
