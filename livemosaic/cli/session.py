"""From options to a pipeline: its source, its mosaic and its sinks, opened and joined."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from .. import window  # noqa: F401  (registers its kind of output)
from ..blocking import call_interruptibly
from ..errors import UsageError
from .capture_files import CaptureFiles
from .console import counting_bar
from .ignored_options import Circumstances, warn_of_ignored_options
from .signals import Interrupts

if TYPE_CHECKING:
    from ..control.options import RunOptions
    from ..control.state import Control
    from ..mosaic.grid import Grid
    from ..mosaic.mosaic import Mosaic
    from ..pipeline import Pipeline
    from ..sinks import Destination, Sink
    from ..sources.base import Source

__all__ = ["join", "open_input", "parse_outputs"]

_log = logging.getLogger("livemosaic")

_SAME_SHAPE = 0.97  # of a side: less than this is seen, as 1366x768 for 16:9 is not


def parse_outputs(options: RunOptions) -> list[Destination]:
    """Parse the outputs and the map, and refuse what cannot work."""
    from ..sinks import FileOptions, distribute_options, parse_output
    from ..sinks.base import ENCODER_OPTIONS
    from ..sinks.photo_map import parse_map

    file_options = FileOptions(
        codec=options.codec,
        preset=options.preset,
        crf=options.crf,
        overwrite=options.overwrite,
        source_name=options.input,
    )
    # --format is for standard output only: the ending of a file says what the file is.
    stdout_options = dataclasses.replace(file_options, format=options.format)
    destinations = distribute_options(
        [parse_output(it, stdout_options if it == "-" else file_options) for it in options.outputs]
    )
    if not any(it.encodes for it in destinations):
        # Settings files are for many runs: only options that were typed may be wrong here.
        unused = {name for name in ENCODER_OPTIONS if name not in options.explicit}
        destinations = [it.without_options(unused) for it in destinations]
    if options.map is not None:
        destinations.append(parse_map(options.map, file_options))
    _refuse_shared_outputs(destinations, json=options.json)
    for destination in destinations:
        destination.check()
    return destinations


def _refuse_shared_outputs(destinations: Sequence[Destination], *, json: bool) -> None:
    """Refuse two outputs, or an output and the statistics, in the same place."""
    from ..sinks.base import STANDARD_OUTPUT

    locations = [destination.location for destination in destinations if destination.location]
    for destination in destinations:
        if locations.count(destination.location) > 1:
            raise UsageError(f"{destination.name}: the same output is given twice; leave one out")
    to_stdout = STANDARD_OUTPUT in locations
    if json and to_stdout:
        raise UsageError("--json and the output - both want standard output; leave one out")
    if sys.stdout is None and (json or to_stdout):
        raise UsageError("standard output is closed; leave out --json and the output -")


def open_input(options: RunOptions, destinations: Sequence[Destination]) -> Source:
    """Open the source; a display shows a single picture without an end."""
    from ..sources import open_source
    from ..sources.still import LoopedStill

    source = call_interruptibly(
        lambda: open_source(
            options.input,
            rate=options.fps,
            reconnect=options.reconnect,
            capture=options.capture,
        )
    )
    if source.info.still and any(it.is_display for it in destinations):
        return LoopedStill(source)
    return source


def _open_mosaic(options: RunOptions, *, for_screen: bool, still: bool) -> Mosaic:
    from ..gallery import open_gallery
    from ..mosaic.mosaic import Mosaic

    with counting_bar(quiet=options.quiet, when=options.progress, unit=" photos") as progress:
        gallery = open_gallery(options.gallery, progress=progress)
    settings = dataclasses.replace(
        options.mosaic,
        for_screen=for_screen,
        full_size=still,
        thorough=still and options.mosaic.match == "layout",
    )
    return Mosaic(gallery, settings)


def join(
    source: Source,
    destinations: Sequence[Destination],
    options: RunOptions,
    interrupts: Interrupts,
    undo: contextlib.ExitStack,
    started_s: float,
) -> Pipeline:
    """Open the mosaic and the outputs, and make the pipeline; `undo` closes what was opened."""
    from ..gallery import open_gallery
    from ..jit import kernels_are_cached
    from ..pipeline import Pipeline, output_info
    from ..sinks import RunContext, are_for_screen
    from ..sources import input_kind

    info = source.info
    for destination in destinations:
        destination.check_stream(info)
    mosaic = _open_mosaic(options, for_screen=are_for_screen(destinations), still=info.still)
    if not kernels_are_cached():
        _log.info("compiling for this processor, once: the first run takes some seconds more")
    grid = mosaic.plan(info.width, info.height)
    if options.mosaic.columns not in (None, grid.columns):
        _log.info(
            "%d columns instead of %d: tiles have even sides, here %d of %d pixels",
            grid.columns, options.mosaic.columns, grid.tile_px, grid.width,
        )  # fmt: skip
    _tell_of_another_shape(options.mosaic.size, info.width, info.height)
    realtime = options.realtime or (
        # To be watched, a file runs at its own pace; to be written as well, as fast as it can.
        not info.live and all(it.is_display for it in destinations)
    )
    live = info.live or realtime
    rate: Fraction | None = None if info.still else options.fps
    output = output_info(info, grid, rate=rate)
    with_keys = next((it for it in destinations if it.has_keys), None)
    control = None
    if live or with_keys is not None:
        control = _make_control(mosaic, options.gallery, grid)
    warn_of_ignored_options(
        options,
        Circumstances(
            kind=input_kind(options.input),
            still=info.still,
            live=info.live,
            paced=live,
            interactive=control is not None,
            encodes=any(it.encodes for it in destinations),
        ),
    )
    if live:
        mosaic.warm_up(info.width, info.height, info.colour)
    context = RunContext(rate=rate, mosaic=mosaic, control=control)
    sinks: list[Sink] = []
    with interrupts.deferred():  # half of a sink could not be undone
        for destination in destinations:
            sinks.append(destination.open(output, context))
            undo.callback(sinks[-1].abort)
    capture_files = CaptureFiles(output, (with_keys or destinations[0]).options)
    return Pipeline(
        source,
        mosaic,
        sinks,
        rate=rate,
        duration_s=options.duration,
        realtime=realtime,
        max_latency_s=options.max_latency / 1e3,
        started_s=started_s,
        control=control,
        open_gallery=open_gallery,
        save_picture=capture_files.save_picture,
        open_recording=capture_files.open_recording,
    )


def _tell_of_another_shape(size: tuple[int, int] | None, width: int, height: int) -> None:
    """Say that the picture is stretched to the size that was asked for, if that can be seen."""
    if size is None:
        return
    from ..media.frame import even

    scale = min(size[0] / width, size[1] / height)
    kept = [even(side * scale) for side in (width, height)]
    if any(side < _SAME_SHAPE * asked for side, asked in zip(kept, size, strict=True)):
        _log.warning(
            "--size %dx%d: the picture is of another shape, and stretched to this one; "
            "--size %dx%d keeps its shape", *size, *kept,
        )  # fmt: skip


def _make_control(mosaic: Mosaic, gallery: str, grid: Grid) -> Control:
    from ..control.state import Control, LiveState
    from ..gallery import BUILTIN

    mosaic.update_settings(mosaic.settings.for_grid(grid))
    # The number keys: the gallery of the start, then those that everybody has.
    galleries = dict.fromkeys((gallery, *BUILTIN))
    return Control(LiveState(mosaic.settings, gallery), galleries=tuple(galleries))
