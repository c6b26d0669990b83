"""From the options of a run to its pipeline: opens the source, the mosaic and the sinks."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from . import (
    web,
    window,  # noqa: F401  (registers its kind of output)
)
from .blocking import call_interruptibly
from .control.capture_files import CaptureFiles
from .control.ignored_options import Circumstances, ignored_options
from .errors import OVERWRITE, OptionError, UsageError
from .media.paths import ending

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .control.options import RunOptions
    from .control.osc import OscReceiver
    from .control.state import Control
    from .gallery import Gallery, GallerySpec
    from .gallery.live import LiveGallery
    from .gallery.watch import FolderWatcher
    from .media.frame import StreamInfo
    from .mosaic.grid import Grid
    from .mosaic.settings import MosaicSettings
    from .option import Texts
    from .pipeline import Pipeline
    from .sinks import Destination, Sink
    from .sources import Source
    from .web.listener import Listener

_log = logging.getLogger("livemosaic")

# A preview begins this much before its picture. Even after a cut it is not the film's picture then:
# cells that keep their tile at the cut have the film's past, and others depend on them.
_RUN_UP_S = 10.0
# A player shows times in milliseconds, and most pictures begin between two of them.
_PREVIEW_S = 0.001
# Containers round durations, and tracks differ in length.
_ROUNDED_S = 1.0

_SAME_SHAPE = 0.97  # of a side; a smaller share is visible, unlike that of 1366x768 for 16:9


def parse_outputs(options: RunOptions) -> list[Destination]:
    """Parse the outputs and the map, and refuse what cannot work."""
    from .media.urls import public_name
    from .sinks import FileOptions, parse_output
    from .sinks.base import ENCODER_OPTIONS, distribute_options
    from .sinks.last_frame import LastFrameDestination
    from .sinks.photo_map import parse_map

    file_options = FileOptions(
        codec=options.codec,
        preset=options.preset,
        crf=options.crf,
        overwrite=options.overwrite,
        source_name=options.input,
        keep_hdr=options.hdr == "keep",
    )
    _refuse_photos(options)
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
        destinations.append(parse_map(options.map, file_options, paths=options.map_paths))
    if options.preview is not None:
        destinations = [LastFrameDestination.of(it) for it in destinations]
    if options.display is not None and any(it.has_keys for it in destinations):
        from .window.monitor import monitor

        monitor(options.display)
    _refuse_shared_outputs(destinations, json=options.json)
    try:
        for destination in destinations:
            destination.check()
    except UsageError as error:
        if OVERWRITE not in str(error) or len(options.outputs) < 2:
            raise
        source = public_name(options.input)
        raise UsageError(f"{error}; only the first name, {source}, is the input") from None
    return destinations


def _refuse_photos(options: RunOptions) -> None:
    """Refuse outputs that a shell has made of `--gallery *.jpg`: all but the first match.

    A single one that may be replaced is an output that was meant.
    """
    photos = [options.gallery] if isinstance(options.gallery, str) else options.gallery
    endings = {ending(photo) for photo in photos if os.path.isfile(photo)} - {"", "gallery"}
    several = len(options.outputs) > 1
    for output in options.outputs if several or not options.overwrite else ():
        if ending(output) in endings and os.path.isfile(output):
            pattern = os.path.join(os.path.dirname(output), f"*.{ending(output)}")
            raise UsageError(
                f"{output}: it exists, and would be an output: --gallery takes only one name; to "
                f"give it all such photos, put the pattern in quotes: --gallery '{pattern}'"
                + ("" if several else f"; or {OVERWRITE} to replace it")
            )


def _refuse_shared_outputs(destinations: Sequence[Destination], *, json: bool) -> None:
    """Refuse two outputs, or an output and the statistics, in the same place."""
    from .sinks.base import STANDARD_OUTPUT

    locations = [destination.location for destination in destinations if destination.location]
    for destination in destinations:
        if locations.count(destination.location) > 1:
            raise UsageError(f"{destination.name}: the same output is given twice; leave one out")
    to_stdout = STANDARD_OUTPUT in locations
    if json and to_stdout:
        raise UsageError("--json and the output - both want standard output; leave one out")
    if sys.stdout is None and (json or to_stdout):
        raise UsageError("standard output is closed; leave out --json and the output -")


def default_output(input: str, info: StreamInfo) -> str:
    """The output of a run that names none: a window for a live input, a file beside a file.

    The file has the input's name with `-mosaic`, and its ending if that is an output's; else a
    video is .mp4 and a picture is .png. `UsageError` if the input has no place for it.
    """
    from .media.paths import is_sequence
    from .media.urls import is_url, local_path, public_name
    from .sinks.formats import BESIDE_PICTURES, BESIDE_VIDEOS

    if info.live:
        return "window"
    local = local_path(input)
    path = Path(local)
    is_picture = info.still or is_sequence(path)
    if input == "-" or is_url(local):
        name = "standard input" if input == "-" else public_name(input)
        example = "mosaic.png" if is_picture else "mosaic.mp4"
        raise UsageError(f"{name}: there is no output; name one, such as {example}")
    endings = BESIDE_PICTURES if is_picture else BESIDE_VIDEOS
    suffix = path.suffix if ending(local) in endings else f".{endings[0]}"
    return str(path.with_name(f"{path.stem}-mosaic{suffix}"))


def expected_outputs(options: RunOptions) -> list[Destination]:
    """The output of a run that names none, if its input is a video file. So the source knows what
    to keep, before it can say what it is."""
    from .media.frame import StreamInfo
    from .sinks import FileOptions, parse_output

    try:
        output = default_output(options.input, StreamInfo(2, 2, still=options.preview is not None))
    except UsageError:  # an address or standard input, from which nothing is kept
        return []
    return [parse_output(output, FileOptions(codec=options.codec, keep_hdr=options.hdr == "keep"))]


def open_input(
    options: RunOptions, destinations: Sequence[Destination] = (), *, threads: int = 0
) -> Source:
    """Open the source; a display shows a single picture without an end.

    `threads` are those of the decoder, see `open_source`.
    """
    from .sources import open_source
    from .sources.still import LoopedStill

    on_demand = _is_on_demand(options, destinations)
    source = call_interruptibly(
        lambda: open_source(
            options.input,
            rate=options.fps,
            threads=threads,
            reconnect=options.reconnect,
            capture=options.capture,
            alpha=options.alpha,
            keep_depth=any(it.keeps_depth for it in destinations),
            keep_hdr=any(it.keeps_hdr for it in destinations),
            on_demand=on_demand,
        )
    )
    try:
        if source.info.still and any(it.is_display for it in destinations):
            return LoopedStill(source)
        return part_of(source, options)
    except BaseException:
        source.close()
        raise


def _is_on_demand(options: RunOptions, destinations: Sequence[Destination]) -> bool:
    """Whether the camera is open only while it is watched; a settings file may ask in vain."""
    from .sources import input_kind

    if not options.on_demand:
        return False
    if input_kind(options.input) == "camera.webcam":
        if any(it.tells_readers for it in destinations):
            return True
        if "on_demand" in options.explicit:
            problem = (
                "no output tells whether a program reads it, as only vcam on Linux does; add vcam, "
                "or leave the option out"
            )
            raise OptionError("on_demand", True, problem)
    return "on_demand" in options.explicit  # so that the input is refused


def part_of(source: Source, options: RunOptions) -> Source:
    """The part of a source that the options choose; live inputs and pictures have none."""
    from .sources.part import PartSource

    start_s, end_s, preview_s = options.start, options.end, options.preview
    if source.info.live and preview_s is not None:
        raise OptionError("preview", preview_s, f"{source.name} is live; name a video file")
    if source.info.live or source.info.still:
        return source
    if preview_s is None:
        if start_s is None and end_s is None:
            return source
        return PartSource(source, start_s=start_s, end_s=end_s)
    lasts_s = source.info.duration_s
    if lasts_s is not None and preview_s > lasts_s + _ROUNDED_S:
        problem = f"{source.name} lasts {lasts_s:.1f} s; choose an earlier time"
        raise OptionError("preview", preview_s, problem)
    start_s = max(start_s or 0.0, preview_s - _RUN_UP_S)
    return PartSource(source, start_s=start_s, end_s=preview_s + _PREVIEW_S)


def open_pipeline(
    source: Source,
    destinations: Sequence[Destination],
    options: RunOptions,
    undo: ExitStack,
    *,
    gallery: GallerySpec | None = None,
    on_photos: Callable[[int, int], None] | None = None,
    on_page: Callable[[str, str], None] | None = None,
    named: Callable[[str], str] = str,
    started_s: float | None = None,
) -> Pipeline:
    """Open the mosaic and the sinks of a run, and connect them to its source.

    Parameters
    ----------
    source : see `open_input`
    destinations : see `parse_outputs`
    undo : gets the calls that close everything, until the pipeline does that
    gallery : instead of the options' gallery
    on_photos : called as on_photos(done, total) while a gallery is built
    on_page : called with the addresses of the control page, when there is one, and of the upload
        page, empty without guests
    named : how warnings name an option
    started_s : when the run began, `time.monotonic()`
    """
    from .control.state import named_picture, read_outside
    from .gallery import is_of_photos, open_gallery
    from .jit import kernels_are_cached
    from .media.deep import is_wide
    from .mosaic.match import MATCHERS
    from .mosaic.mosaic import Mosaic
    from .pipeline import Pipeline, output_info
    from .pipeline.area import warm_up_area
    from .pipeline.away import AwayPicture
    from .sinks.atomic_file import report_recordings
    from .sinks.base import AUTO, RunContext, are_for_screen
    from .sources import input_kind

    info = source.info
    for destination in destinations:
        destination.check_stream(info)
    is_preview = options.preview is not None
    osc: OscReceiver | None = None
    if options.osc is not None and not info.still and not is_preview:
        from .control.osc import OscReceiver

        osc = OscReceiver(options.osc)
        undo.callback(osc.close)
    realtime = (options.realtime and not is_preview) or (
        # On displays only, a file runs at its own pace; for files, as fast as possible.
        not info.live and all(it.is_display for it in destinations)
    )
    live = info.live or realtime
    listener = None
    if options.web is not None and not info.still and not is_preview:
        listener = web.listen(options.web, guests=live and options.guests is not None)
        undo.callback(listener.close)
    folders = _watched_folders(options)
    guests = None if listener is None else _open_guests(listener, options)
    if guests is not None:
        folders = list(dict.fromkeys([*folders, str(guests)]))
    gallery = options.gallery if gallery is None else gallery
    if gallery is options.gallery and "gallery" in options.explicit:
        _warn_of_builtin_names(options.gallery)
    opens = functools.partial(open_gallery, recipe=options.recipe)
    builds = is_of_photos(gallery)
    gallery = opens(gallery, progress=on_photos)
    live_gallery: LiveGallery | None = None
    watcher: FolderWatcher | None = None
    if folders and live:
        from .gallery.live import LiveGallery
        from .gallery.watch import FolderWatcher

        live_gallery = LiveGallery(gallery, recipe=options.recipe)
        watcher = FolderWatcher(live_gallery, folders)
        gallery = live_gallery.snapshot
    settings = dataclasses.replace(
        options.mosaic,
        for_screen=are_for_screen(destinations),
        full_size=info.still,
        thorough=info.still and MATCHERS[options.mosaic.match].thorough is not None,
        unhurried=not live and not info.still,
    )
    mosaic = Mosaic(gallery, settings)
    if not kernels_are_cached():
        _log.info("compiling for this processor, once: the first run takes some seconds more")
    grid = mosaic.plan(info.width, info.height)
    _tell_of_cells(options.mosaic, grid, gallery, named)
    _warn_of_another_shape(options.mosaic.size, info.width, info.height)
    rate: Fraction | None = None if info.still else options.fps
    output = output_info(info, grid, rate=rate)
    with_keys = next((it for it in destinations if it.has_keys), None)
    has_page = listener is not None
    is_controlled = has_page or osc is not None or with_keys is not None
    # Keys, settings files, a control page and OSC keep the output's size.
    if live or is_controlled:
        mosaic.update_settings(mosaic.settings.for_grid(grid))
    lasting = [it.name for it in destinations if it.location and not it.has_keys]
    control = _make_control(mosaic.settings.for_grid(grid), options, lasting)
    circumstances = Circumstances(
        kind=input_kind(options.input),
        still=info.still,
        live=info.live,
        paced=live,
        # By keys, by the control page, by OSC, or by a settings file that is watched.
        interactive=is_controlled or (live and options.watches_files),
        window=with_keys is not None,
        encodes=any(it.encodes for it in destinations),
        builds_gallery=builds or bool(folders),
        alpha=info.alpha,
        hdr=info.deep is not None and is_wide(info.deep.colour),
    )
    for name, reason in ignored_options(options, circumstances).items():
        _log.warning("%s has no effect: %s", named(name), reason)
    if live:
        deep_colour = None if info.deep is None else info.deep.colour
        mosaic.warm_up(info.width, info.height, info.colour, deep_colour)
        warm_up_area(grid.width)  # a key may choose one
        if live_gallery is not None:
            live_gallery.warm_up()
    away = None if options.away is None else named_picture("away", str(options.away))
    outside = read_outside(options.outside)
    if options.area == "everything":  # it may not be needed, and takes memory
        outside.clear()
    context = RunContext(rate=rate, mosaic=mosaic, control=control, display=options.display)
    sinks: list[Sink] = []
    for destination in destinations:
        sinks.append(destination.open(output, context))
        undo.callback(sinks[-1].abort)
    viewers: list[Sink] = []
    if listener is not None:
        catalogue = web.catalogue(
            live_gallery, folders if live else (), guests, auto_approve=options.auto_approve
        )
        viewers.append(web.open_page(listener, control, output.sample_aspect_ratio, catalogue))
        undo.callback(viewers[0].abort)
        if on_page is not None:
            on_page(listener.url, listener.guest_url)
    capture_files = CaptureFiles(output, (with_keys or destinations[0]).options)
    if is_controlled:  # recordings are in the current folder
        report_recordings(Path())
        if options.codec == AUTO:
            capture_files.choose_codec()
    return Pipeline(
        source,
        mosaic,
        sinks,
        rate=rate,
        duration_s=None if is_preview else options.duration,
        realtime=realtime,
        max_latency_s=options.max_latency / 1e3,
        started_s=started_s,
        control=control,
        open_gallery=opens,
        live_gallery=live_gallery,
        watcher=watcher,
        save_picture=capture_files.save_picture,
        open_recording=capture_files.open_recording,
        name_poster=capture_files.name_poster,
        away=None if away is None else AwayPicture(away),
        outside=outside,
        viewers=viewers,
        osc=osc,
    )


def _watched_folders(options: RunOptions) -> list[str]:
    """The folders of `--watch`; `OptionError` if one is none."""
    if options.watch is None:
        return []
    from .gallery.watch import check_folders

    return check_folders([options.watch] if isinstance(options.watch, str) else options.watch)


def _open_guests(listener: Listener, options: RunOptions) -> Path | None:
    """The folder of guests' photos, if there are guests."""
    if not listener.guest_token:
        return None
    guests = web.open_guests(str(options.guests))
    if listener.is_local:
        _log.warning(
            "guests: phones cannot reach this address; use --web 0.0.0.0:%d", listener.port
        )
    return guests


