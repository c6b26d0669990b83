"""The clips: real ones, one with mere camera noise, flat ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from livemosaic.media.ffmpeg import av

from .metrics import POINTS, Bools, points, still_cells

__all__ = ["Clip", "flat", "noisy", "read_lossless", "real", "write_lossless"]

U8 = NDArray[np.uint8]

CELL_PX = 32  # 40x23 cells cover 1280x720; the last row is cut in half
SIZE = (1280, 720)
NOISE_SIGMA = 4.0  # of a webcam in a room at night, in levels


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures of one size, and the grid of cells over them.

    Attributes
    ----------
    name : for people
    frames : uint8 (height, width, 3) BGR, each
    """

    name: str
    frames: Sequence[U8]

    @property
    def height(self) -> int:
        return int(self.frames[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.frames[0].shape[1])

    @property
    def rows(self) -> int:
        return -(-self.height // CELL_PX)

    @property
    def columns(self) -> int:
        return -(-self.width // CELL_PX)

    @property
    def key(self) -> str:
        """A digest of the pictures."""
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(np.ascontiguousarray(frame).data)
        return digest.hexdigest()[:12]

    def whole_cells(self) -> Iterator[U8]:
        """The frames, with their last row and column repeated until all cells are whole.

        For programs that only take whole cells, and would scale or crop other pictures.
        """
        below = self.rows * CELL_PX - self.height
        beside = self.columns * CELL_PX - self.width
        for frame in self.frames:
            padded = cv2.copyMakeBorder(frame, 0, below, 0, beside, cv2.BORDER_REPLICATE)
            yield np.asarray(padded, np.uint8)

    def still(self) -> Bools:
        """Which cells are in still regions, bool (frames, rows, columns)."""
        size = (self.columns * POINTS, self.rows * POINTS)
        return still_cells(np.stack([points(frame, *size) for frame in self.whole_cells()]))


def real(name: str, path: Path, *, first: int, frames: int) -> Clip:
    """Frames of a video file: the largest 16:9 region in the middle, scaled to 1280x720 (cubic)."""
    capture = cv2.VideoCapture(str(path))
    pictures: list[U8] = []
    for number in range(first + frames):
        good, picture = capture.read()
        if not good:
            raise SystemExit(f"{path}: has only {number} frames, not {first + frames}")
        if number >= first:
            pictures.append(_wide(np.asarray(picture, np.uint8)))
    capture.release()
    return Clip(name, pictures)


def _wide(picture: U8) -> U8:
    height, width = picture.shape[:2]
    h, w = min(height, width * 9 // 16), min(width, height * 16 // 9)
    top, left = (height - h) // 2, (width - w) // 2
    region = np.ascontiguousarray(picture[top : top + h, left : left + w], np.uint8)
    if (w, h) == SIZE:
        return region
    return np.asarray(cv2.resize(region, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(
    name: str, picture: U8, *, frames: int, sigma: float = NOISE_SIGMA, seed: int = 0
) -> Clip:
    """One picture again and again, with other noise each time."""
    rng = np.random.default_rng(seed)

    def shot() -> U8:
        noise = rng.normal(0.0, sigma, picture.shape).astype(np.float32)
        return np.asarray(np.clip(np.rint(picture + noise), 0, 255), np.uint8)

    return Clip(name, [shot() for _ in range(frames)])


def flat(name: str, bgr: tuple[int, int, int], *, side: int = 10, frames: int = 2) -> Clip:
    """side x side cells of one colour."""
    picture = np.full((side * CELL_PX, side * CELL_PX, 3), bgr, np.uint8)
    return Clip(name, [picture] * frames)


def write_lossless(path: Path, frames: Iterator[U8], *, fps: int = 25) -> None:
    """Write FFV1 in Matroska, which keeps every bit."""
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("ffv1", Fraction(fps))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "bgr0"
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="bgr0")
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())


def read_lossless(path: Path) -> Iterator[U8]:
    """The frames of such a file."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
