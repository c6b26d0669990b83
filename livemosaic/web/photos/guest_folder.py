"""The photos of guests in a folder: what waits, what the host has approved, what was rejected.

    FOLDER/ID.jpg            approved; the folder is watched, so it joins the gallery
    FOLDER/.guests/ID.jpg    waits for the host
    FOLDER/.guests/ID.known  recognises the photo when it comes again

Searches for photos pass over names that begin with a dot, so a photo that waits joins no gallery. A
file `known` without a photo is of one that was rejected, or that the host has deleted. The files
are all there is, so a new start finds everything as it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, cast, get_args

from ...errors import OptionError, words_of
from ...media.atomic_write import atomic_write, remove_remains
from ...media.image_reader import BadImage
from . import limits
from .decoder import CostlyImage, Decoded
from .fingerprint import LENGTHS, coarse, first_same
from .limits import Refused

State = Literal["waiting", "approved", "rejected"]
STATES: tuple[State, ...] = get_args(State)

ID = re.compile(
    r"[0-9]{8}-[0-9]{6}-[0-9a-f]{16}"
)  # date, time, and a random number, which cannot be guessed
_HIDDEN, _PHOTO, _KNOWN = ".guests", ".jpg", ".known"
_MAX_REJECTED = 1000  # that are recognised


@dataclass(frozen=True, slots=True)
class GuestPhoto:
    """A photo of a guest.

    Attributes
    ----------
    added_s : seconds since 1970
    size : of its file in bytes
    fingerprint : see `fingerprint`; empty if it has been lost
    """

    id: str
    state: State
    added_s: float
    size: int = 0
    fingerprint: bytes = b""

    @property
    def name(self) -> str:
        """The name of its file, which has nothing of the guest's."""
        return f"{self.id}{_PHOTO}"


def not_kept(error: OSError) -> Refused:
    """Why a photo cannot be written."""
    return Refused(f"it cannot be kept: {words_of(error)}; ask the host")


def open_folder(folder: str) -> Path:
    """The absolute path of the folder of guests' photos, which is made if there is none.

    Raises
    ------
    OptionError : it cannot be made, or is none
    """
    path = Path(os.path.abspath(os.path.expanduser(folder)))
    hidden = path / _HIDDEN
    try:
        path.mkdir(exist_ok=True)
        hidden.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        problem = "it is a file" if path.is_file() else f"it cannot be made: {words_of(error)}"
        raise OptionError("guests", folder, f"{problem}; name a folder for photos") from None
    if hidden.is_symlink() or not os.access(path, os.W_OK):
        problem = f"{_HIDDEN} in it is a link" if hidden.is_symlink() else "it cannot be written to"
        raise OptionError("guests", folder, f"{problem}; name another folder")
    return path


