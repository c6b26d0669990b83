"""bench/scale makes the galleries that it should, and compares and draws what it measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.quality.recall import layout_costs
from bench.scale import make, plot, results
from livemosaic.gallery import Gallery, open_gallery
from livemosaic.media.picture import to_frame
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import U8


@pytest.fixture(scope="module")
def crops() -> U8:
    return np.random.default_rng(0).integers(0, 256, (700, 32, 32, 3), np.uint8)


def test_real_crops_come_first_and_larger_galleries_begin_as_smaller_ones(crops: U8) -> None:
    small = np.concatenate(list(make.tiles_of(crops, 600)))
    large = np.concatenate(list(make.tiles_of(crops, 2300)))
    assert np.array_equal(large[:600], small)
    real = {crop.tobytes() for crop in crops}
    assert {tile.tobytes() for tile in large[:700]} == real
    assert len({tile.tobytes() for tile in large}) == 2300


def test_a_gallery_is_the_same_each_time_and_can_be_used(crops: U8, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make.make_gallery(tmp_path / f"{name}.gallery", crops, 1200, per_photo=3)
    assert (tmp_path / "a.gallery").read_bytes() == (tmp_path / "b.gallery").read_bytes()
    gallery = Gallery.open(tmp_path / "a.gallery")
    assert len(gallery) == 1200
    assert gallery.tile_px == 32
    assert gallery.source_photo.tolist() == [number // 3 for number in range(1200)]
    assert len(gallery.centres) > 100


def test_samples_of_the_decisions_are_compared_as_all_of_them() -> None:
    mosaic = Mosaic(open_gallery("photos"), MosaicSettings(tile_px=32, scale=1.0))
    picture = np.random.default_rng(0).integers(0, 256, (320, 480, 3), np.uint8)
    frame = to_frame(picture)
    mosaic.process(frame)
    whole, some = layout_costs(mosaic, frame), layout_costs(mosaic, frame, samples=7)
    assert len(whole.chosen) == 150
    assert len(some.chosen) == 7
    assert set(some.chosen.round(3)) <= set(whole.chosen.round(3))
    assert set(some.best.round(3)) <= set(whole.best.round(3))
    assert (whole.best <= whole.chosen + 1e-3).all()


def test_only_what_was_measured_is_drawn(tmp_path: Path) -> None:
    args = argparse.Namespace(work=tmp_path, output=tmp_path / "scale.svg")
    with pytest.raises(SystemExit):
        plot.main(args)
    rows = [{"tiles": 3000, "match_us": 5.0}, {"tiles": 1_000_000, "match_us": 10.0}]
    results.save(tmp_path, "match", rows)
    results.save(tmp_path, "film", [{"workers": n, "fps": 10.0 * n} for n in (1, 2, 3)])
    plot.main(args)
    drawn = ElementTree.parse(args.output).getroot()
    texts = ["".join(it.itertext()) for it in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "Match per cell, µs of CPU" in texts
    assert "1 M" in texts
    assert "Film, frames/s" in texts
    assert "Time to open, s" not in texts
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 5
