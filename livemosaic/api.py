"""Whole runs in one call: `render` writes outputs, `mosaic_frames` yields frames."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .argument import PATH, path_text, take
from .control.options import OPTIONS, RunOptions, resolve
from .control.state import LiveState, read_outside
from .errors import UsageError, as_written, unknown_options
from .gallery import open_gallery
from .media.frame import Frame, StatusEvent, TrackPacket
from .media.picture import to_array
from .mosaic.area import Area
from .mosaic.mosaic import Mosaic
from .option import Option
from .pipeline.area import AreaFinder
from .pipeline.faces import FacesFinder
from .session import open_input, open_pipeline, parse_outputs, part_of
from .sinks.base import Destination, RunContext, Sink
from .sources import Source, check_input

if TYPE_CHECKING:
    from PIL.Image import Image

    from .gallery import GallerySpec
    from .media.frame import StreamInfo
    from .mosaic.ready_gallery import MakeMatcher
    from .pipeline import Progress


_log = logging.getLogger("livemosaic")

# The options of a run that `mosaic_frames` takes beside those of mosaics and galleries.
_MORE = {"area", "outside", "capture", "reconnect", "start", "end", "duration", "alpha", "fps"}
_OF_FRAMES = [it for it in OPTIONS if it.group in ("mosaic", "gallery") or it.name in _MORE]

_INPUT, _OUTPUT = f"{PATH}, or a Source", f"{PATH}, or a Sink"


def render(
    input: str | Path | Source,
    *outputs: str | Path | Sink,
    gallery: GallerySpec = "photos",
    on_progress: Callable[[Progress], None] | None = None,
    **options: object,
) -> dict[str, Any]:
    """Make a mosaic of an input, for one or more outputs.

    Parameters
    ----------
    input : as `livemosaic run` takes it, or your own `Source`
    outputs : as `livemosaic run` takes them, or your own `Sink`; a window needs the main thread
    gallery : a `Gallery`, or what `open_gallery` takes
    on_progress : called about ten times a second on this thread
    options : the options of `livemosaic run` by name, such as tint=0.5, size=(1280, 720), fps=25,
        codec="libx265", overwrite=True

    Returns
    -------
    the statistics that `livemosaic run --json` prints

    Raises
    ------
    UsageError : options or outputs make no sense, or an output exists
    SourceError, SinkError, GalleryError : the run failed; unfinished outputs are removed

    Examples
    --------
    >>> import livemosaic
    >>> statistics = livemosaic.render("pattern:320x240@25", "null", tint=0.5, duration=0.2)
    >>> statistics["frames_in"]
    5
    """
    if not outputs:
        raise UsageError("render: there is no output; name one, such as out.mp4")
    take("on_progress", on_progress, Callable | None, "a function")
    chosen = _options(
        options,
        input=input.name if isinstance(input, Source) else path_text("input", input, _INPUT),
        outputs=[path_text("output", it, _OUTPUT) for it in outputs if not isinstance(it, Sink)],
    )
    if not isinstance(input, Source):
        check_input(chosen.input)
    destinations: list[Destination] = [
        *parse_outputs(chosen),
        *(_OwnSink.of(output) for output in outputs if isinstance(output, Sink)),
    ]
    if chosen.resume or chosen.cluster is not None:
        return _render_film(chosen, destinations, gallery, on_progress)
    with contextlib.ExitStack() as undo:
        if isinstance(input, Source):
            undo.callback(input.close)
            source = part_of(input, chosen)
        else:
            source = undo.enter_context(open_input(chosen, destinations))
        pipeline = open_pipeline(source, destinations, chosen, undo, gallery=gallery)
        undo.pop_all()  # the pipeline closes everything from here on
    pipeline.run(on_tick=on_progress)
    return pipeline.report()


def _render_film(
    options: RunOptions,
    destinations: Sequence[Destination],
    gallery: GallerySpec,
    on_progress: Callable[[Progress], None] | None,
) -> dict[str, Any]:
    """As `render`, in segments."""
    from .cluster.film import Film, FilmProgress
    from .pipeline.report import Progress

    def tell(progress: FilmProgress) -> None:
        if on_progress is not None and progress.phase == "rendering":
            on_progress(Progress(frames_in=progress.frames, frames_out=progress.frames))

    with Film(options, destinations, gallery=gallery) as film:
        film.run(tell)
    return film.report()


@dataclass(frozen=True, kw_only=True)
class _OwnSink(Destination):
    """A sink that the caller has opened."""

    sink: Sink

    @classmethod
    def of(cls, sink: Sink) -> _OwnSink:
        latest_only = sink.latest_only
        return cls(name=sink.name, sink=sink, is_display=latest_only, for_screen=latest_only)

    def open(self, info: StreamInfo, context: RunContext) -> Sink:
        return self.sink


def mosaic_frames(
    source: str | Path | Source | Iterable[Frame | NDArray[Any] | Image],
    gallery: GallerySpec = "photos",
    *,
    rgb: bool = False,
    matcher: MakeMatcher | None = None,
    **options: object,
) -> Generator[Frame, None, None]:
    """Yield the mosaic of each frame.

    The frames of a file, or of arrays, come as fast as the caller takes them. A live source drops
    the frames that come while the caller is busy.

    Parameters
    ----------
    source : an input as `livemosaic run` takes it, a `Source`, or frames: `Frame` objects, arrays
        uint8 (height, width, 3) BGR, or Pillow images
    gallery : a `Gallery`, or what `open_gallery` takes
    rgb : arrays are RGB
    matcher : your own; see `Mosaic`
    options : the options of `livemosaic run` for mosaics and galleries by name, such as tint=0.5;
        area and outside; for an input also capture, reconnect, start, end, duration, alpha, and fps
        for a numbered sequence

    Yields
    ------
    frames with the times of the input's; `Frame.to_bgr` and `Frame.to_rgb` give an array, which is
        not changed later

    Raises
    ------
    UsageError : an option makes no sense, or a frame is none
    SourceError, GalleryError : the input or the gallery cannot be opened or read

    Examples
    --------
    >>> import livemosaic
    >>> frames = livemosaic.mosaic_frames("pattern:320x240@25", scale=1, tile=8, tint=0.5)
    >>> frame = next(frames)
    >>> frame.to_bgr().shape, frame.time_s
    ((240, 320, 3), 0.0)
    >>> frames.close()
    """
    take("source", source, str | Path | Iterable, "an input, a Source, or frames")
    is_input = isinstance(source, str | Path)
    text = path_text("source", source) if is_input else ""
    chosen = _options(options, _OF_FRAMES, input=text)
    read = read_outside(chosen.outside)
    gallery = open_gallery(gallery, recipe=chosen.recipe, rgb=rgb)
    mosaic = Mosaic(gallery, chosen.mosaic, rgb=rgb, matcher=matcher)
    finder, face_finder = AreaFinder(None, _log.warning, read), FacesFinder(None)
    state = LiveState(chosen.mosaic, area=chosen.area, outside=chosen.outside)

    def area_of(frame: Frame) -> Area | None:
        grid = mosaic.plan(frame.width, frame.height)
        return finder.area_of(frame, state, (grid.width, grid.height))

    def frames() -> Generator[Frame, None, None]:
        with contextlib.ExitStack() as undo:
            items: Iterable[object]
            if isinstance(source, str | Path):
                items = undo.enter_context(open_input(chosen))
            else:
                items = source
            for number, item in enumerate(items):
                if isinstance(item, TrackPacket | StatusEvent):
                    continue
                if not isinstance(item, Frame):
                    item = Frame.from_bgr(to_array(item, rgb=rgb), pts=number)
                faces = face_finder.faces_in(item, state)
                yield mosaic.process(item, area=area_of(item), faces=faces)

    return frames()


def _options(
    values: Mapping[str, object], table: Iterable[Option] = OPTIONS, **places: Any
) -> RunOptions:
    """The options of a run, by the names of the table or of the fields.

    Raises
    ------
    OptionError : an option does not take its value
    TypeError : there is no such option
    """
    known = {name: it for it in table for name in (it.name, it.field) if it.group != "program"}
    if unknown := values.keys() - known.keys():
        raise unknown_options(unknown, known, known)
    for name, value in values.items():
        with as_written({known[name].field: name}):
            known[name].check(value)
    given = {known[name]: value for name, value in values.items() if value is not None}
    return resolve({it.name: it.read(value) for it, value in given.items()}, **places)
