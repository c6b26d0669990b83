"""The verb `gallery` of the command line: build, info, show, add.

Only what argparse needs is imported here; the rest when a command runs, so that --help is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import GalleryError, UsageError
from ..console import counting_bar, print_json

if TYPE_CHECKING:
    from ...gallery.build import BuildReport

__all__ = ["add_parser", "run"]

LISTED = 20  # of the files that could not be read; a count says the rest


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the verb to the result of `ArgumentParser.add_subparsers`; `settings` are of each of its
    commands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "gallery",
        help="build a gallery of photos, and look into one",
        description="Build a gallery of photos, and look into one.",
    )
    verbs = parser.add_subparsers(dest="gallery_command", required=True, metavar="COMMAND")

    build = verbs.add_parser(
        "build",
        help="make a gallery of photos",
        description="Make a gallery of photos.",
        **settings,
    )
    build.add_argument("paths", nargs="+", metavar="PATH", help="folders, files or globs")
    build.add_argument("-o", "--output", required=True, metavar="NAME.gallery")
    build.add_argument("--tile", type=int, metavar="PX", help="side of a tile (default 64)")
    build.add_argument(
        "--fit",
        choices=("crop", "stretch"),
        help="the largest square in the middle (default), or the whole photo distorted",
    )
    _add_options(build)
    build.add_argument(
        "--no-mirror", action="store_true", help="never show these tiles mirrored (letters, signs)"
    )
    _add_running(build, "replace NAME.gallery if it exists")

    info = verbs.add_parser("info", help="figures about a gallery", **settings)
    info.add_argument("gallery", metavar="GALLERY", help=_GALLERY_HELP)
    info.add_argument("--json", action="store_true", help="one JSON object on standard output")

    show = verbs.add_parser("show", help="a contact sheet of a gallery's clusters", **settings)
    show.add_argument("gallery", metavar="GALLERY", help=_GALLERY_HELP)
    show.add_argument(
        "-o",
        "--output",
        metavar="SHEET",
        help="sheet.html or sheet.png (default: the gallery's name with .html)",
    )
    show.add_argument("-y", action="store_true", dest="yes", help="replace SHEET if it exists")

    add = verbs.add_parser(
        "add",
        help="build a gallery file again with more photos",
        description="Build a gallery file again from the photos it was made of, and more.",
        **settings,
    )
    add.add_argument("gallery", metavar="GALLERY", help="a gallery file")
    add.add_argument("paths", nargs="+", metavar="PATH", help="folders, files or globs")
    _add_running(add, "go on although photos of the gallery are gone")


_GALLERY_HELP = "photos, emoji, a gallery file, or a folder of photos"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clusters", type=int, metavar="N", help="at most (default 500)")
    parser.add_argument(
        "--drop-percentile",
        type=float,
        metavar="P",
        help="drop clusters as small as the smallest P percent (default 35, 0 for none)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of all randomness (default 0)")
    parser.add_argument(
        "--crops",
        type=int,
        metavar="N",
        help="tiles of parts of each photo besides the whole, 0 to 5 (default: 5 for fewer than "
        "2,000 photos, else 0)",
    )


def _add_running(parser: argparse.ArgumentParser, yes: str) -> None:
    parser.add_argument("-y", action="store_true", dest="yes", help=yes)
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def run(args: argparse.Namespace) -> int:
    """Do what the parsed arguments ask for; the exit code. Raises LivemosaicError."""
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "build": _build,
        "info": _info,
        "show": _show,
        "add": _add,
    }
    commands[args.gallery_command](args)
    return 0


def _build(args: argparse.Namespace) -> None:
    from ...gallery.build import build_gallery

    if os.path.lexists(args.output) and not args.yes:
        raise UsageError(f"{args.output!r} exists already: say -y to replace it")
    given = {
        "tile_px": args.tile,
        "fit": args.fit,
        "clusters": args.clusters,
        "drop_percentile": args.drop_percentile,
        "seed": args.seed,
        "crops": args.crops,
    }
    options = {key: value for key, value in given.items() if value is not None}
    with counting_bar(quiet=args.quiet, unit=" photos") as progress:
        report = build_gallery(
            args.paths, args.output, mirror=not args.no_mirror, progress=progress, **options
        )
    _tell(report, quiet=args.quiet)


def _info(args: argparse.Namespace) -> None:
    from ...gallery import open_gallery
    from ...gallery.report import gallery_info, info_text

    with counting_bar(quiet=False, unit=" photos") as progress:
        gallery = open_gallery(args.gallery, progress=progress)
    info = gallery_info(gallery)
    if args.json:
        print_json(info)
    else:
        sys.stderr.write(info_text(info))


def _show(args: argparse.Namespace) -> None:
    from ...gallery import open_gallery
    from ...gallery.report import contact_sheet_html, contact_sheet_png

    if args.output and Path(args.output).suffix.lower() not in (".html", ".htm", ".png"):
        raise UsageError(f"a sheet {args.output!r}: name it .html or .png")
    with counting_bar(quiet=False, unit=" photos") as progress:
        gallery = open_gallery(args.gallery, progress=progress)
    output = Path(args.output or f"{gallery.name}.html")
    if os.path.lexists(output) and not args.yes:
        raise UsageError(f"{str(output)!r} exists already: say -y to replace it")
    write = contact_sheet_png if output.suffix.lower() == ".png" else contact_sheet_html
    write(gallery, output)
    sys.stderr.write(f"the clusters of {gallery.name} are in {output}\n")


def _add(args: argparse.Namespace) -> None:
    from ...gallery.build import build_gallery
    from ...gallery.builtin import BUILTIN
    from ...gallery.file_format import Gallery
    from ...gallery.photo_paths import find_photos

    if args.gallery in BUILTIN:
        raise UsageError(
            f"the embedded gallery {args.gallery!r} cannot be added to: build your own with: "
            "livemosaic gallery build PHOTOS... -o my.gallery"
        )
    gallery = Gallery.open(args.gallery)
    before = gallery.sources.photos()
    gone = [photo for photo in before if not os.path.exists(photo)]
    if gone and not args.yes:
        # It may be a drive that is not mounted; the tiles would be lost.
        raise GalleryError(
            f"{len(gone)} of {len(before)} photos of {args.gallery!r} are gone (the first: "
            f"{gone[0]!r}): put them back, or say -y to go on without them"
        )
    more = find_photos(args.paths)
    with counting_bar(quiet=args.quiet, unit=" photos") as progress:
        report = build_gallery(
            [*(photo for photo in before if photo not in set(gone)), *more],
            args.gallery,
            tile_px=gallery.tile_px,
            mirror=gallery.mirror,
            progress=progress,
            **gallery.options,
        )
    _listing("gone", gone)
    _tell(report, quiet=args.quiet)


def _tell(report: BuildReport, *, quiet: bool) -> None:
    """Say what a build did. What could not be read is said even when quiet."""
    bad = [f"{name}: {reason}" for name, reason in report.unreadable]
    _listing("could not be read", bad)
    if not quiet:
        sys.stderr.write(
            f"{report.path}: {report.tiles:,} tiles of {report.photos:,} photos in "
            f"{report.kept} of {report.clusters} clusters, {report.bytes / 1e6:.1f} MB, "
            f"{report.seconds:.1f} s\n"
        )


def _listing(what: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    sys.stderr.write(f"{what}: {len(lines)} file{'s' if len(lines) > 1 else ''}\n")
    for line in lines[:LISTED]:
        sys.stderr.write(f"  {line}\n".encode(errors="replace").decode())
    if len(lines) > LISTED:
        sys.stderr.write(f"  ... and {len(lines) - LISTED} more\n")
