"""Posters: the mosaic of one moment as a file of 10,000 pixels and more, while the run goes on.

A poster has the tiles that were in the picture, enlarged, and read again from the photos where
these are there. It is made in a process of its own, of the lowest priority: that takes as long as
hundreds of frames, and several hundred megabytes of memory, which the run would keep.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..control.state import Control
from ..errors import SinkError, problem_of
from ..gallery.gallery import Gallery
from ..media.colour import Colour
from ..media.frame import Frame, StreamInfo
from ..mosaic.area import Area
from ..mosaic.grid import Grid, finer_grids
from ..mosaic.layer import CellTiles
from ..mosaic.mosaic import Mosaic
from ..mosaic.settings import MAX_TILE_PX, MosaicSettings
from ..unfinished import end_helper, start_helper

# The longer side: A0 at 300 dpi has 14,043 pixels. A JPEG of 20,000 has 200 MB.
_LONG_SIDE, _MAX_LONG_SIDE = 14_000, 20_000

# Progress: after reading tiles, after painting, and after the picture is written.
_READ, _PAINTED, _WRITTEN = 0.6, 0.65, 0.95

_ENDING_S = 2.0  # for the process to remove its files


def poster_grid(grid: Grid) -> Grid:
    """A grid with the same cells, so many whole times as large that its longer side has 14,000 to
    20,000 pixels; at least 10,000 where twice as many would be too many, and less where tiles would
    be too large."""
    long = max(grid.width, grid.height)
    times = -(-_LONG_SIDE // long)
    times = min(times, max(1, _MAX_LONG_SIDE // long))
    times = max(1, min(times, MAX_TILE_PX // max(grid.tile_width, grid.tile_height)))
    sides = (grid.tile_width, grid.tile_height, grid.width, grid.height)
    return Grid(grid.rows, grid.columns, *(times * side for side in sides))


@dataclass(frozen=True, slots=True)
class Moment:
    """The picture of one moment: the frame, and what was made of it."""

    frame: Frame
    area: Area | None
    settings: MosaicSettings
    gallery: Gallery
    grid: Grid
    layers: tuple[CellTiles, ...]

    @classmethod
    def of(cls, mosaic: Mosaic, frame: Frame, area: Area | None) -> Moment:
        """That of the frame which a mosaic has just processed."""
        return cls(frame, area, mosaic.settings, mosaic.gallery, mosaic.grid, mosaic.layers)


class PosterMaker:
    """Makes posters, one at a time.

    Parameters
    ----------
    name_poster : gives the path of a new poster; its map is beside it
    control : gets messages for the user
    aspect : width by height of a pixel

    Attributes
    ----------
    progress : of the one that is made, such as "40%"; empty when there is none
    made : names of the posters so far
    """

    def __init__(
        self, name_poster: Callable[[], Path], control: Control, *, aspect: Fraction = Fraction(1)
    ) -> None:
        self._name_poster, self._control, self._aspect = name_poster, control, aspect
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self._name = ""
        self.progress = ""
        self.made: list[str] = []

    def begin(self) -> None:
        """One is about to be made."""
        self._name, self.progress = "a poster", "0%"

    def end(self) -> None:
        """The poster is made, or given up."""
        self.progress = ""

    def make(self, moment: Moment) -> None:
        """Make a poster: takes seconds to minutes. `SinkError` if it cannot be written."""
        from ..sinks.atomic_file import AtomicFile
        from ..sinks.image import ImageDestination

        final = self._name_poster().absolute()
        self._name = final.name
        grid = poster_grid(moment.grid)
        self._control.inform(f"making {final.name}, {grid.width}x{grid.height} pixels")
        names = final.name, final.with_suffix(".html").name
        image = ImageDestination(name=final.name, location=str(final))
        image.warn_of_shape(StreamInfo(grid.width, grid.height, sample_aspect_ratio=self._aspect))
        place = AtomicFile(image, folder=True)
        try:
            self._make_in(place.path, names, moment, grid)
            if self._cancelled:
                return
            place.commit(*names)
        finally:
            place.remove()
        self.made.append(final.name)
        self._control.inform(f"saved {' and '.join(names)}")

    def _make_in(self, folder: Path, names: tuple[str, str], moment: Moment, grid: Grid) -> None:
        """Have the process make picture and map in a folder."""
        from ..sinks.atomic_file import sink_errors

        with self._lock:
            if self._cancelled:
                return
            module = f"{__package__}.poster_process"
            process = self._process = start_helper(module, gives_way=True)
        assert process.stdin is not None
        assert process.stdout is not None
        answer: dict[str, Any] = {}
        try:
            with sink_errors(names[0]), contextlib.suppress(BrokenPipeError):
                _send(moment, grid, folder, names, process.stdin)
            for line in process.stdout:
                if line.endswith(b"\n"):
                    answer = json.loads(line)
                    self.progress = f"{answer['share']:.0%}" if "share" in answer else self.progress
        finally:
            self._end_process()
        if "done" not in answer and not self._cancelled:
            problem = f"{names[0]}: its process has ended too early, perhaps for lack of memory"
            raise SinkError(answer.get("error", f"{problem}; close other programs, and try again"))

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.close()  # so that it ends
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_S)
        end_helper(process)

    def announce(self) -> None:
        """Say that the run waits for the poster, if there is one."""
        if self.progress:
            self._control.inform(f"waiting for {self._name}, which is at {self.progress}")

    def cancel(self) -> None:
        """Give the poster up; nothing of it stays."""
        with self._lock:
            self._cancelled = True
            process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()


# ---- between the processes: a line of JSON, then the arrays and the gallery ----------------------


def _send(
    moment: Moment, grid: Grid, folder: Path, names: tuple[str, str], stream: IO[bytes]
) -> None:
    """Write all that a poster needs, of which arrays are raw bytes: nothing in it can be code."""
    from ..gallery.part import write_part

    frame, area = moment.frame, moment.area
    arrays: dict[str, NDArray[Any]] = {"y": frame.y, "u": frame.u, "v": frame.v}
    if frame.alpha is not None:
        arrays["alpha"] = frame.alpha
    if area is not None:
        outside = area.outside
        arrays |= {"mask": area.mask, "y2": outside.y, "u2": outside.u, "v2": outside.v}
    with TemporaryFile() as file:
        ids = write_part(moment.gallery, [its.tile_ids for its in moment.layers], file)
        for number, (its, tiles) in enumerate(zip(moment.layers, ids, strict=True)):
            arrays |= {f"ids{number}": tiles, f"flips{number}": its.flips}
        settings = replace(moment.settings.for_grid(grid), full_size=True)
        order = {
            "folder": str(folder),
            "names": names,
            "settings": asdict(settings),
            "colour": asdict(frame.colour),
            "layers": len(moment.layers),
            "arrays": [(name, it.dtype.str, it.shape) for name, it in arrays.items()],
            "gallery": [moment.gallery.name, file.seek(0, os.SEEK_END)],
        }
        stream.write(json.dumps(order).encode() + b"\n")
        for array in arrays.values():
            stream.write(np.ascontiguousarray(array).tobytes())
        file.seek(0)
        shutil.copyfileobj(file, stream)
        stream.flush()


def serve() -> None:
    """The work of the process: make the poster that standard input describes."""
    import cv2

    from ..priority import lower_priority

    lower_priority()
    cv2.setNumThreads(1)
    source, target = sys.stdin.buffer, sys.stdout.buffer

    def tell(**news: object) -> None:
        target.write(json.dumps(news).encode() + b"\n")
        target.flush()

    order = json.loads(source.readline())
    arrays = {
        name: np.frombuffer(
            source.read(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype
        ).reshape(shape)
        for name, dtype, shape in order["arrays"]
    }
    name, size = order["gallery"]
    gallery = Gallery(source.read(size), name=name)
    threading.Thread(target=_end_with, args=(source, order["folder"]), daemon=True).start()
    try:
        _make(order, arrays, gallery, lambda share: tell(share=share))
    except Exception as error:
        tell(error=problem_of(error))
    else:
        tell(done=True)


def _end_with(source: IO[bytes], folder: str) -> None:
    """End the process when the other one has gone, with all that it has made."""
    source.read()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _make(
    order: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    gallery: Gallery,
    tell: Callable[[float], None],
) -> None:
    from ..sinks.base import FileOptions, RunContext
    from ..sinks.image import ImageDestination
    from ..sinks.photo_map import PhotoMapDestination

    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in order["settings"].items()
    }
    settings = MosaicSettings(**values)
    colour = Colour(**(order["colour"] | {"tags": tuple(order["colour"]["tags"])}))
    frame = Frame(arrays["y"], arrays["u"], arrays["v"], colour, alpha=arrays.get("alpha"))
    area = None
    if "mask" in arrays:
        area = Area(arrays["mask"], Frame(arrays["y2"], arrays["u2"], arrays["v2"], colour))
    mosaic = Mosaic(gallery, settings)
    mosaic.on_progress = lambda done, total: tell(_READ * done / total)
    layers = [
        CellTiles(grid, arrays[f"ids{number}"], arrays[f"flips{number}"])
        for number, grid in enumerate(finer_grids(mosaic.plan(frame.width, frame.height), settings))
    ]
    picture = mosaic.paint(frame, layers, area=area)
    tell(_PAINTED)
    name, map_name = order["names"]
    info = StreamInfo(picture.width, picture.height, colour=colour, still=True)
    context = RunContext(mosaic=mosaic)
    image = ImageDestination(name=name, location=os.path.join(order["folder"], name))
    with image.open(info, context) as sink:
        sink.write(picture)
    tell(_WRITTEN)
    page = PhotoMapDestination(
        name=map_name,
        location=os.path.join(order["folder"], map_name),
        options=FileOptions(source_name=name),
    )
    with page.open(info, context) as sink:
        sink.write(picture)
