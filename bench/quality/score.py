"""The score of a contender: one row of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import metrics
from .clips import CELL_PX, Clip
from .contenders import Shot

__all__ = ["HEADINGS", "Score", "calm", "markdown", "score", "variety"]

FAR = (160, 90)  # a 720p picture from so far that 8x8 pixels are one point


@dataclass(frozen=True, slots=True)
class Score:
    """Means over a clip's frames; the fields are in the order of HEADINGS."""

    psnr_far: float  # dB, both pictures averaged to 160x90
    difference_far: float  # CIEDE2000, mean of the points
    psnr_cells: float  # the same at 4x4 points per cell
    difference_cells: float
    changed_still: float  # share of the cells of still regions with another tile than before
    changed: float  # the same of all cells
    photos: float  # different ones in a frame
    contrast: float  # mean standard deviation of luma within a cell, levels
    repeats_1: float  # share of cells with the photo of a cell that touches them
    repeats_3: float  # ... of a cell within 3 cells
    recall: float  # share of the matched cells that are within 5 % of the best cost; NaN: no cost

    def cells(self) -> list[str]:
        """The figures as the table shows them."""
        return [_shown(name, value) for name, value in asdict(self).items()]


HEADINGS = (
    "PSNR, 160x90", "ΔE00, 160x90", "PSNR, 4x4", "ΔE00, 4x4", "changes, still", "changes, all",
    "photos", "contrast", "repeats, 1", "repeats, 3", "recall",
)  # fmt: skip
assert len(HEADINGS) == len(fields(Score))

_UNITS = {
    "psnr": "{:.2f} dB", "difference": "{:.2f}", "changed": "{:.2%}", "photos": "{:.0f}",
    "contrast": "{:.1f}", "repeats": "{:.1%}", "recall": "{:.1%}",
}  # fmt: skip


def _shown(name: str, value: float) -> str:
    return "–" if math.isnan(value) else _UNITS[name.partition("_")[0]].format(value)


def score(clip: Clip, shots: Iterable[Shot]) -> tuple[Score, Shot]:
    """The score of a contender, and its last shot."""
    per_frame: list[tuple[float, ...]] = []
    recalls: list[float] = []
    tiles = []
    shot = None
    grid = (clip.width * metrics.POINTS // CELL_PX, clip.height * metrics.POINTS // CELL_PX)
    for bgr, shot in zip(clip.frames, shots, strict=True):
        luma = np.asarray(cv2.cvtColor(shot.picture, cv2.COLOR_BGR2GRAY), np.uint8)
        per_frame.append(
            (
                *_fidelity(bgr, shot, FAR),
                *_fidelity(bgr, shot, grid),
                metrics.distinct(shot.photos),
                metrics.contrast(luma, CELL_PX),
                metrics.repeats(shot.photos, 1),
                metrics.repeats(shot.photos, 3),
            )
        )
        if shot.costs is not None and len(shot.costs.chosen):
            recalls.append(metrics.recall(shot.costs.chosen, shot.costs.best))
        tiles.append(shot.tiles)
    assert shot is not None
    mean = [fmean(column) for column in zip(*per_frame, strict=True)]
    recall = fmean(recalls) if recalls else math.nan
    figures = [*mean[:4], *calm(clip, tiles), *mean[4:], recall]
    return Score(*figures), shot


def _fidelity(bgr: metrics.U8, shot: Shot, size: tuple[int, int]) -> tuple[float, float]:
    """PSNR and mean CIEDE2000 of two pictures averaged to a size."""
    before, after = metrics.points(bgr, *size), metrics.points(shot.picture, *size)
    difference = metrics.ciede2000(metrics.bgr_to_lab(before), metrics.bgr_to_lab(after))
    return metrics.psnr(before, after), float(difference.mean())


def calm(clip: Clip, tiles: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The share of cells with another tile than before: in still regions, and of all."""
    changed = np.diff(np.stack(tiles), axis=0) != 0
    everywhere = np.ones_like(changed)
    return metrics.share(changed, clip.still()[1:]), metrics.share(changed, everywhere)


def variety(shot: Shot) -> tuple[int, float]:
    """The number of different photos, and the smallest distance of two equal ones."""
    return metrics.distinct(shot.photos), metrics.nearest_repeat(shot.photos)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
