"""What decides about a film: its plan and its segments are named by digests of that."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..control.options import OPTIONS, RunOptions, values_of
from ..control.state import is_picture_file
from ..media.paths import is_sequence, numbered_files
from ..media.urls import local_path
from ..sinks.file import FileDestination
from .requirements import Facts

# Options that change no picture of a film: those of live runs, windows and programs, which may come
# from a settings file, and those that the plan or the digests of the galleries have.
_OTHER_GROUPS = ("gallery", "input", "program")
_OTHERS = (
    *("gallery", "watch", "guests", "auto_approve"),
    *("fullscreen", "display", "figures", "qr", "on_close"),
    *("fps", "format", "preview", "map", "map_paths", "overwrite", "resume", "cluster"),
)
OF_PICTURES = tuple(
    it.name for it in OPTIONS if it.group not in _OTHER_GROUPS and it.name not in _OTHERS
)


# The name, size and time of change of each file of a film.
Stamp = list[tuple[str, int, int]]


def key_of_plan(
    options: RunOptions, destination: FileDestination, facts: Facts, stamp: Stamp
) -> list[Any]:
    """All that decides about the plan."""
    part = [str(it) for it in (options.start, options.end, options.duration, options.fps)]
    kept = [options.alpha, destination.keeps_depth, destination.keeps_hdr]
    return [facts, stamp, part, kept]


def key_of_pictures(
    options: RunOptions,
    destination: FileDestination,
    facts: Facts,
    *,
    galleries: Sequence[str],
    images: Mapping[str, str],
) -> dict[str, Any]:
    """All that decides about the pictures, but the plan.

    Parameters
    ----------
    galleries : the digest of each
    images : the digest of each that an option names, by the option
    """
    values = values_of(options)
    return {
        "options": {name: repr(values[name]) for name in OF_PICTURES},
        "galleries": galleries,
        "images": images,
        "output": destination.format.muxer,
        "facts": facts,
    }


def digest_of(things: Any) -> str:
    text = json.dumps(things, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def named_images(options: RunOptions) -> Iterator[tuple[str, Path]]:
    """The image files that options name, by the option."""
    if is_picture_file(options.outside):
        yield "outside", Path(options.outside)
    if options.away is not None:
        yield "away", options.away


def absolute_options(options: RunOptions) -> RunOptions:
    """The options with absolute paths: a worker has another current folder."""
    outside = options.outside
    return replace(
        options,
        input=str(Path(local_path(options.input)).absolute()),
        outside=os.path.abspath(outside) if is_picture_file(outside) else outside,
        away=None if options.away is None else options.away.absolute(),
        explicit=frozenset(),
    )


def stamp_of(input: str) -> Stamp:
    """What tells whether a film, or a numbered picture of one, is another one by now."""
    path = Path(local_path(input))
    files = numbered_files(path).values() if is_sequence(path) else [path]
    return [(it.name, it.stat().st_size, it.stat().st_mtime_ns) for it in files]
