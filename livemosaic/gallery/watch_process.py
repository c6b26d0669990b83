"""The process of `FolderWatcher`."""

import os

from .watch import serve

try:
    serve()
except BaseException:  # the parent has gone, or a defect
    os._exit(2)