class GuestFolder:
    """Any thread may call it.

    Parameters
    ----------
    folder : see `open_folder`
    decode : makes a JPEG of what a guest sends; `BadImage`
    auto_approve : whether photos join without the host's approval

    Attributes
    ----------
    changes : of photos, since the start
    """

    def __init__(
        self,
        folder: Path,
        decode: Callable[[BinaryIO], Decoded],
        *,
        auto_approve: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self._hidden = folder, folder / _HIDDEN
        self._decode, self._auto_approve, self._clock = decode, auto_approve, clock
        self._lock = threading.Lock()
        self.changes = 0
        remove_remains(self._hidden)  # of a run that was killed
        self._photos: dict[str, GuestPhoto] = {}
        names = [*os.listdir(self._hidden), *os.listdir(self.folder)]
        stems = {Path(name).stem for name in names if name.endswith((_PHOTO, _KNOWN))}
        for id in sorted(stems):  # the oldest first
            if ID.fullmatch(id):
                self._photos[id] = self._read(id)
        self._forget_oldest()

    def _read(self, id: str) -> GuestPhoto:
        """A photo as its files tell of it."""
        fingerprint, known_s, known = b"", self._clock(), self._known_file(id)
        with contextlib.suppress(OSError):
            if known.is_file():  # a pipe would wait for its writer
                known_s = known.stat().st_mtime
                fingerprint = known.read_bytes() if known.stat().st_size in LENGTHS else b""
        states: tuple[State, ...] = ("waiting", "approved")
        for state in states:
            photo = GuestPhoto(id, state, 0.0, fingerprint=fingerprint)
            with contextlib.suppress(OSError):
                status = self.path(photo).stat()
                return replace(photo, added_s=status.st_mtime, size=status.st_size)
        return self._rejected(GuestPhoto(id, "rejected", known_s, fingerprint=fingerprint))

    def path(self, photo: GuestPhoto) -> Path:
        """Where the file of a photo is, unless it was rejected."""
        return (self._hidden if photo.state == "waiting" else self.folder) / photo.name

    @property
    def waiting(self) -> int:
        """How many photos wait for the host; answers at once, also while the disk is slow."""
        return sum(photo.state == "waiting" for photo in list(self._photos.values()))

    def photos(self) -> list[GuestPhoto]:
        """All photos, the oldest first; one whose file the host has deleted is rejected."""
        with self._lock:
            return [self._checked(photo) for photo in list(self._photos.values())]

    def find(self, id: str) -> GuestPhoto | None:
        """A photo by its id."""
        with self._lock:
            photo = self._photos.get(id)
            return None if photo is None else self._checked(photo)

    def _checked(self, photo: GuestPhoto) -> GuestPhoto:
        """A photo as it is: approved if its file was moved, rejected if its file has gone."""
        approved = replace(photo, state="approved")
        if photo.state == "rejected" or os.path.exists(self.path(photo)):
            return photo
        if os.path.exists(self.path(approved)):  # by the host, or by another run
            return self._put(approved)
        # A disk that is away may come back, with all photos.
        return self._rejected(photo) if os.path.isdir(self._hidden) else photo

    def _rejected(self, photo: GuestPhoto) -> GuestPhoto:
        known = coarse(photo.fingerprint)
        if known != photo.fingerprint:
            with contextlib.suppress(OSError), atomic_write(self._known_file(photo.id)) as out:
                out.write(known)
        rejected = replace(photo, state="rejected", size=0, fingerprint=known)
        return self._put(rejected)

    def _put(self, photo: GuestPhoto) -> GuestPhoto:
        self._photos[photo.id] = photo
        self.changes += 1
        return photo

    def _known_file(self, id: str) -> Path:
        return self._hidden / f"{id}{_KNOWN}"

    # ---- what guests send ----------------------------------------------------------------

    def check_room(self) -> None:
        """`Refused` if there is no room for another photo."""
        with self._lock:
            kept = [it for it in self._photos.values() if it.state != "rejected"]
        if len(kept) >= limits.MAX_PHOTOS or sum(it.size for it in kept) >= limits.MAX_FOLDER:
            raise Refused("there are as many photos as the folder may have; ask the host")
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise not_kept(error) from None
        if free < limits.KEEP_FREE:
            raise Refused("the disk is nearly full; ask the host")

    def new_file(self) -> BinaryIO:
        """A file without a name for what comes: it is gone when it is closed, whatever happens."""
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._hidden))

    def add(self, file: BinaryIO) -> tuple[GuestPhoto, bool]:
        """Take a photo that has come, or find that it is known already.

        Called on one thread, so that of two equal photos one is the first.

        Returns
        -------
        the photo, and whether it was known

        Raises
        ------
        Refused : it cannot be read or kept
        """
        try:
            jpeg, fingerprint = self._decode(file)
        except BadImage as error:
            raise Refused(str(error), was_costly=isinstance(error, CostlyImage)) from None
        photos = [photo for photo in self.photos() if photo.fingerprint]
        place = first_same(fingerprint, [photo.fingerprint for photo in photos])
        if place is not None:
            return photos[place], True
        self.check_room()
        now_s = self._clock()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_s))
        id = f"{stamp}-{secrets.token_hex(8)}"
        photo = GuestPhoto(id, "waiting", now_s, len(jpeg), fingerprint)
        try:
            with atomic_write(self.path(photo)) as out:
                out.write(jpeg)
        except OSError as error:
            raise not_kept(error) from None
        # Afterwards: without the photo it would be of one that was rejected.
        with contextlib.suppress(OSError), atomic_write(self._known_file(id)) as out:
            out.write(fingerprint)
        with self._lock:
            self._put(photo)
        if self._auto_approve:
            with contextlib.suppress(OSError):  # then it waits
                photo = self.approve(id) or photo
        return photo, False

    # ---- what the host decides -----------------------------------------------------------

    def approve(self, id: str) -> GuestPhoto | None:
        """Let a photo that waits join the gallery; others stay as they are. None if there is none.

        `OSError` if it cannot be moved.
        """
        with self._lock:
            photo = self._photos.get(id)
            if photo is not None and photo.state == "waiting":
                approved = replace(photo, state="approved")
                os.replace(self.path(photo), self.path(approved))
                photo = self._put(approved)
            return photo

    def approve_all(self) -> int:
        """Let all photos that wait join, the oldest first; return how many there were."""
        waiting = [photo.id for photo in self.photos() if photo.state == "waiting"]
        for id in waiting:
            self.approve(id)
        return len(waiting)

    def reject(self, id: str) -> GuestPhoto | None:
        """Delete a photo, also one that was approved. None if there is none; `OSError`."""
        with self._lock:
            photo = self._photos.get(id)
            if photo is not None and photo.state != "rejected":
                self.path(photo).unlink(missing_ok=True)
                photo = self._rejected(photo)
                self._forget_oldest()
            return photo

    def _forget_oldest(self) -> None:
        rejected = [it.id for it in self._photos.values() if it.state == "rejected"]
        for id in rejected[:-_MAX_REJECTED]:
            del self._photos[id]
            with contextlib.suppress(OSError):
                self._known_file(id).unlink()
