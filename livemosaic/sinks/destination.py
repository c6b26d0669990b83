"""Where a result goes, and everything that can be wrong with that before a frame is there."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import SinkError, UsageError
from ..media.ffmpeg import sink_error
from ..media.urls import is_url, local_path, public_name, split_url
from .formats import (
    FORMATS,
    NETWORK_TIMEOUT_S,
    PICTURES,
    URL_FORMATS,
    FileOptions,
    Format,
    ending,
    find_codec,
    find_format,
    supported_options,
)
from .virtual_camera_devices import is_virtual_camera

__all__ = ["Destination", "check_target", "distribute_options", "resolve", "resolve_map"]

# Parameters of addresses, by their scheme.
_URL_OPTIONS = {
    # Whole MPEG-TS packets in each datagram, as receivers expect; 7 fit into an Ethernet frame.
    "udp": f"pkt_size={7 * 188}",
    "tcp": f"timeout={NETWORK_TIMEOUT_S * 1_000_000}",  # microseconds, also to connect
}

NUMBER = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True)
class Destination:
    """A target that has been looked at.

    Attributes
    ----------
    name : as shown to a person
    kind : "file" appears when it is whole; "direct" (standard output, an address, a device) is
        written as it comes; "picture" and "pictures" are single image files
    url : path or address
    format : the container, None for pictures
    overwrite : replace a file that is there
    """

    name: str
    kind: Literal["file", "direct", "picture", "pictures"]
    url: str
    format: Format | None = None
    overwrite: bool = False

    @property
    def network(self) -> bool:
        """Whether it is an address."""
        return self.kind == "direct" and is_url(self.url)


def check_target(target: str, *, options: FileOptions) -> None:
    """Refuse what cannot work, before anything is decoded or created.

    Raises
    ------
    UsageError
        unknown ending or codec, codec and container that do not go together, a file that exists
        (without `overwrite`), output equal to input
    SinkError
        a folder, a missing or unwritable parent folder
    """
    if target != "null":
        resolve(target, options=options)


def distribute_options(targets: list[tuple[str, FileOptions]]) -> list[tuple[str, FileOptions]]:
    """Give each of several targets, of the options that one of them takes, those that it takes.

    What none takes stays with all, to be refused. In a window, recordings take them.
    """
    takes = {
        name: supported_options(
            FORMATS["mkv"] if name == "window" else _classify(local_path(name), options).format,
            options,
        )
        for name, options in targets
        if name != "null" and not is_virtual_camera(name)
    }
    shared: set[str] = set().union(*takes.values())
    result = []
    for name, options in targets:
        none: dict[str, Any] = dict.fromkeys(shared - takes.get(name, shared))
        result.append((name, replace(options, **none)))
    return result


def resolve(target: str, *, options: FileOptions) -> Destination:
    """Check `target` as `check_target` does, and say how it is to be written."""
    found = _classify(local_path(target), options)
    if found.format is None:
        if options.codec is not None or options.preset is not None or options.crf is not None:
            raise UsageError(f"{target}: pictures take no --codec, --preset or --crf; leave it out")
    else:
        find_codec(found.format, options, target=found.name)
    if found.kind != "direct":
        _check_path(found, options)
    return replace(found, overwrite=options.overwrite)


def resolve_map(target: str, *, options: FileOptions) -> Destination:
    """Check where a map is to go, as `check_target` does for a picture."""
    target = local_path(target)
    if os.path.isdir(target):
        raise SinkError(f"{target}: it is a folder; name a file in it, such as {target}/map.html")
    if not target.lower().endswith((".html", ".htm")):
        raise UsageError(f"--map {target}: it is a page; give it a name such as map.html")
    found = Destination(target, "file", target)
    _check_path(found, options)
    return replace(found, overwrite=options.overwrite)


def _classify(target: str, options: FileOptions) -> Destination:
    if target == "-":
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("standard output: it is the terminal; pipe it or redirect it")
        format = find_format(options.format or "matroska", target="standard output")
        return _pipe(Destination("standard output", "direct", "pipe:1", format))
    if is_url(target):
        name = public_name(target)
        parts = split_url(target)
        scheme, path = parts.scheme.lower(), parts.path
        by_scheme = None if options.format else URL_FORMATS.get(scheme)
        format = by_scheme or find_format(options.format or ending(path), target=name)
        return Destination(name, "direct", _completed(target, scheme), format)
    if os.path.isdir(target):
        raise SinkError(f"{target}: it is a folder; name a file in it, such as {target}/out.mp4")
    suffix = ending(target)
    if suffix in PICTURES:
        return Destination(
            target, "pictures" if NUMBER.search(Path(target).name) else "picture", target
        )
    # `--format` is for what has no ending: beside `-` there may be a file among the outputs.
    named = suffix if suffix in FORMATS or options.format is None else options.format
    format = find_format(named, target=target)
    if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
        # A device or a pipe has no other name.
        return _pipe(Destination(target, "direct", target, format))
    return Destination(target, "file", target, format)


def _pipe(target: Destination) -> Destination:
    """Refuse what has to go back in what is written."""
    assert target.format is not None
    if target.format.muxer in ("mp4", "mov"):
        cure = "--format matroska" if target.url == "pipe:1" else "a name that ends in .mkv or .ts"
        raise UsageError(
            f"{target.name}: a pipe cannot hold {target.format.muxer}, which is begun when all is "
            f"known; use {cure}"
        )
    return target


def _completed(url: str, scheme: str) -> str:
    """The address with what FFmpeg takes from there only, unless the person says it."""
    option = _URL_OPTIONS.get(scheme)
    if option is None or f"{option.partition('=')[0]}=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}{option}"


def _check_path(target: Destination, options: FileOptions) -> None:
    # A link is followed, so that the file it leads to is replaced, not the link.
    path = Path(os.path.realpath(target.url))
    if options.source_name is not None and _same(target.url, local_path(options.source_name)):
        raise UsageError(f"{target.name}: input and output are the same; name another output")
    try:
        existing = _numbered(path) if target.kind == "pictures" else [path] * path.exists()
    except OSError as error:  # the name is too long
        raise sink_error(target.name, error) from error
    if existing and not options.overwrite:
        raise UsageError(f"{existing[0]}: it exists already; add -y to replace it")
    if not path.parent.is_dir():
        raise SinkError(f"{target.name}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SinkError(
            f"{target.name}: the folder {path.parent} cannot be written to; choose another"
        )


def _numbered(pattern: Path) -> list[Path]:
    """The pictures that are there under the names that `pattern`, such as o_%04d.png, gives."""
    number = NUMBER.search(pattern.name)
    assert number is not None
    before, behind = pattern.name[: number.start()], pattern.name[number.end() :]
    found = []
    for path in pattern.parent.glob(f"{glob.escape(before)}*{glob.escape(behind)}"):
        digits = path.name[len(before) : len(path.name) - len(behind)]
        if digits.strip().isdecimal() and number[0] % int(digits) == digits:
            found.append(path)
    return found


def _same(target: str, source: str) -> bool:
    try:
        return os.path.samefile(target, source)
    except OSError:
        return os.path.realpath(target) == os.path.realpath(source)
