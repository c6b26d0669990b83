"""livemosaic turns live video into photomosaics.

>>> import cv2, livemosaic                                        # doctest: +SKIP
>>> mosaic = livemosaic.Mosaic("photos")                          # doctest: +SKIP
>>> cv2.imwrite("out.png", mosaic.apply(cv2.imread("in.jpg")))    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import GalleryError, LivemosaicError, SinkError, SourceError, UsageError

if TYPE_CHECKING:
    from .gallery import open_gallery
    from .gallery.file_format import Gallery
    from .media.colour import Colour
    from .media.frame import Frame
    from .mosaic.mosaic import Mosaic
    from .mosaic.settings import MosaicSettings

__version__ = "0.1.0"

__all__ = [
    "Colour",
    "Frame",
    "Gallery",
    "GalleryError",
    "LivemosaicError",
    "Mosaic",
    "MosaicSettings",
    "SinkError",
    "SourceError",
    "UsageError",
    "open_gallery",
]

# Imported at their first use: `livemosaic --help` must not wait for NumPy and Numba.
_LAZY = {
    "Colour": ".media.colour",
    "Frame": ".media.frame",
    "Gallery": ".gallery.file_format",
    "Mosaic": ".mosaic.mosaic",
    "MosaicSettings": ".mosaic.settings",
    "open_gallery": ".gallery",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
