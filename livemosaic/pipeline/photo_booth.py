"""Photos of those in front of the camera, which join the gallery while the picture goes on."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..control.state import Control, Snap
from ..errors import UsageError, words_of
from ..jit import U8
from ..media.atomic_write import atomic_write, free_path
from ..media.frame import Frame
from ..tile_size import TileSize, shape
from ..vision.faces import Face, faces_in
from .faces import small_picture
from .live_gallery import GalleryFollower

if TYPE_CHECKING:
    from ..gallery.live import LiveGallery

_QUALITY = 95  # of JPEG
_NAME = "snap-%Y%m%d-%H%M%S.jpg"
_NAMES = re.compile(r"snap-\d{8}-\d{6}(-\d+)?\.jpg")  # the same, and a number for a free name


def is_snap(path: str) -> bool:
    """Whether a file has the name of a photo that the booth took."""
    return _NAMES.fullmatch(os.path.basename(path)) is not None


class PhotoBooth:
    """Takes a photo when asked, one at a time.

    Parameters
    ----------
    control : of the run; gets the messages
    follower : has the gallery that photos join
    spawn : starts a thread, as spawn(name, work, give_up)
    folder : gets each photo as a file, so that the next start has it; None: photos last as long as
        the run
    aspect : width by height of a frame's pixels
    """

    def __init__(
        self,
        control: Control,
        follower: GalleryFollower,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
        *,
        folder: str | None = None,
        aspect: Fraction = Fraction(1),
    ) -> None:
        self._control, self._follower, self._spawn = control, follower, spawn
        self._folder, self._aspect = folder, aspect
        self._is_free = deque([True], maxlen=1)  # empty while a photo is taken
        self._without_file: dict[str, tuple[Snap, LiveGallery]] = {}

    def snaps(self) -> list[Snap]:
        """See `Control.snaps`. Safe from any thread."""
        return [snap for snap, _ in list(self._without_file.values())]

    def remove(self, photo: str) -> None:
        """See `Control.remove_photo`. Safe from any thread."""
        found = self._without_file.get(photo)
        if found is None:
            self._follower.leave(photo)
        else:
            snap, live = found
            live.remove([snap.path])  # it stays in the list if the gallery must keep it
            self._without_file.pop(photo, None)

    def take(self, frame: Frame | None, tile: TileSize, *, status: str = "") -> None:
        """Take a photo of a frame, in the shape of the tiles, on a thread of its own.

        Parameters
        ----------
        frame : the newest one of the source; None before the first
        status : of the source while it has no picture

        Raises
        ------
        UsageError : there is no picture, or it is not to be seen
        """
        if self._control.state.freeze:
            raise UsageError("snap: the picture is frozen; let it move first")
        self._refuse_if_hidden()
        if frame is None or status:
            reason = f" ({status})" if status else ""
            raise UsageError(f"snap: there is no picture{reason}; try again when there is one")
        try:
            self._is_free.pop()
        except IndexError:
            raise UsageError("snap: a photo is being taken; try again in a moment") from None
        is_mirrored = self._control.state.mirror

        def end() -> None:
            self._is_free.append(True)

        def work() -> None:
            self._take(frame, tile, is_mirrored=is_mirrored)
            end()

        self._spawn("snap", work, end)

    def _refuse_if_hidden(self) -> None:
        if self._control.state.privacy:
            raise UsageError("snap: privacy mode hides the picture; turn it off first")

    def _take(self, frame: Frame, tile: TileSize, *, is_mirrored: bool) -> None:
        from ..gallery.portrait import portrait

        faces = self._faces(frame)
        across, down = shape(tile)
        wanted = across * self._aspect.denominator, down * self._aspect.numerator
        picture = _part(frame, portrait(faces, (frame.width, frame.height), wanted))
        picture = self._seen(picture)
        if is_mirrored:
            picture = np.asarray(cv2.flip(picture, 1), np.uint8)
        self._refuse_if_hidden()  # it may have been turned on meanwhile
        what = "your photo" if faces else "no face was found; the middle of the picture"
        if self._folder is None:
            self._join(picture)
            self._control.inform(f"{what} joins")
            return
        try:
            path = _write(picture, self._folder)
        except OSError as error:
            self._join(picture)
            problem = f"{self._folder}: your photo cannot be written: {words_of(error)}"
            self._control.warn(f"{problem}; it joins for this run only")
            return
        self._follower.join(lambda live: live.add_file(path, picture))
        self._control.inform(f"{what} joins: {os.path.basename(path)}")

    def _join(self, picture: U8) -> None:
        """Let a photo join without a file."""

        def add(live: LiveGallery) -> None:
            live.add([picture])
            # A photo that is no file is called by its number, which goes up with each.
            paths = [it.path for it in live.added_photos() if not os.path.isabs(it.path)]
            snap = Snap(secrets.token_hex(12), paths[-1], time.time(), _jpeg(picture))
            self._without_file[snap.id] = snap, live

        self._follower.join(add)

    def _seen(self, picture: U8) -> U8:
        """A picture with square pixels."""
        if self._aspect == 1:
            return picture
        size = max(1, round(picture.shape[1] * self._aspect)), picture.shape[0]
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _faces(self, frame: Frame) -> list[Face]:
        small = self._seen(small_picture(frame))
        across, down = frame.width / small.shape[1], frame.height / small.shape[0]
        return [face.scaled(across, down) for face in faces_in(small)]


def _part(frame: Frame, crop: tuple[int, int, int, int]) -> U8:
    """A part of a frame that begins at an even column and row, uint8 (h, w, 3) BGR."""
    left, top, width, height = crop
    whole = slice(top, top + height), slice(left, left + width)
    half = slice(top // 2, (top + height + 1) // 2), slice(left // 2, (left + width + 1) // 2)
    alpha = None if frame.alpha is None else frame.alpha[whole]
    part = Frame(frame.y[whole], frame.u[half], frame.v[half], frame.colour, alpha=alpha)
    return part.over_grey().to_bgr()


def _write(picture: U8, folder: str) -> str:
    """Write a photo as JPEG under a name of its own; return its path. `OSError`."""
    path = free_path(Path(folder, time.strftime(_NAME)))
    with atomic_write(path, beside=True) as file:
        file.write(_jpeg(picture))
    return str(path)


def _jpeg(picture: U8) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
