"""From options to a pipeline: its source, its mosaic and its sinks, opened and joined."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..blocking import call_interruptibly
from ..errors import UsageError
from .capture_files import CaptureFiles
from .console import counting_bar
from .signals import Interrupts

if TYPE_CHECKING:
    from ..control.options import RunOptions
    from ..control.state import Control
    from ..mosaic.grid import Grid
    from ..mosaic.mosaic import Mosaic
    from ..pipeline import Pipeline
    from ..sinks import FileOptions
    from ..sinks.base import Sink
    from ..sources.base import Source

__all__ = ["checked_outputs", "is_watched", "join", "open_input"]

_log = logging.getLogger("livemosaic")

_SAME_SHAPE = 0.97  # of a side: less than this is seen, as 1366x768 for 16:9 is not


def is_watched(output: str) -> bool:
    """Whether an output is for somebody who watches now."""
    return output in ("window", "vcam") or output.startswith("vcam:")


def _is_for_screens(outputs: Sequence[str]) -> bool:
    """Whether a size that is not given is that of what somebody watches.

    A stream as wide as a file takes several times the bits and comes later, and so large a GIF is
    tens of megabytes for each second.
    """
    from ..media.urls import is_url, local_path
    from ..sinks.formats import ending

    paths = [local_path(name) for name in outputs]
    return any(is_watched(path) or is_url(path) for path in paths) or all(
        ending(path) == "gif" for path in paths
    )


def checked_outputs(options: RunOptions) -> list[tuple[str, FileOptions]]:
    """The outputs, each with what a file among them is written by; refused if that cannot work."""
    from ..sinks import FileOptions, check_target
    from ..sinks.destination import distribute_options, resolve_map

    file_options = FileOptions(
        codec=options.codec,
        preset=options.preset,
        crf=options.crf,
        overwrite=options.overwrite,
        source_name=options.input,
    )
    outputs = distribute_options(
        [
            # --format is of standard output only: a file's ending says what it is.
            (
                name,
                dataclasses.replace(file_options, format=options.format if name == "-" else None),
            )
            for name in options.outputs
        ]
    )
    for name, its_options in outputs:
        if not is_watched(name):
            check_target(name, options=its_options)
    if options.map is not None:
        resolve_map(options.map, options=file_options)
    return outputs


def open_input(options: RunOptions) -> Source:
    """The source; a picture that is watched is one that lasts."""
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
    if source.info.still and any(map(is_watched, options.outputs)):
        return LoopedStill(source)
    return source


def _open_mosaic(options: RunOptions, *, still: bool) -> Mosaic:
    from ..gallery import open_gallery
    from ..mosaic.mosaic import Mosaic

    with counting_bar(quiet=options.quiet, when=options.progress, unit=" photos") as progress:
        gallery = open_gallery(options.gallery, progress=progress)
    settings = dataclasses.replace(
        options.mosaic,
        for_screen=_is_for_screens(options.outputs),
        full_size=still,
        thorough=still and options.mosaic.match == "layout",
    )
    return Mosaic(gallery, settings)


def join(
    source: Source,
    outputs: list[tuple[str, FileOptions]],
    options: RunOptions,
    interrupts: Interrupts,
    undo: contextlib.ExitStack,
    started_s: float,
) -> Pipeline:
    """Open the mosaic and the outputs, and make the pipeline; `undo` closes what was opened."""
    from ..gallery import open_gallery
    from ..jit import kernels_are_cached
    from ..pipeline import Pipeline, output_info
    from ..sinks import open_sink

    info = source.info
    if options.map is not None and not info.still:
        raise UsageError(
            f"--map {options.map}: a map is of one picture that goes to files; "
            f"{options.input} is a video or is shown live, so leave it out"
        )
    mosaic = _open_mosaic(options, still=info.still)
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
        not info.live and all(is_watched(name) for name in options.outputs)
    )
    live = info.live or realtime
    rate: Fraction | None = None if info.still else options.fps
    output = output_info(info, grid, rate=rate)
    control = (
        _make_control(mosaic, options.gallery, grid)
        if live or "window" in options.outputs
        else None
    )
    if live:
        mosaic.warm_up(info.width, info.height, info.colour)
    sinks: list[Sink] = []
    with interrupts.held():  # half of a sink could not be undone
        for name, its_options in outputs:
            if name == "window":
                assert control is not None
                from ..window.window import WindowSink

                sinks.append(WindowSink(output, control=control))
            else:
                sinks.append(open_sink(name, output, options=its_options, rate=rate))
            undo.callback(sinks[-1].abort)
        if options.map is not None:
            sinks.append(_open_map(options, outputs[0][1], mosaic, grid))
            undo.callback(sinks[-1].abort)
    # Of several outputs, that which keys are pressed in.
    capture_files = CaptureFiles(output, dict(outputs).get("window", outputs[0][1]))
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


def _open_map(options: RunOptions, file_options: FileOptions, mosaic: Mosaic, grid: Grid) -> Sink:
    from ..sinks.destination import resolve_map
    from ..sinks.photo_map import PhotoMapSink

    return PhotoMapSink(
        resolve_map(options.map or "", options=file_options),
        title=Path(options.input).name,
        grid=grid,
        gallery=mosaic.gallery,
        cells=lambda: (mosaic.tile_ids, mosaic.flips),
    )


def _make_control(mosaic: Mosaic, gallery: str, grid: Grid) -> Control:
    from ..control.state import Control, LiveState
    from ..gallery import BUILTIN

    mosaic.change(mosaic.settings.for_grid(grid))
    # The number keys: the gallery of the start, then those that everybody has.
    galleries = dict.fromkeys((gallery, *BUILTIN))
    return Control(LiveState(mosaic.settings, gallery), galleries=tuple(galleries))
