"""The contenders: this program, the reference algorithm, and photomosaic-video."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.reference import ReferenceMosaic
from livemosaic.control.options import explicit_options, resolve
from livemosaic.gallery import open_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.frame import Frame
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import PROFILES, MosaicSettings

from .clips import CELL_PX, Clip, read_lossless, write_lossless
from .recall import Costs, layout_costs

__all__ = ["COSTS", "Contender", "Costs", "Livemosaic", "Reference", "Rival", "Shot", "profiles"]

U8 = NDArray[np.uint8]

RIVAL = "photomosaic-video==0.1.0"
RIVAL_VARIANTS = 4  # of each photo: as it is, mirrored, brighter, darker


# For each `--match` with a cost per cell and tile: the costs of the cells that were matched, from a
# mosaic after a frame. A rotation (`clusters`) has none.
COSTS: dict[str, Callable[[Mosaic, Frame], Costs]] = {"layout": layout_costs}


@dataclass(frozen=True, slots=True)
class Shot:
    """A contender's result for one frame.

    Attributes
    ----------
    picture : the mosaic, uint8 BGR, of the input's size
    tiles : int (rows, columns), the tile of each cell; a mirrored one has another number
    photos : int (rows, columns), the photo of each tile
    costs : for the recall, where there is a cost
    """

    picture: U8
    tiles: NDArray[Any]
    photos: NDArray[Any]
    costs: Costs | None = None


class Contender(Protocol):
    """Makes a mosaic of each frame of a clip, with cells of CELL_PX pixels."""

    @property
    def name(self) -> str: ...

    def shots(self, clip: Clip) -> Iterator[Shot]: ...


@dataclass(frozen=True, slots=True)
class Livemosaic:
    """This program with some options of `run`; the grid is the clip's."""

    name: str
    options: Mapping[str, str]

    def settings(self, clip: Clip) -> MosaicSettings:
        grid = {"tile": str(CELL_PX), "size": f"{clip.width}x{clip.height}"}
        return resolve(explicit_options({**self.options, **grid})).mosaic

    def shots(self, clip: Clip) -> Iterator[Shot]:
        settings = self.settings(clip)
        mosaic = Mosaic("photos", settings)
        photo = photo_of_tile(mosaic.gallery)
        costs = COSTS.get(settings.match)
        for bgr in clip.frames:
            frame = Frame.from_bgr(bgr)
            picture = mosaic.process(frame).to_bgr()
            ids = mosaic.tile_ids
            yield Shot(
                picture,
                2 * ids + mosaic.flips,
                photo[ids],
                costs(mosaic, frame) if costs else None,
            )


@dataclass(frozen=True, slots=True)
class Reference:
    """The published algorithm, with this grid instead of one of 8x8 source pixels a cell."""

    overlay: float

    @property
    def name(self) -> str:
        return f"reference, overlay {self.overlay:g}"

    def shots(self, clip: Clip) -> Iterator[Shot]:
        gallery = open_gallery("photos")
        photo = photo_of_tile(gallery)
        palette = min(150, clip.rows * clip.columns)
        mosaic = ReferenceMosaic(
            gallery, overlay=self.overlay, scale=1, tile=CELL_PX, palette=palette
        )
        for bgr in clip.whole_cells():
            picture = mosaic.process(bgr)[: clip.height, : clip.width]
            yield Shot(picture, 2 * mosaic.tile_ids + mosaic.flips, photo[mosaic.tile_ids])


@dataclass(frozen=True, slots=True)
class Rival:
    """photomosaic-video, from PyPI into an environment of its own; `ffmpeg` must be installed.

    Its command line has two settings, both of the grid.

    Attributes
    ----------
    work : folder of its results, which are made once
    plain : without its last step, which makes the colours of the whole picture stronger
    """

    work: Path
    plain: bool = False

    @property
    def name(self) -> str:
        return "photomosaic-video" + (" without make-up" if self.plain else "")

    def shots(self, clip: Clip) -> Iterator[Shot]:
        picture_file, tiles_file = self._made(clip)
        tiles = np.load(tiles_file).reshape(-1, clip.rows, clip.columns)
        photos = tiles % len(list(self._photos().glob("*.jpg")))
        for number, picture in enumerate(read_lossless(picture_file)):
            yield Shot(picture[: clip.height, : clip.width], tiles[number], photos[number])

    def _made(self, clip: Clip) -> tuple[Path, Path]:
        folder = self.work / "rival" / f"{clip.name}-{clip.key}".replace(" ", "-")
        stem = "plain" if self.plain else "full"
        done = folder / f"{stem}.mkv", folder / f"{stem}.npy"
        if not all(path.exists() for path in done):
            folder.mkdir(parents=True, exist_ok=True)
            source = folder / "input.mkv"
            write_lossless(source, clip.whole_cells())
            program = Path(__file__).with_name("rival.py")
            command = [self._python(), program, source, self._photos(), *done]
            grid = ["--cells", str(clip.rows * clip.columns), "--height", str(clip.rows * CELL_PX)]
            subprocess.run(
                [*map(str, command), *grid, *(["--plain"] if self.plain else [])],
                check=True,
                stdout=sys.stderr,
                env={**os.environ, "XDG_CACHE_HOME": str(self.work / "cache"), "PYTHONPATH": ""},
            )
        return done

    def _python(self) -> Path:
        """The Python of its environment, made when it is missing."""
        environment = self.work / "environment"
        python = environment / "bin" / "python"
        if not (environment / "ready").exists():
            if not shutil.which("ffmpeg"):
                raise SystemExit(
                    "photomosaic-video needs ffmpeg: install it, or use --without-rival"
                )
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", RIVAL], check=True)
            (environment / "ready").touch()
        return python

    def _photos(self) -> Path:
        """Its own photos, the same 919 as this program's."""
        found = (self.work / "environment").glob("lib*/**/photomosaic_video/samples/starter")
        return next(found)


def profiles(clip: Clip) -> list[Livemosaic]:
    """This program's profiles, each without overlay and as it is; equal ones only once."""
    found: dict[MosaicSettings, Livemosaic] = {}
    for profile in PROFILES:
        for overlay in ({"overlay": "0"}, {}):
            one = Livemosaic("", {"profile": profile, **overlay})
            settings = one.settings(clip)
            name = f"livemosaic {profile}, overlay {settings.overlay:g}"
            if settings in found:
                name = found[settings].name.replace(",", f" = {profile},", 1)
            found[settings] = Livemosaic(name, one.options)
    return list(found.values())


def photo_of_tile(gallery: Gallery) -> NDArray[np.int64]:
    """The number of each tile's photo; int64 (tiles,)."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(s.path, len(number)) for s in gallery.sources], np.int64)
