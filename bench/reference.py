"""The reference algorithm, plainly written: the baseline for speed, and the oracle of the tests.

The algorithm of the public notebook (vishnu-chand/videoMosaic) in NumPy, scikit-learn and OpenCV,
one frame at a time instead of 256 (which only adds latency and memory), with seeded randomness. It
only uses livemosaic's gallery file: with the same clusters and seed both choose the same tiles.

    python bench/reference.py IN.mp4 OUT.mp4 [--frames N] [--gallery photos] [--json]

It loops over cells where the notebook does, and uses PyAV's defaults. In three things it is faster:
it analyses the picture at the input's size and not four times enlarged, it keeps tiles in memory
and not on disk, and scikit-learn runs under `threadpool_limits(1)`, which takes three quarters of
the default's time for the match. `--threads 0` lets the encoder use all processors.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from livemosaic.gallery import open_gallery

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

BINS = 5
SCENE_CHANGE_SHARE = 0.5  # of all cells, active in one frame

# Not in the notebook, which re-seeds small clusters at random: histograms that are like no centre
# replace the least used ones. The same numbers as in livemosaic/mosaic/match/palette.py.
NOVEL_COSINE = 0.25
MAX_NOVEL = 8


class ReferenceMosaic:
    """The notebook's filter for one stream of BGR pictures.

    Parameters
    ----------
    gallery : from `livemosaic.gallery.open_gallery`
    seed : of all randomness
    threshold : activity threshold, levels of BGR distance
    overlay : alpha of the superimposed original
    palette : number of palette centres; the first frame must have as many cells
    scale : output size relative to the input
    tile : side of a tile in output pixels, a multiple of `scale`

    Attributes
    ----------
    tile_ids, flips : int64 and bool (rows, columns), the tiles in the cells, and which are mirrored
    active : bool (rows, columns), the cells matched in the last frame
    palette_s : seconds spent on the palette so far
    """

    def __init__(
        self,
        gallery: Any,
        *,
        seed: int = 0,
        threshold: float = 16,
        overlay: float = 0.5,
        palette: int = 150,
        scale: int = 4,
        tile: int = 32,
    ) -> None:
        if tile % scale:
            raise ValueError(f"tile {tile}: must be a multiple of the scale {scale}")
        self._rng = np.random.default_rng(seed)
        self._threshold, self._overlay, self._size = threshold, overlay, palette
        self._tile, self._cell = tile, tile // scale
        self._tiles = [_resized(t, tile) for t in gallery.tiles]
        self._mirror = bool(gallery.mirror)
        start, members = gallery.members_start, gallery.members
        kept = np.flatnonzero(gallery.kept)
        self._clusters = [members[start[c] : start[c + 1]].tolist() for c in kept]
        centres = np.asarray(gallery.centres[kept], np.float64)
        self._directions = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        self._turn = [0] * len(kept)
        self._kmeans: MiniBatchKMeans | None = None
        self._accepted: U8 | None = None
        self.palette_s = 0.0

    def process(self, bgr: U8) -> U8:
        """The mosaic of a uint8 (height, width, 3) BGR picture, a new array."""
        rows, columns = (-(-side // self._cell) for side in bgr.shape[:2])
        if bgr.shape[:2] != (rows * self._cell, columns * self._cell):
            size = (columns * self._cell, rows * self._cell)
            bgr = np.asarray(cv2.resize(bgr, size), np.uint8)
        if self._accepted is None:
            self._accepted = bgr.copy()
            self.active = np.ones((rows, columns), bool)
            self.tile_ids = np.full((rows, columns), -1)
            self.flips = np.zeros((rows, columns), bool)
            self._canvas = np.zeros((rows * self._tile, columns * self._tile, 3), np.uint8)
        else:
            self.active = self._activity(bgr, self._accepted)
        if self.active.any():
            began = time.perf_counter()
            histograms = self._histograms(bgr)
            with threadpool_limits(1):
                clusters = self._match(histograms)
            self.palette_s += time.perf_counter() - began
            self._paste(clusters)
        enlarged = cv2.resize(bgr, self._canvas.shape[1::-1])
        mixed = cv2.addWeighted(self._canvas, 1 - self._overlay, enlarged, self._overlay, 0)
        return np.asarray(mixed, np.uint8)

    def _activity(self, bgr: U8, accepted: U8) -> NDArray[np.bool_]:
        """The cells with more than half of their pixels far from their last accepted value."""
        difference = bgr.astype(np.int32) - accepted
        far = (difference * difference).sum(axis=2) > self._threshold**2
        accepted[far] = bgr[far]
        size = self._cell
        active = np.zeros_like(self.active)
        for row, column in np.ndindex(active.shape):
            cell = far[row * size : (row + 1) * size, column * size : (column + 1) * size]
            active[row, column] = cell.mean() > 0.5
        return active

    def _histograms(self, bgr: U8) -> F64:
        """Colour histograms of the active cells in row-major order, float64 (n, 125)."""
        size = self._cell
        histograms = []
        for row, column in zip(*np.nonzero(self.active), strict=True):
            cell = bgr[row * size : (row + 1) * size, column * size : (column + 1) * size]
            counts = cv2.calcHist([cell], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
            histograms.append(counts.ravel().astype(np.float64) / size**2)
        return np.array(histograms)

    def _match(self, x: F64) -> NDArray[np.int64]:
        """The tile cluster of each histogram."""
        if self._kmeans is None or len(x) > SCENE_CHANGE_SHARE * self.active.size:
            # An array as `init`: for a callable or a name, the first partial_fit would use a random
            # subset of 3,072 rows only.
            self._kmeans = MiniBatchKMeans(
                self._size, init=self._plus_plus(x), n_init=1, reassignment_ratio=0.0
            )
        else:
            self._replace_unlike(self._kmeans, x)
        self._kmeans.partial_fit(x)
        # A centre's own length does not change which direction is nearest by cosine.
        cosines = self._kmeans.cluster_centers_ @ self._directions.T
        clusters: NDArray[np.int64] = cosines.argmax(axis=1)[self._kmeans.labels_]
        return clusters

    def _plus_plus(self, x: F64) -> F64:
        """First centres by k-means++; the unneeded ones are far from everything."""
        centres = np.full((self._size, x.shape[1]), 10.0)
        distances = np.full(len(x), np.inf)
        row = int(self._rng.integers(len(x)))
        for i in range(min(self._size, len(x))):
            centres[i] = x[row]
            distances = np.minimum(distances, ((x - x[row]) ** 2).sum(axis=1))
            cumulated = np.cumsum(distances)
            if cumulated[-1] <= 0:
                break
            row = int(np.searchsorted(cumulated, self._rng.random() * cumulated[-1], side="right"))
            row = min(row, len(x) - 1)
        return centres

    def _replace_unlike(self, kmeans: MiniBatchKMeans, x: F64) -> None:
        """Histograms that are like no centre replace the least used centres, worst first."""
        # scikit-learn has no public way to give a centre away.
        centres, weights = kmeans.cluster_centers_, kmeans._counts
        own, lengths = (x * x).sum(axis=1), (centres * centres).sum(axis=1)
        products = x @ centres.T
        squared = lengths - 2 * products
        nearest = squared.argmin(axis=1)
        row = np.arange(len(x))
        cosine = products[row, nearest] / np.sqrt(own * lengths[nearest])
        unlike = np.flatnonzero(cosine < NOVEL_COSINE)
        distances = (squared[row, nearest] + own)[unlike]
        least_used = np.argsort(weights, kind="stable")
        for free in least_used[: min(MAX_NOVEL, len(unlike))]:
            worst = int(distances.argmax())
            if distances[worst] <= own[unlike[worst]] * NOVEL_COSINE:
                break
            centres[free], weights[free] = x[unlike[worst]], 0
            distances = np.minimum(distances, ((x[unlike] - centres[free]) ** 2).sum(axis=1))

    def _paste(self, clusters: NDArray[np.int64]) -> None:
        """Give each active cell the next tile of its cluster, mirrored or not."""
        flips = self._rng.random(len(clusters)) < 0.5
        if not self._mirror:
            flips[:] = False
        px = self._tile
        cells = zip(*np.nonzero(self.active), strict=True)
        for (row, column), cluster, flip in zip(cells, clusters.tolist(), flips, strict=True):
            members = self._clusters[cluster]
            tile_id = members[self._turn[cluster] % len(members)]
            self._turn[cluster] += 1
            self.tile_ids[row, column], self.flips[row, column] = tile_id, flip
            tile = self._tiles[tile_id]
            self._canvas[row * px : (row + 1) * px, column * px : (column + 1) * px] = (
                tile[:, ::-1] if flip else tile
            )


def _resized(tile: U8, px: int) -> U8:
    if tile.shape[0] == px:
        return tile
    mode = cv2.INTER_AREA if px < tile.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(tile, (px, px), interpolation=mode), np.uint8)


def read_frames(path: str, limit: int | None) -> Iterator[U8]:
    """BGR pictures of a video file."""
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise SystemExit(f"{path}: cannot be opened")
    number = 0
    while limit is None or number < limit:
        ok, bgr = capture.read()
        if not ok:
            break
        yield np.asarray(bgr, np.uint8)
        number += 1
    capture.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output", help="a video file, or null")
    parser.add_argument("--frames", type=int, help="stop after so many")
    parser.add_argument("--gallery", default="photos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--preset", default="ultrafast")
    parser.add_argument("--crf", default="23")
    parser.add_argument(
        "--threads", type=int, default=1, help="of the encoder; PyAV's default is 1"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()

    import av  # after cv2: the other order hangs OpenCV's windows

    mosaic = ReferenceMosaic(open_gallery(args.gallery), seed=args.seed)
    rate = cv2.VideoCapture(args.input).get(cv2.CAP_PROP_FPS) or 25
    container: Any = None if args.output == "null" else av.open(args.output, "w")
    stream: Any = None
    filter_s: list[float] = []
    active: list[float] = []
    began = time.perf_counter()
    for bgr in read_frames(args.input, args.frames):
        at = time.perf_counter()
        picture = mosaic.process(bgr)
        filter_s.append(time.perf_counter() - at)
        active.append(float(mosaic.active.mean()))
        if container is None:
            continue
        if stream is None:
            stream = container.add_stream(args.codec, Fraction(rate).limit_denominator(1001))
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.options = {"preset": args.preset, "crf": args.crf}
            stream.thread_count = args.threads
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    if container is not None:
        if stream is not None:
            container.mux(stream.encode())
        container.close()
    if not filter_s:
        raise SystemExit(f"{args.input}: no frame can be read")
    seconds = time.perf_counter() - began
    figures = {
        "frames": len(filter_s),
        "duration_s": round(seconds, 2),
        "fps": round(len(filter_s) / seconds, 2),
        "filter_ms": {
            "first": round(filter_s[0] * 1e3),
            "median": round(statistics.median(filter_s) * 1e3),
        },
        "filter_fps": round(len(filter_s) / sum(filter_s), 2),
        "palette_ms_mean": round(mosaic.palette_s / len(filter_s) * 1e3, 1),
        "active_mean": round(sum(active) / len(active), 4),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    if args.json:
        print(json.dumps(figures))
    else:
        print(
            f"{figures['frames']} frames in {figures['duration_s']} s: {figures['fps']} fps "
            f"(filter alone {figures['filter_fps']} fps), "
            f"{figures['active_mean']:.1%} of the cells active"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
