"""The faces in each frame, for finer cells."""

from __future__ import annotations

import cv2
import numpy as np

from ..control.state import LiveState
from ..jit import U8
from ..media.colour import ycbcr_to_bgr
from ..media.frame import Frame
from ..media.scale import scaled
from ..vision.faces import Face, FaceFinder, Window, overlap, windows
from ..vision.person import coarse
from .governor import STEPS, Step
from .looks import Looks, Spawn

# The shorter side of the picture that is looked at: of its parts, the model sees every pixel.
_SHORTER_SIDE = 256

# A face whose share of the picture's longer side is smaller is missed where the whole picture is
# looked at. Around it, a square so many times as large is looked at; at most so many each time.
_SMALL, _AROUND, _MOST_SMALL = 0.25, 4, 4
# A face that is not found again stays for so many seconds, or cells would join and split again when
# it looks aside for a moment.
_STAYS_S = 1.2

# A box stays as it is while no edge has moved by more than this share of its width: it trembles by
# less, and cells would split and join.
_STEADY = 0.12


_Picture = tuple[U8, float]  # with few pixels, BGR; and its time in seconds


class FaceFollower:
    """Looks for the faces in pictures of a stream, and keeps their boxes steady.

    Each time it looks at the whole picture, around the small faces that it knows, and at one of the
    picture's parts in turn, where other small faces may be. In another scene, at all parts.
    """

    def __init__(self) -> None:
        self._find = FaceFinder()
        self._faces: tuple[tuple[Face, float], ...] = ()  # with the time when each was found
        self._result: tuple[Face, ...] = ()
        self._looks = 0

    def __call__(self, picture: _Picture, is_new: bool) -> tuple[Face, ...]:
        """The faces as shares of the picture's width and height; the same object if they stay."""
        bgr, now_s = picture
        height, width = bgr.shape[:2]
        looked_at = windows(width, height)
        if is_new:
            self._faces = ()
        elif len(looked_at) > 1:
            whole, *parts = looked_at
            looked_at = [whole, parts[self._looks % len(parts)], *self._around(width, height)]
        self._looks += 1
        faces: list[tuple[Face, float]] = []
        for face in self._find(bgr, looked_at):
            faces.append((self._steady(face.scaled(1 / width, 1 / height)), now_s))
        for face, found_s in self._faces:
            stays = 0 <= now_s - found_s < _STAYS_S
            if stays and not any(overlap(face, other) > 0 for other, _ in faces):
                faces.append((face, found_s))
        self._faces = tuple(faces)
        result = tuple(face for face, _ in faces)
        if result != self._result:
            self._result = result
        return self._result

    def _around(self, width: int, height: int) -> list[Window]:
        """Windows around the small faces, those first that have been found the longest ago."""
        found: list[Window] = []
        for face, _ in sorted(self._faces, key=lambda it: it[1]):
            across, down = face.width * width, face.height * height
            if across < _SMALL * max(width, height):
                side = min(round(_AROUND * max(across, down)), width, height)
                left = round(face.left * width + (across - side) / 2)
                top = round(face.top * height + (down - side) / 2)
                left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
                found.append((left, top, side, side))
        return found[:_MOST_SMALL]

    def _steady(self, face: Face) -> Face:
        """The box from before, if the face is nearly there."""
        for before, _ in self._faces:
            width, height = before.width, before.height
            ends = face.left + face.width - before.left - width
            bottom = face.top + face.height - before.top - height
            across = max(abs(face.left - before.left), abs(ends)) / width
            down = max(abs(face.top - before.top), abs(bottom)) / height
            if max(across, down) < _STEADY:
                return before
        return face


class FacesFinder:
    """Finds the faces in each frame of a stream; see `Looks` for when."""

    def __init__(self, spawn: Spawn | None) -> None:
        self._is_live = spawn is not None
        self.looks: Looks[_Picture, tuple[Face, ...]] = Looks(spawn, "faces", FaceFollower)
        self.look_less_often(STEPS[0])

    def look_less_often(self, step: Step) -> None:
        """Look as often as a governor's step allows: half as often as for the person, whose mask
        needs to be nearer."""
        self.looks.looks_per_s = max(1, step.looks_per_s // 2)

    def faces_in(self, frame: Frame, state: LiveState) -> list[Face]:
        """The faces in pixels of a frame; none in privacy mode, or where they are not needed."""
        if state.settings.fine != "faces" or state.privacy:
            self.looks.forget()
            return []
        # As the picture came, so that faces from before `mirror` are right after it.
        y = np.ascontiguousarray(frame.y[::4, :: -4 if state.mirror else 4])
        time_s = frame.captured_s if self._is_live else frame.time_s
        found = self.looks.take(
            frame, coarse(y), lambda: (small_picture(frame, mirror=state.mirror), time_s)
        )
        faces = [face.scaled(frame.width, frame.height) for face in found or ()]
        if state.mirror:
            faces = [face._replace(left=frame.width - face.left - face.width) for face in faces]
        return faces


def small_picture(frame: Frame, *, mirror: bool = False) -> U8:
    """A frame with as few pixels as faces need, uint8 (h, w, 3) BGR."""
    scale = min(1.0, _SHORTER_SIDE / min(frame.width, frame.height))
    size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    planes = [scaled(plane, *size) for plane in (frame.y, frame.u, frame.v)]
    bgr = ycbcr_to_bgr(np.asarray(cv2.merge(planes), np.uint8), frame.colour)
    return np.asarray(cv2.flip(bgr, 1), np.uint8) if mirror else bgr
