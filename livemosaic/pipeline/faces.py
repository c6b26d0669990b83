"""The faces in each frame, for finer cells."""

from __future__ import annotations

import cv2
import numpy as np

from ..control.state import LiveState
from ..jit import U8
from ..media.colour import ycbcr_to_bgr
from ..media.frame import Frame
from ..vision.faces import Face, FaceFinder, overlap
from ..vision.person import coarse
from .governor import STEPS, Step
from .looks import Looks, Spawn

# The shorter side of the picture that is looked at: of its parts, the model sees every pixel.
_SHORTER_SIDE = 256

# In each look small faces are missed, as only the whole picture is looked at; in each n-th also its
# parts, which takes ten times as long. A face that was not found again stays for so many looks.
_PARTS_EVERY, _STAYS = 5, 6

# A box stays as it is while no edge has moved by more than this share of its width: it trembles by
# less, and cells would split and join.
_STEADY = 0.12


class FaceFollower:
    """Looks for the faces in pictures of a stream, and keeps their boxes steady."""

    def __init__(self) -> None:
        self._find = FaceFinder()
        self._faces: tuple[tuple[Face, int], ...] = ()  # with the looks since each was found
        self._result: tuple[Face, ...] = ()
        self._looks = 0

    def __call__(self, bgr: U8, is_new: bool) -> tuple[Face, ...]:
        """The faces as shares of the picture's width and height; the same object if they stay."""
        if is_new:
            self._faces, self._looks = (), 0
        found = self._find(bgr, parts=self._looks % _PARTS_EVERY == 0)
        self._looks += 1
        height, width = bgr.shape[:2]
        faces: list[tuple[Face, int]] = []
        for left, top, across, down in found:
            face = Face(left / width, top / height, across / width, down / height)
            faces.append((self._steady(face), 0))
        for face, missed in self._faces:
            if missed < _STAYS and not any(overlap(face, other) > 0 for other, _ in faces):
                faces.append((face, missed + 1))
        self._faces = tuple(faces)
        result = tuple(face for face, _ in faces)
        if result != self._result:
            self._result = result
        return self._result

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
        self.looks: Looks[U8, tuple[Face, ...]] = Looks(spawn, "faces", FaceFollower)
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
        found = self.looks.take(frame, coarse(y), lambda: _small(frame, mirror=state.mirror))
        width, height = frame.width, frame.height
        faces = [
            Face(left * width, top * height, across * width, down * height)
            for left, top, across, down in found or ()
        ]
        if state.mirror:
            faces = [face._replace(left=width - face.left - face.width) for face in faces]
        return faces


def _small(frame: Frame, *, mirror: bool) -> U8:
    """A frame with few pixels, uint8 (h, w, 3) BGR."""
    scale = min(1.0, _SHORTER_SIDE / min(frame.width, frame.height))
    size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    planes = (
        cv2.resize(plane, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        for plane in (frame.y, frame.u, frame.v)
    )
    bgr = ycbcr_to_bgr(np.asarray(cv2.merge(list(planes)), np.uint8), frame.colour)
    return np.asarray(cv2.flip(bgr, 1), np.uint8) if mirror else bgr
