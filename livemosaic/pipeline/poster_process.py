"""The process of `PosterMaker`."""

import os

from .poster import serve

try:
    serve()
except BaseException:  # the parent has gone, or a defect
    os._exit(2)
