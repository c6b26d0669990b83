"""The process of `PhotoDecoder`."""

import os

from .decoder import serve

try:
    serve()
except BaseException:  # the parent has gone, or a defect
    os._exit(2)