def _warn_of_builtin_names(names: Texts) -> None:
    """Warn if a file or folder here has the name of a built-in gallery that is used."""
    from .gallery import BUILTIN

    for name in [names] if isinstance(names, str) else names:
        if name in BUILTIN and os.path.exists(name):
            _log.warning(
                "%s: the built-in gallery is used; for the folder or file here write ./%s",
                name, name,
            )  # fmt: skip


def _tell_of_cells(
    settings: MosaicSettings, grid: Grid, gallery: Gallery, named: Callable[[str], str]
) -> None:
    """Say if the cells are others than those that were asked for, or too few."""
    from .mosaic.match import MATCHERS

    if settings.columns not in (None, grid.columns):
        _log.info(
            "%d columns instead of %d: tiles have even sides, here %d of %d pixels",
            grid.columns, settings.columns, grid.tile_width, grid.width,
        )  # fmt: skip
    photos, least = int(gallery.source_photo.max()) + 1, settings.min_uses
    if least * photos > grid.cells and "min_uses" in MATCHERS[settings.match].uses:
        _log.warning(
            "%s %d: %d cells are too few for %d photos; take smaller tiles or fewer photos",
            named("min_uses"), least, grid.cells, photos,
        )  # fmt: skip


def _warn_of_another_shape(size: tuple[int, int] | None, width: int, height: int) -> None:
    """Warn if the size stretches the picture so much that it can be seen."""
    if size is None:
        return
    from .media.frame import even

    scale = min(size[0] / width, size[1] / height)
    kept = [even(side * scale) for side in (width, height)]
    if any(side < _SAME_SHAPE * asked for side, asked in zip(kept, size, strict=True)):
        _log.warning(
            "the size %dx%d stretches the picture; %dx%d keeps its shape", *size, *kept,
        )  # fmt: skip


def _make_control(settings: MosaicSettings, options: RunOptions, lasting: list[str]) -> Control:
    from .control.options import profile_settings
    from .control.state import Control, LiveState
    from .gallery import BUILTIN

    state = LiveState(
        settings,
        options.gallery,
        area=options.area,
        outside=options.outside,
        mirror=options.mirror,
        privacy=options.privacy,
        freeze=options.freeze,
        spotlight=options.spotlight,
        fullscreen=options.fullscreen,
        figures=options.figures,
        qr=options.qr,
        on_close=options.on_close,
        max_latency_s=options.max_latency / 1e3,
    )
    return Control(
        state,
        # For the number keys: the gallery of the start, then the included ones.
        galleries=tuple(dict.fromkeys((options.gallery, *BUILTIN))),
        profiles=profile_settings(options),
        profile=options.profile,
        lasting=lasting,
    )
