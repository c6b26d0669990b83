"""Prints each kernel that a live picture would wait for: `python -m tests.kernels_program GALLERY`.

One that a warm-up has not loaded, or that is loaded for other types of arrays. Where nothing is in
the cache, each of them is compiled, which takes a third of a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np

njit, loaded = numba.njit, list[str]()


class Noted:
    """A compiled kernel, which notes the calls for which it is loaded."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def __call__(self, *arguments: Any) -> Any:
        before = len(self.signatures)
        result = self._compiled(*arguments)
        if len(self.signatures) > before:
            loaded.append(f"{self.py_func.__qualname__}{self.signatures[-1]}")
        return result


def noting(*arguments: Any, **options: Any) -> Any:
    make = njit(*arguments, **options)
    # Those without a cache are parts of others, which cannot call an object.
    return (lambda function: Noted(make(function))) if options.get("cache") else make


numba.njit = noting

from livemosaic import Frame, LiveGallery, Mosaic, MosaicSettings, open_gallery  # noqa: E402
from livemosaic.control.state import LiveState  # noqa: E402
from livemosaic.gallery.gallery import Gallery  # noqa: E402
from livemosaic.media.colour import Colour  # noqa: E402
from livemosaic.media.frame import DeepPicture  # noqa: E402
from livemosaic.mosaic.spotlight import Spotlight  # noqa: E402
from livemosaic.pipeline.area import AreaFinder, warm_up_area  # noqa: E402
from livemosaic.pipeline.faces import FacesFinder  # noqa: E402

SIZE, OUTPUT = (320, 180), (640, 360)
PERSON = Path(__file__).parent / "corpus/person/astronaut.jpg"
COLOUR, DEEP_COLOUR = Colour("bt601"), Colour("bt709")
SETTINGS = MosaicSettings(size=OUTPUT, tile_px=16, for_screen=True)


def frames(*, deep: bool) -> Iterator[Frame]:
    """A person who moves, under noise; as arrays that can be written, and that cannot."""
    photo, rng = cv2.imread(str(PERSON)), np.random.default_rng(0)
    assert photo is not None
    photo = cv2.resize(photo, (SIZE[1], SIZE[1]), interpolation=cv2.INTER_AREA)
    for number in count():
        picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        left = 60 + 8 * (number % 3)
        picture[:, left : left + SIZE[1]] = photo
        noise = rng.normal(0, 3, picture.shape)
        noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
        frame = Frame.from_bgr(noisy, colour=COLOUR, pts=number, time_base=Fraction(1, 4))
        for plane in (frame.y, frame.u, frame.v):
            plane.flags.writeable = number % 2 == 0
        if deep:
            y, u, v = (plane.astype(np.uint16) * 4 for plane in (frame.y, frame.u, frame.v))
            frame = replace(frame, deep=DeepPicture(y, u, v, DEEP_COLOUR))
        yield frame


def live(gallery: Gallery, settings: MosaicSettings, outside: str, *, deep: bool) -> Iterator[str]:
    """The kernels that were not there after warm-ups, as pipelines make them, with what needed
    them."""
    mosaic, source = Mosaic(gallery, settings), frames(deep=deep)
    mosaic.warm_up(*SIZE, COLOUR, DEEP_COLOUR if deep else None)
    warm_up_area(OUTPUT[0])
    area, faces = AreaFinder(None, print), FacesFinder(None)

    def shown(
        words: str, state: LiveState, aside: Callable[[], object] | None = None
    ) -> Iterator[str]:
        if aside is not None:
            aside()
        loaded.clear()
        mosaic.update_settings(state.settings)
        lent = []
        for number in range(3):
            frame = next(source)
            frame = frame.mirrored() if state.mirror else frame
            frame = frame.pixelated() if state.privacy else frame
            where = area.area_of(frame, state, OUTPUT)
            found = faces.faces_in(frame, state)
            lent.append(mosaic.process(frame, area=where, faces=found, max_cells=200 * number))
        yield from (f"{words}: {name}" for name in loaded)

    state = LiveState(settings, outside=outside)
    yield from shown("the first frames", state)
    for where in ("background", "person", "everything"):
        yield from shown(where, replace(state, area=where))
    state = replace(state, area="background")
    yield from shown("mirror", replace(state, mirror=True))
    yield from shown("privacy", replace(state, privacy=True))
    style: dict[str, Any] = {"overlay": 0.9, "calm": 0.0, "activity": 4.0}
    for name, value in style.items():
        changed = replace(settings, **{name: value})
        yield from shown(name, replace(state, settings=changed))
    larger = replace(settings, tile_px=32)
    yield from shown("the governor's larger tiles", replace(state, settings=larger))
    keys: dict[str, Any] = {"tile_px": 24, "tint": float(not settings.tint), "match": "clusters"}
    keys["fine"] = "faces" if settings.fine == "none" else "none"
    deep_colour = DEEP_COLOUR if deep else None
    for name, value in keys.items():
        changed = replace(settings, **{name: value})
        warm_up = partial(mosaic.warm_up_kernels, changed, *SIZE, COLOUR, deep_colour)
        yield from shown(name, replace(state, settings=changed), warm_up)


def joining(gallery: Gallery) -> Iterator[str]:
    """The same for the first photo that joins; and where none can join, nothing is loaded for it.

    No photo has joined in this process.
    """
    Mosaic(gallery, SETTINGS).warm_up(*SIZE, COLOUR)
    needless = {name.split("(")[0] for name in loaded}
    loaded.clear()
    live, source = LiveGallery(gallery), frames(deep=False)
    mosaic = Mosaic(live.snapshot, SETTINGS)
    mosaic.warm_up(*SIZE, COLOUR)
    live.warm_up()
    for name in needless & {"_shrink", "_tile_points", "cell_histograms", "vacate_all", "occupy"}:
        yield f"{name} is loaded where no photo can join"
    mosaic.process(next(source))
    loaded.clear()
    for joins in (str(PERSON), np.full((90, 160, 3), 90, np.uint8)):
        live.add([joins])
        tile = len(live.snapshot) - 1
        mosaic.update_settings(SETTINGS, ready=mosaic.prepare_gallery(live.snapshot))
        picture = np.array(live.snapshot.tiles[tile])
        cell = int(mosaic.distances(tile, tint=0.3).argmin())
        mosaic.process(next(source), spotlights=[Spotlight(tile, cell, picture, 2.0, 0.7)])
    yield from (f"a photo joins: {name}" for name in loaded)


def main(gallery: Gallery) -> Iterator[str]:
    yield from joining(gallery)
    runs = [
        (SETTINGS, "original", False),
        (replace(SETTINGS, fine="faces"), "blur", True),
        (replace(SETTINGS, fine="detail"), "#204060", False),
        (replace(SETTINGS, match="clusters"), str(PERSON), False),
        (replace(SETTINGS, fine="faces", tint=0.0, overlay=0.0, min_uses=1), "blur", False),
    ]
    for settings, outside, deep in runs:
        for line in live(gallery, settings, outside, deep=deep):
            yield f"{settings.fine}, {settings.match}, {line}"


if __name__ == "__main__":
    json.dump(list(main(open_gallery(sys.argv[1]))), sys.stdout)
