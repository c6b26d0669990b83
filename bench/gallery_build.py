"""Building a gallery against the reference's way of reading photos, side by side.

The reference (vishnu-chand/videoMosaic) reads each photo whole, resizes it with Pillow's
anti-aliasing (Lanczos), takes its histogram and writes it as PNG, one photo after another. Both
sides read the same JPEGs of 178x218; rounds alternate, so that a change of the machine's load meets
both.

    python bench/gallery_build.py --photos FOLDER_OF_JPEGS [--count 20000] [--tile 32] [--repeat 3]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from livemosaic.gallery import build_gallery
from livemosaic.gallery.clusters import CLUSTERS

WIDTH, HEIGHT = 178, 218  # of CelebA's aligned photos, which the notebook used
QUALITY = 85  # gives 7 KB a photo, as CelebA has (1.44 GB for 202,599)


def make_photos(source: Path, folder: Path, count: int, seed: int) -> None:
    """Write `count` different JPEGs: random crops of real photos, enlarged, with some noise."""
    originals = [cv2.imread(str(path)) for path in sorted(source.glob("*.jpg"))]
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 2, (HEIGHT * 2, WIDTH * 2, 3)).astype(np.int8)
    for i in range(count):
        photo = originals[i % len(originals)]
        h, w = photo.shape[:2]
        side = int(rng.integers(min(h, w) // 2, min(h, w) + 1))
        y, x = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
        large = cv2.resize(
            photo[y : y + side, x : x + side], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
        )
        y, x = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
        large = cv2.add(large, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        _, data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        path.write_bytes(data.tobytes())


def reference(photos: list[Path], out: Path, tile: int) -> float:
    """Seconds that the reference's loop takes."""
    began = time.perf_counter()
    features = []
    for i, path in enumerate(photos):
        photo = cv2.imread(str(path))
        small = np.array(Image.fromarray(photo).resize((tile, tile), Image.Resampling.LANCZOS))
        counts = cv2.calcHist([small], [0, 1, 2], None, [5, 5, 5], [0, 256] * 3)
        features.append(counts.ravel() / small.size)
        cv2.imwrite(str(out / f"{i}.png"), small)
    return time.perf_counter() - began


def livemosaic(folder: Path, out: Path, tile: int, *, clusters: bool) -> float:
    """Seconds that a build takes; without clusters: all but MiniBatchKMeans."""
    began = time.perf_counter()
    build_gallery([folder], out, tile_px=tile, crops=0, clusters=CLUSTERS if clusters else 1)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="JPEGs to make the set from")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--tile", type=int, default=32, help="pixels; the reference's is 32")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {load}Python {platform.python_version()}")
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}")
    print(f"{args.count} JPEGs of {WIDTH}x{HEIGHT}, tiles of {args.tile} px")
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "photos"), Path(name, "out")
        folder.mkdir()
        out.mkdir()
        make_photos(args.photos, folder, args.count, args.seed)
        photos = sorted(folder.rglob("*.jpg"))
        target = out / "bench.gallery"
        # Kernels are compiled and scikit-learn is imported before anything is timed.
        small = folder / "000"
        livemosaic(small, target, args.tile, clusters=True)
        ways = ("reference", "without clusters", "with clusters")
        rounds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.repeat):
            rounds["reference"].append(reference(photos, out, args.tile))
            rounds["without clusters"].append(livemosaic(folder, target, args.tile, clusters=False))
            rounds["with clusters"].append(livemosaic(folder, target, args.tile, clusters=True))
    rates = {way: args.count / statistics.median(times) for way, times in rounds.items()}
    for way, rate in rates.items():
        each = " ".join(f"{seconds:.2f}" for seconds in rounds[way])
        ratio = rate / rates["reference"]
        print(f"{way:18s} {rate:8.0f} photos/s   {ratio:5.1f} x   (s: {each})")


if __name__ == "__main__":
    sys.exit(main())
