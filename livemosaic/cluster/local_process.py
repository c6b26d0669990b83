"""A process of `LocalProcesses`."""

import os

# Before NumPy is loaded: there is such a process for each processor.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from .local import serve  # noqa: E402

try:
    serve()
except BaseException:  # the parent has gone, or a defect
    os._exit(2)
