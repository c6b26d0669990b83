"""Where frames go. Importing this package is cheap; a sink is imported when asked for."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .base import Sink, Window

if TYPE_CHECKING:
    from ..media.frame import StreamInfo
    from .destination import check_target
    from .formats import FileOptions

__all__ = ["FileOptions", "Sink", "Window", "check_target", "open_sink"]


def open_sink(
    target: str,
    info: StreamInfo,
    *,
    options: FileOptions | None = None,
    rate: Fraction | None = None,
) -> Sink:
    """Open what `target` names.

    Parameters
    ----------
    target : a path, an address, `-` for standard output, a virtual camera (`vcam`,
        `vcam:/dev/video10`), or `null`
    info : what will be written
    options : of a file
    rate : frames/s of a virtual camera, 30 by default

    Raises
    ------
    SinkError
        when it cannot be created
    UsageError
        when `target` and `options` make no sense; see `check_target`
    """
    if target == "null":
        from .null import NullSink

        return NullSink()
    from .virtual_camera_devices import is_virtual_camera

    if is_virtual_camera(target):
        from .virtual_camera import VirtualCameraSink

        return VirtualCameraSink(target, rate=rate, pixel_aspect=info.sample_aspect_ratio)
    from .destination import resolve
    from .formats import FileOptions

    options = options or FileOptions()
    found = resolve(target, options=options)
    if found.format is None:
        from .image import ImageSink

        return ImageSink(found, info)
    from .file import FileSink

    return FileSink(found, info, options=options)


def __getattr__(name: str) -> Any:
    # PyAV is heavy: what needs it is imported at first use.
    if name == "FileOptions":
        from .formats import FileOptions

        return FileOptions
    if name == "check_target":
        from .destination import check_target

        return check_target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
