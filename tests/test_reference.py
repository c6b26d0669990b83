"""The filter against the plain writing of the reference algorithm: the same tiles everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from livemosaic.gallery import Gallery, open_gallery
from livemosaic.media.colour import bgr_to_i420
from livemosaic.media.frame import Frame
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import U8, moving_pictures
from tests.program import needs_jit

pytestmark = needs_jit

# The superimposed original of a cell may be this far out of date, in levels of the output.
STALE = 6


def agree(
    reference: ModuleType,
    gallery: Gallery,
    pictures: Iterable[U8],
    *,
    seed: int = 0,
    palette: int = 150,
) -> list[float]:
    """Run both over the pictures and compare every frame; the share of active cells of each."""
    # Every cell is 8x8 pixels of the input: both sides see the same samples.
    settings = MosaicSettings(
        tile_px=32,
        scale=4,
        round_up=True,
        match="clusters",
        tint=0.0,
        overlay=0.5,
        palette=palette,
        seed=seed,
    )
    mosaic = Mosaic(gallery, settings)
    plain = reference.ReferenceMosaic(gallery, seed=seed, palette=palette)
    shares = []
    for number, picture in enumerate(pictures):
        frame = Frame.from_bgr(picture)
        ours = mosaic.process(frame)
        # The same samples to both: 4:2:0 has lost what the filter cannot see.
        theirs = plain.process(frame.to_bgr())
        assert mosaic.cells.active == plain.active.sum(), f"frame {number}"
        np.testing.assert_array_equal(mosaic.tile_ids, plain.tile_ids, f"tiles, frame {number}")
        np.testing.assert_array_equal(mosaic.flips, plain.flips, f"mirrored, frame {number}")
        compare(ours, theirs, fresh=number == 0)
        shares.append(float(plain.active.mean()))
    return shares


def compare(ours: Frame, theirs: U8, *, fresh: bool) -> None:
    """Pictures agree but for rounding, the resolution of chroma, and (not `fresh`) staleness."""
    y, u, v = bgr_to_i420(theirs, ours.colour)
    stale = 0 if fresh else STALE
    luma = np.abs(ours.y.astype(int) - y)
    assert luma.mean() < 1
    assert np.percentile(luma, 99.9) <= 2 + stale
    # tests/test_mosaic.py is about the border of a cell: there the original is interpolated
    # with samples of the next cell.
    inner = luma.reshape(luma.shape[0] // 32, 32, -1, 32)[:, 2:-2, :, 2:-2]
    assert inner.max() <= 3 + stale
    for a, b in ((ours.u, u), (ours.v, v)):
        chroma = np.abs(a.astype(int) - b)
        assert chroma.mean() < 1
        assert np.percentile(chroma, 99) <= 2 + stale


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_tiles_through_a_scene_change(
    reference: ModuleType, gallery: Gallery, seed: int
) -> None:
    shares = agree(reference, gallery, moving_pictures(12, seed=seed, cut=6), seed=seed)
    assert shares[6] > 0.5, "the cut was meant to change the scene"
    assert max(shares[1:6]) < 0.5


def test_same_tiles_when_little_moves(reference: ModuleType, gallery: Gallery) -> None:
    ground = moving_pictures(1, seed=5)[0]
    pictures = []
    for n in range(10):
        picture = ground.copy()
        picture[40:64, 40 + 8 * n : 64 + 8 * n] = (0, 0, 255)  # a new colour comes in
        pictures.append(picture)
    shares = agree(reference, gallery, [ground, ground, *pictures, pictures[-1]], seed=3)
    assert 0 < max(shares[2:]) < 0.1
    assert shares[1] == shares[-1] == 0


def test_same_tiles_when_many_new_colours_come(reference: ModuleType, gallery: Gallery) -> None:
    """More than one histogram that is like no centre, in one frame."""
    ground = np.full((192, 320, 3), 90, np.uint8)
    noise = np.empty_like(ground)
    cv2.randn(noise, np.zeros(3), np.full(3, 4.0))
    ground += noise
    busy = ground.copy()
    for i, colour in enumerate(
        [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255)]
    ):
        busy[32:64, 16 + 48 * i : 48 + 48 * i] = colour
    shares = agree(reference, gallery, [ground, busy, ground, busy], seed=1)
    assert 0 < shares[1] < 0.5


def test_same_tiles_without_mirroring(
    reference: ModuleType, make_gallery: Callable[..., Gallery]
) -> None:
    gallery = make_gallery(mirror=False)
    agree(reference, gallery, moving_pictures(5, seed=7, cut=3), seed=7)


@pytest.mark.parametrize("palette", [1, 8, 300])
def test_same_tiles_with_other_palettes(
    reference: ModuleType, gallery: Gallery, palette: int
) -> None:
    agree(reference, gallery, moving_pictures(6, seed=4, cut=4), palette=palette)


def test_same_tiles_of_flat_pictures(reference: ModuleType, gallery: Gallery) -> None:
    """Fewer different histograms than centres."""
    flat = [np.full((96, 160, 3), level, np.uint8) for level in (0, 0, 128, 255)]
    shares = agree(reference, gallery, flat)
    assert shares == [1, 0, 1, 1]


@pytest.mark.slow
def test_same_tiles_on_a_real_clip(reference: ModuleType, real_clip: Path) -> None:
    """A crop of 640x360 from the middle, with the included photos."""
    crops = []
    for picture in reference.read_frames(str(real_clip), 12):
        width, height = min(640, picture.shape[1] // 8 * 8), min(360, picture.shape[0] // 8 * 8)
        left, top = (picture.shape[1] - width) // 2, (picture.shape[0] - height) // 2
        crops.append(np.ascontiguousarray(picture[top : top + height, left : left + width]))
    assert len(crops) == 12
    shares = agree(reference, open_gallery("photos"), crops)
    assert 0 < np.mean(shares[1:]) < 1
