"""livemosaic turns live video into photomosaics.

>>> import cv2, livemosaic                                        # doctest: +SKIP
>>> mosaic = livemosaic.Mosaic("photos", columns=80)              # doctest: +SKIP
>>> cv2.imwrite("out.png", mosaic.apply(cv2.imread("in.jpg")))    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    ClusterError,
    GalleryError,
    LivemosaicError,
    OptionError,
    SinkError,
    SourceError,
    UsageError,
)

if TYPE_CHECKING:
    from .api import mosaic_frames, render
    from .control.state import Control, LiveState
    from .diagnosis import diagnose_gallery
    from .gallery import build_gallery, open_gallery, refresh_gallery, remove_photos
    from .gallery.gallery import Gallery
    from .gallery.live import AddedPhoto, LiveGallery
    from .media.colour import Colour
    from .media.frame import Frame, StreamInfo
    from .mosaic.area import Area
    from .mosaic.match.base import Matcher
    from .mosaic.mosaic import Mosaic
    from .mosaic.settings import MosaicSettings
    from .mosaic.spotlight import Spotlight
    from .pipeline import Pipeline, output_info
    from .sinks import Sink, open_sink
    from .sources import Source, open_source
    from .vision.faces import faces_in

__version__ = "0.1.0"

__all__ = [
    "AddedPhoto",
    "Area",
    "ClusterError",
    "Colour",
    "Control",
    "Frame",
    "Gallery",
    "GalleryError",
    "LiveGallery",
    "LiveState",
    "LivemosaicError",
    "Matcher",
    "Mosaic",
    "MosaicSettings",
    "OptionError",
    "Pipeline",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "Spotlight",
    "StreamInfo",
    "UsageError",
    "build_gallery",
    "diagnose_gallery",
    "faces_in",
    "mosaic_frames",
    "open_gallery",
    "open_sink",
    "open_source",
    "output_info",
    "refresh_gallery",
    "remove_photos",
    "render",
]

# Imported at their first use: `livemosaic --help` must not wait for NumPy and Numba.
_LAZY = {
    "AddedPhoto": ".gallery.live",
    "Area": ".mosaic.area",
    "Colour": ".media.colour",
    "Control": ".control.state",
    "Frame": ".media.frame",
    "Gallery": ".gallery.gallery",
    "LiveGallery": ".gallery.live",
    "LiveState": ".control.state",
    "Matcher": ".mosaic.match.base",
    "Mosaic": ".mosaic.mosaic",
    "MosaicSettings": ".mosaic.settings",
    "Pipeline": ".pipeline",
    "Sink": ".sinks",
    "Source": ".sources",
    "Spotlight": ".mosaic.spotlight",
    "StreamInfo": ".media.frame",
    "build_gallery": ".gallery",
    "diagnose_gallery": ".diagnosis",
    "faces_in": ".vision.faces",
    "mosaic_frames": ".api",
    "open_gallery": ".gallery",
    "open_sink": ".sinks",
    "open_source": ".sources",
    "output_info": ".pipeline",
    "refresh_gallery": ".gallery",
    "remove_photos": ".gallery",
    "render": ".api",
}

if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
