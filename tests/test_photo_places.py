"""Where a photo is in the picture, as guests ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Control, LiveGallery, LiveState, Mosaic, Pipeline, open_sink, open_source
from livemosaic.control.state import Place
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.pipeline import output_info

from .fakes import wait_until
from .gallery_files import photo
from .test_live_gallery import gallery

SIZE = (312, 240)  # of 20 columns of 16 pixels, the last of which is cut


@contextmanager
def running(live: LiveGallery, *, fine: str = "none", **state: Any) -> Iterator[Pipeline]:
    """A pipeline that goes on until the end of the block."""
    settings = MosaicSettings(tile_px=16, scale=1.0, fine=fine)
    source = open_source("pattern:{}x{}@25".format(*SIZE))
    mosaic = Mosaic(live.snapshot, settings)
    grid = mosaic.plan(*SIZE)
    control = Control(LiveState(settings.for_grid(grid), **state))
    sink = open_sink("null", output_info(source.info, grid))
    pipeline = Pipeline(
        source, mosaic, [sink], duration_s=120, realtime=True, control=control, live_gallery=live
    )
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        wait_until(lambda: pipeline.progress.frames_out, timeout_s=60)
        yield pipeline
    finally:
        pipeline.stop()
        thread.join()


def covered(places: list[Place]) -> float:
    """The share of the picture."""
    return sum(it.width * it.height for it in places)


@pytest.mark.parametrize("fine", ["none", "detail"])
def test_all_photos_together_fill_the_picture(fine: str) -> None:
    """Also cells that stick out of it, and finer ones; frozen, so that they stay."""
    live = LiveGallery(gallery(12))
    with running(live, fine=fine, freeze=True) as pipeline:
        found: list[Place] = []

        def fills() -> bool:  # a busy machine may be late with an answer
            answers = [pipeline.control.photo_places(name) for name in live.photos()]
            found[:] = [it for answer in answers for it in answer]
            return covered(found) == pytest.approx(1)

        wait_until(fills, timeout_s=60)
    corners = {(round(it.x, 6), round(it.y, 6)) for it in found}
    assert len(corners) == len(found)
    assert max(it.x + it.width for it in found) == max(it.y + it.height for it in found) == 1
    assert any(round(it.width * SIZE[0]) == 8 and it.x > 0.9 for it in found)  # the last column
    halves = any(round(it.width * SIZE[0]) == 8 and it.x < 0.9 for it in found)
    assert halves == (fine == "detail")


def test_a_photo_that_joins_and_leaves(tmp_path: Path) -> None:
    path = tmp_path / "guest.png"
    cv2.imwrite(str(path), photo(900))
    live = LiveGallery(gallery(2))
    with running(live) as pipeline:
        assert pipeline.control.photo_places(path) == []
        live.add(path)
        places = wait_until(lambda: pipeline.control.photo_places(path), timeout_s=60)
        assert 0 < covered(places) < 1
        live.remove([str(path)])
        wait_until(lambda: not pipeline.control.photo_places(path), timeout_s=60)


def test_outside_of_the_area_is_none(tmp_path: Path) -> None:
    """A picture without a person has no mosaic there."""
    live = LiveGallery(gallery(4))
    with running(live, area="person", outside="#000000") as pipeline:
        wait_until(
            lambda: not any(pipeline.control.photo_places(name) for name in live.photos()),
            timeout_s=60,
        )


def test_without_a_pipeline_or_after_it() -> None:
    assert Control().photo_places("a.jpg") == []
    live = LiveGallery(gallery(4))
    name = next(iter(live.photos()))
    with running(live) as pipeline:
        assert wait_until(lambda: pipeline.control.photo_places(name))
    began_s = time.monotonic()
    assert pipeline.control.photo_places(name) == []
    assert time.monotonic() - began_s < 5


def test_a_gallery_that_stays() -> None:
    """Without photos that join; a photo that is in no cell is in no place."""
    photos = [np.full((32, 32, 3), level, np.uint8) for level in (0, 255)]
    control = Control(LiveState(MosaicSettings(tile_px=16, size=SIZE), freeze=True))
    source = open_source("pattern:{}x{}@25".format(*SIZE))
    mosaic = Mosaic(photos, control.state.settings)
    sink = open_sink("null", output_info(source.info, mosaic.plan(*SIZE)))
    pipeline = Pipeline(source, mosaic, [sink], duration_s=120, realtime=True, control=control)
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        wait_until(lambda: pipeline.progress.frames_out, timeout_s=60)
        found: list[list[Place]] = []

        def fills() -> bool:
            found[:] = [control.photo_places(f"images[{number}]") for number in range(3)]
            return covered(found[0] + found[1]) == pytest.approx(1)

        wait_until(fills, timeout_s=60)
    finally:
        pipeline.stop()
        thread.join()
    assert found[2] == []
