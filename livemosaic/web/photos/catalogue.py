"""All photos that join while it runs: those of guests and of watched folders."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2

from ...control.state import Control, Snap
from ...media.image_reader import BadImage, ImageReader, read_image_file
from ...pipeline.photo_booth import is_snap
from .decoder import PhotoDecoder
from .guest_folder import ID, GuestFolder, GuestPhoto, State
from .limits import Refused

if TYPE_CHECKING:
    from ...gallery.live import LiveGallery

PICTURE_SIDE = 320  # of a small picture
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a guest or of a watched folder, or one of those in front of the camera.

    Attributes
    ----------
    path : of its file, or the name that its gallery gives it; a rejected one has none
    guest : whether a guest sent it; the host may remove it then
    snap : whether this program took it; the host may remove it then
    jpeg : of one without a file
    added_s : when it came, in seconds since 1970; of a watched folder, the time of its file
    """

    id: str
    name: str
    state: State
    added_s: float
    path: str
    guest: bool = False
    snap: bool = False
    jpeg: bytes = field(default=b"", repr=False)


class Catalogue:
    """The photos of a run.

    Parameters
    ----------
    live : the gallery that they join; None if there is none
    folders : that are watched, absolute
    guests : the folder of guests' photos, see `open_folder`; None if there are no guests
    auto_approve : whether guests' photos join without approval

    Attributes
    ----------
    snaps : see `Control.snaps`; the page sets it
    """

    snaps: Callable[[], list[Snap]] = staticmethod(list)

    def __init__(
        self,
        live: LiveGallery | None = None,
        folders: Sequence[str] = (),
        guests: Path | None = None,
        *,
        auto_approve: bool = False,
    ) -> None:
        self._live = live
        self._folders = folders
        self.decoder = PhotoDecoder()
        # One after the other, in the order in which they came.
        self._adding = ThreadPoolExecutor(1, "livemosaic guests")
        self.guests: GuestFolder | None = None
        if guests is not None:
            self.guests = GuestFolder(guests, self.decoder.decode, auto_approve=auto_approve)

    def start(self) -> None:
        """Prepare for what guests send."""
        if self.guests is not None:
            self.decoder.start()

    def close(self) -> None:
        """End what is under way. May be called twice, from any thread."""
        self.decoder.close()
        self._adding.shutdown(wait=False, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """How many photos wait for the host."""
        return 0 if self.guests is None else self.guests.waiting

    @property
    def changes(self) -> int:
        """A number that grows with each change of a guest's photo."""
        return 0 if self.guests is None else self.guests.changes

    async def add(self, file: BinaryIO) -> tuple[GuestPhoto, bool]:
        """As `GuestFolder.add`, which closes the file, also if the guest has gone meanwhile."""
        assert self.guests is not None
        try:
            adding = self._adding.submit(self.guests.add, file)
        except RuntimeError:  # it is closed
            raise Refused("the run ends") from None
        adding.add_done_callback(lambda _: file.close())
        return await asyncio.shield(asyncio.wrap_future(adding))

    def photos(self) -> list[Photo]:
        """All photos, the newest first."""
        guests = [] if self.guests is None else self.guests.photos()
        found = [self._of_guest(photo) for photo in guests]
        own = {photo.path for photo in found}
        if self._live is not None:
            joined_s = {it.path: it.added_s for it in self._live.added_photos()}
            for path, (_, time_ns) in self._live.stamps_in(self._folders).items():
                if path not in own:
                    added_s = joined_s.get(path, time_ns / 1e9)  # it began with the others
                    name = os.path.basename(path)
                    # One of the same name deeper in a folder is the user's own.
                    snap = is_snap(name) and os.path.dirname(path) in self._folders
                    found.append(Photo(_id_of(path), name, "approved", added_s, path, snap=snap))
        found += [self._of_snap(it) for it in self.snaps()]
        return sorted(found, key=lambda photo: photo.added_s, reverse=True)

    def find(self, id: str) -> Photo | None:
        """A photo by its id."""
        guest = None if self.guests is None else self.guests.find(id)
        if guest is not None:
            return self._of_guest(guest)
        if ID.fullmatch(id):  # a guest may guess
            return None
        return next((photo for photo in self.photos() if photo.id == id), None)

    def picture(self, photo: Photo) -> bytes:
        """A small JPEG of a photo; `BadImage` if it cannot be read."""
        if photo.jpeg:
            return photo.jpeg
        if photo.guest:
            # It was written by this program: to decode it here takes 10 ms, and no turn.
            pixels = ImageReader(read_image_file(photo.path)).read(at_least=PICTURE_SIDE)
            scale = min(1.0, PICTURE_SIDE / max(pixels.shape))
            small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        try:
            with open(photo.path, "rb") as file:
                return self.decoder.decode(file, side=PICTURE_SIDE).jpeg
        except OSError as error:
            raise BadImage(error.strerror or "it has gone") from None

    def remove_snap(self, photo: Photo, control: Control) -> None:
        """Delete a photo that this program took; `OSError`, `GalleryError`."""
        control.remove_photo(photo.id if photo.jpeg else photo.path)
        if not photo.jpeg:  # afterwards: the gallery may refuse
            with suppress(FileNotFoundError):
                os.unlink(photo.path)

    def _of_guest(self, photo: GuestPhoto) -> Photo:
        assert self.guests is not None
        path = "" if photo.state == "rejected" else str(self.guests.path(photo))
        return Photo(photo.id, photo.name, photo.state, photo.added_s, path, guest=True)

    def _of_snap(self, snap: Snap) -> Photo:
        return Photo(snap.id, "", "approved", snap.added_s, snap.path, snap=True, jpeg=snap.jpeg)


def _id_of(path: str) -> str:
    """The id of a photo of a watched folder, the same in each run."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
