"""Warm-up: loads the kernels that the frames of a stream need, so that none waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..gallery.snapshot import GallerySnapshot
from ..media.frame import DeepPicture, Frame
from ..tile_size import enlarged
from .area import Area
from .grid import plan_grid
from .settings import MAX_TILE_PX, MosaicSettings

if TYPE_CHECKING:
    from .mosaic import Mosaic
    from .stream import FrameKind

# Kernels are loaded for tiles so many times larger, too: the pipeline's governor doubles them when
# there is no time for a compilation.
_SIZES = (1, 2)


def load_kernels(
    make: Callable[[MosaicSettings], Mosaic], settings: MosaicSettings, kind: FrameKind
) -> None:
    """Load every kernel that frames of a kind need with these settings. `make` makes mosaics for
    nothing else."""
    grid = plan_grid(kind.width, kind.height, settings)
    settings = settings.for_grid(grid)
    for tile_px in {enlarged(grid.tile_px, n, MAX_TILE_PX) for n in _SIZES}:
        _run_kernels(make, replace(settings, tile_px=tile_px), kind)


def _run_kernels(
    make: Callable[[MosaicSettings], Mosaic], settings: MosaicSettings, kind: FrameKind
) -> None:
    """Make some small mosaics, with the kernels of large ones: these depend on the tile's size and
    the scale, not on the number of cells. The last pictures have noise, to be measured, and one an
    area."""
    width, height, colour, deep_colour = kind
    grid = plan_grid(width, height, settings)
    scale = grid.width / width
    across = max(2, round(2 * grid.tile_width / scale))
    down = max(2, round(2 * grid.tile_height / scale))
    if across < width and down < height:
        width, height = across, down
        settings = replace(settings, scale=scale, size=None, round_up=True)
    if settings.fine != "none":  # by faces, cells surely split
        settings = replace(settings, fine="faces")
    scratch = make(settings)
    lent: list[Frame] = []  # so that the second one has to copy the first
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    made = scratch.plan(width, height)
    everywhere = np.full((made.height, made.width), 255, np.uint8)
    for picture in (np.zeros_like(noise), np.full_like(noise, 255), noise, noise):
        frame = Frame.from_bgr(picture, colour=colour)
        if deep_colour is not None:
            y, u, v = (plane.astype(np.uint16) for plane in (frame.y, frame.u, frame.v))
            frame = replace(frame, deep=DeepPicture(y, u, v, deep_colour))
        # Cells split after the first picture, so that some leave, too.
        faces = [(0.0, 0.0, float(width), float(height))] if lent else []
        area = Area(everywhere, frame) if len(lent) == 3 else None
        lent.append(scratch.process(frame, area=area, faces=faces))
    if isinstance(scratch.gallery, GallerySnapshot):  # photos may join
        scratch.prepare_gallery(scratch.gallery)
