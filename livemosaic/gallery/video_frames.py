"""Frames of videos as photos of a gallery.

A frame has a name as a photo has its path: that of its video, and its time, such as
`clip.mp4#t=12.480`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import LivemosaicError, OptionError
from ..media.frame import Frame
from ..media.image_reader import BadImage, read_image_file
from ..media.silence import silent
from ..processors import usable_cores
from .sources import NO_STAMP, Stamp

if TYPE_CHECKING:
    from ..sources import Source

_NAME = re.compile(r"(?s)(.+)#t=(\d+\.\d+)")


def video_of(name: str) -> str | None:
    """The path of the video that a frame is of; None if it is the path of a photo."""
    match = _NAME.fullmatch(name)
    return match[1] if match and not os.path.lexists(name) else None


def photo_exists(name: str) -> bool:
    """Whether the file of a photo, or the video of a frame, is there."""
    return os.path.exists(video_of(name) or name)


def photo_stamp(name: str) -> Stamp:
    """The size and time of a photo's file, or of the video of a frame; zeros without a file."""
    if not os.path.isabs(name):  # of a built-in gallery, or of none
        return NO_STAMP
    try:
        status = os.stat(video_of(name) or name)
    except (OSError, ValueError):
        return NO_STAMP
    return status.st_size, status.st_mtime_ns


def read_photo_file(name: str) -> bytes:
    """The bytes of a photo as an image file, be it a frame; `BadImage` if it cannot be read."""
    if video_of(name) is None:
        return read_image_file(name)
    with silent():
        return _read_frame(name)


def frames_of(videos: Iterable[str], count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The names of `count` frames of each video, or of as many as it has, spread evenly; and
    (path, reason) of videos that cannot be read."""
    names: list[str] = []
    unreadable: list[tuple[str, str]] = []

    def look(video: str) -> None:
        try:
            with silent():
                names.extend(_frame_names(video, count))
        except BadImage as reason:
            unreadable.append((video, str(reason)))

    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(look, videos))
    return names, unreadable


def _frame_names(video: str, count: int) -> list[str]:
    with _open(video) as source:
        info = source.info
    if info.frames is not None:
        count = min(count, info.frames)
    duration_s = info.duration_s or 0.0
    # Each in the middle of its part. The first frame from there on is taken: half a frame, and the
    # rest of a millisecond, earlier there is one also at the end.
    half_s = 0.5 / float(info.rate)
    times = [max(0, (number + 0.5) * duration_s / count - half_s) for number in range(count)]
    return [f"{video}#t={math.floor(time * 1000) / 1000:.3f}" for time in times]


def _read_frame(name: str) -> bytes:
    from ..sources.part import PartSource

    match = _NAME.fullmatch(name)
    assert match is not None
    video, time_s = match[1], float(match[2])
    with _open(video) as whole, PartSource(whole, start_s=time_s) as source:
        frame = next((item for item in source if isinstance(item, Frame)), None)
        aspect = source.info.sample_aspect_ratio
    assert frame is not None  # or there is no such part
    picture = frame.to_bgr()
    if aspect != 1:
        size = max(1, round(frame.width * aspect)), frame.height
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Not compressed: it is only on its way to the reader of all photos.
    return bytes(cv2.imencode(".bmp", picture)[1])


@contextlib.contextmanager
def _open(video: str) -> Iterator[Source]:
    """Open a video file; errors become `BadImage`."""
    from ..sources import open_source

    # Names in a gallery of a stranger must not open addresses or cameras.
    if not os.path.isfile(video):
        raise BadImage("No such file or directory")
    try:
        with open_source(os.path.abspath(video), threads=1) as source:
            yield source
    except OptionError:
        raise BadImage("the video ends before this frame") from None
    except LivemosaicError as error:
        raise BadImage(str(error).removeprefix(f"{video}: ")) from None
