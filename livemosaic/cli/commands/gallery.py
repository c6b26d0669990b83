"""The subcommand `gallery`: build, info, show, add, remove, refresh, verify.

Only what argparse needs is imported here; the rest when a command runs, so that --help is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import GalleryError, OptionError, UsageError, counted
from ...gallery.recipe import Recipe
from ...option import options_of
from ..arguments import add_options, completed_as_file
from ..console import photos_bar, print_error, print_json, print_lines, print_notes
from ..signals import Interrupts

if TYPE_CHECKING:
    from ...cluster.engine import Engine
    from ...gallery.build import BuildReport
    from ...gallery.change import ChangeReport
    from ...gallery.gallery import Gallery

_Run = Callable[[argparse.Namespace, Interrupts], None]

MAX_LISTED = 20  # files that could not be read; without -v, a number stands for the others

_GALLERY_HELP = "photos, emoji, a gallery file, or a folder of photos"


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "gallery",
        help="build and inspect galleries of photos",
        description="Builds and inspects galleries of photos.",
    )
    parser.set_defaults(run=lambda *_: parser.print_help())  # without a command
    own = parser.add_subparsers(dest="gallery_command", metavar="COMMAND")

    def command(name: str, run: _Run, help: str, description: str) -> argparse.ArgumentParser:
        parser = own.add_parser(name, help=help, description=description, **settings)
        parser.set_defaults(run=run)
        return parser

    def add_gallery(parser: argparse.ArgumentParser, help: str = _GALLERY_HELP) -> None:
        completed_as_file(parser.add_argument("gallery", metavar="GALLERY", help=help))

    def add_galleries(parser: argparse.ArgumentParser, several: str = "several, as one") -> None:
        help = f"{_GALLERY_HELP}; or {several}"
        completed_as_file(parser.add_argument("gallery", nargs="+", metavar="GALLERY", help=help))

    def add_paths(parser: argparse.ArgumentParser, yes: str) -> None:
        completed_as_file(
            parser.add_argument("paths", nargs="+", metavar="PATH", help="folders, files or globs")
        )
        parser.add_argument("-y", action="store_true", dest="yes", help=yes)
        add_quiet(parser)

    def add_readers(parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("options for many photos")
        group.add_argument(
            "--cluster",
            metavar="CLUSTER",
            help="read the photos with Dask's workers: local or local:N for processes of this "
            "machine, or tcp://HOST:PORT of a scheduler",
        )
        completed_as_file(
            group.add_argument(
                "--shards",
                metavar="FOLDER",
                help="keep the parts of the gallery in this folder, so that the next build reads "
                "only parts with changed photos (default: beside the gallery until it is whole)",
            )
        )

    def add_quiet(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="no progress, no summary")

    build = command("build", _build, "make a gallery of photos", "Makes a gallery file of photos.")
    build.add_argument(
        "-o", "--output", required=True, metavar="NAME.gallery", help="the file to write"
    )
    add_paths(build, "replace NAME.gallery if it exists")
    add_readers(build)
    add_options(build, table=options_of(Recipe))

    info = command("info", _info, "show statistics of a gallery", "Shows statistics of a gallery.")
    add_galleries(info)
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.add_argument(
        "--diagnose",
        action="store_true",
        help="also find out which colours the photos lack, and which photos would help",
    )
    completed_as_file(
        info.add_argument(
            "--for",
            dest="judged_for",
            metavar="FILE",
            help="diagnose for a picture or a video (default: the included clip)",
        )
    )

    show = command(
        "show",
        _show,
        "make a contact sheet of a gallery's clusters",
        "Makes a contact sheet of a gallery's clusters, a web page or a picture.",
    )
    add_galleries(show)
    sheet = "sheet.html or sheet.png (default: the gallery's name with .html)"
    show.add_argument("-o", "--output", metavar="SHEET", help=sheet)
    show.add_argument("-y", action="store_true", dest="yes", help="replace SHEET if it exists")

    add = command(
        "add",
        _add,
        "build a gallery file again with more photos",
        "Builds a gallery file again from its photos and more, with the same options.",
    )
    add_gallery(add, "a gallery file")
    add_paths(add, "go on although photos of the gallery are gone")
    add_readers(add)

    remove = command(
        "remove",
        _remove,
        "leave photos out of a gallery file",
        "Leaves photos out of a gallery file. No photo is read, or deleted.",
    )
    add_gallery(remove, "a gallery file")
    completed_as_file(
        remove.add_argument(
            "paths", nargs="+", metavar="PATH", help="photos, folders, videos or globs"
        )
    )
    add_quiet(remove)

    refresh = command(
        "refresh",
        _refresh,
        "bring a gallery file up to date with its photos",
        "Reads photos that changed again, and leaves out those that are gone.",
    )
    add_gallery(refresh, "a gallery file")
    refresh.add_argument(
        "-y",
        action="store_true",
        dest="yes",
        help="also leave out photos whose folder is gone, empty or cannot be read",
    )
    add_quiet(refresh)

    verify = command(
        "verify",
        _verify,
        "read whole gallery files, and find damage",
        "Reads whole gallery files, and verifies all of their checksums.",
    )
    add_galleries(verify, "several, one after another")
    add_quiet(verify)


def run(args: argparse.Namespace, interrupts: Interrupts) -> int:
    args.run(args, interrupts)
    return 0


def _build(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.build import build_gallery
    from ...gallery.file_writer import refuse_to_replace

    texts = {known: getattr(args, known.name) for known in options_of(Recipe)}
    options = {known.field: known.read(text) for known, text in texts.items() if text is not None}
    mirror = not options.pop("no_mirror", False)
    if args.output == "-":
        raise UsageError("-: a gallery cannot be piped; name a file, such as my.gallery")
    refuse_to_replace(args.output)
    _check_new(args.output, args.yes)
    with _readers(args, args.paths, args.output, interrupts) as readers:
        report = build_gallery(args.paths, args.output, mirror=mirror, **readers, **options)
    _print_report(report, args)


def _info(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.report import gallery_info, info_lines

    gallery = _open(args.gallery)
    info = gallery_info(gallery)
    lines = [] if args.json else info_lines(info)
    if args.diagnose or args.judged_for is not None:
        from dataclasses import asdict

        from ...diagnosis import CLIP, diagnose_gallery, diagnosis_lines

        found = diagnose_gallery(gallery, CLIP if args.judged_for is None else args.judged_for)
        info["diagnosis"] = asdict(found)
        lines += diagnosis_lines(found)
    if args.json:
        print_json(info)
    else:
        print_lines(lines)


def _show(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.report import contact_sheet_html, contact_sheet_png

    if args.output and Path(args.output).suffix.lower() not in (".html", ".htm", ".png"):
        raise UsageError(f"{args.output!r}: a contact sheet's name ends in .html or .png")
    gallery = _open(args.gallery)
    output = Path(args.output or f"{gallery.name}.html")
    _check_new(output, args.yes)
    if output.exists() and any(_is_file(photo, output) for photo in gallery.sources.photos()):
        raise UsageError(f"{output}: it is a photo of the gallery; choose another name with -o")
    interrupts.result = output
    write = contact_sheet_png if output.suffix.lower() == ".png" else contact_sheet_html
    write(gallery, output)
    print_notes([f"{output}: contact sheet of the gallery {gallery.name}"])


def _is_file(path: str, other: Path) -> bool:
    """Whether both paths are of one file."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # a stranger's gallery may name anything
        return False


def _add(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.build import build_gallery
    from ...gallery.builtin import BUILTIN
    from ...gallery.file_writer import refuse_gallery
    from ...gallery.gallery import Gallery
    from ...gallery.photo_paths import find_photos
    from ...gallery.video_frames import photo_exists

    if args.gallery in BUILTIN:
        raise UsageError(
            f"{args.gallery!r} is a built-in gallery, which nothing can be added to; build your "
            "own with: livemosaic gallery build PHOTOS... -o my.gallery"
        )
    gallery = Gallery.open(args.gallery)
    for path in args.paths:
        refuse_gallery(path)
    before = gallery.sources.photos()
    gone = [photo for photo in before if not photo_exists(photo)]
    if gone and not args.yes:
        # Their drive may not be mounted; the tiles would be lost.
        raise GalleryError(
            f"{len(gone)} of {len(before)} photos of {args.gallery!r} are gone (the first: "
            f"{gone[0]!r}); put them back, or add -y to go on without them"
        )
    # There have to be some.
    find_photos(args.paths, videos=gallery.options.get("frames_of_videos", 0) > 0)
    left = set(before) - set(gone)
    paths = [*(photo for photo in before if photo in left), *args.paths]
    with _readers(args, [gallery.sources.root, *args.paths], args.gallery, interrupts) as readers:
        report = build_gallery(
            paths,
            args.gallery,
            tile_px=gallery.tile_px,
            mirror=gallery.mirror,
            **readers,
            **gallery.options,
        )
    _print_list("gone", gone, args)
    _print_report(report, args)


@contextlib.contextmanager
def _readers(
    args: argparse.Namespace, paths: Sequence[str], output: str, interrupts: Interrupts
) -> Iterator[dict[str, Any]]:
    """The arguments of `build_gallery` about who reads the photos, and how far they are."""
    from ...cluster.galleries import shard_makers
    from ...gallery.shard_folder import shard_folder

    interrupts.result, interrupts.kept = output, shard_folder(output, args.shards)

    def note(engine: Engine | None) -> None:
        interrupts.pipeline = engine

    run = shard_makers(args.cluster, paths, output, shards=args.shards, on_run=note)
    with run as makers, photos_bar(quiet=args.quiet) as progress:
        yield {"progress": progress, "makers": makers, "shards": args.shards}


def _remove(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.change import remove_photos

    interrupts.result = args.gallery
    with photos_bar(quiet=args.quiet) as progress:
        report = remove_photos(args.gallery, args.paths, progress=progress)
    _print_change(report, args, "removed")


def _refresh(args: argparse.Namespace, interrupts: Interrupts) -> None:
    from ...gallery.change import refresh_gallery

    interrupts.result = args.gallery
    with photos_bar(quiet=args.quiet) as progress:
        report = refresh_gallery(args.gallery, missing_folders=args.yes, progress=progress)
    _print_change(report, args, "gone")


def _verify(args: argparse.Namespace, interrupts: Interrupts) -> None:
    damaged: list[GalleryError] = []
    for name in args.gallery:
        try:
            gallery = _open([name])
            with photos_bar(quiet=args.quiet, unit="blocks") as progress:
                gallery.verify(progress)
        except GalleryError as error:
            damaged.append(error)
        else:
            if not args.quiet:
                size = f"{counted(len(gallery), 'tile')}, {gallery.bytes / 1e6:.1f} MB"
                print_notes([f"{name}: whole, {size}"])
    for it in damaged[:-1]:
        print_error(it)
    if damaged:
        raise damaged[-1]


def _print_change(report: ChangeReport, args: argparse.Namespace, removed: str) -> None:
    if not args.quiet:
        _print_list(removed, report.removed, args)
        _print_list("changed", report.changed, args)
        if not report.removed and not report.changed:
            print_notes(["no photo has changed"])
    _print_report(report.gallery, args)


def _open(names: Sequence[str]) -> Gallery:
    from ...gallery import open_gallery

    try:
        with photos_bar(quiet=False) as progress:
            return open_gallery(names, progress=progress)
    except OptionError as error:  # here a gallery is no option
        raise UsageError(f"gallery {error.value}: {error.problem}") from None


def _check_new(output: str | Path, yes: bool) -> None:
    if os.path.lexists(output) and not yes:
        raise UsageError(f"{output}: it exists already; add -y to replace it")


def _print_report(report: BuildReport, args: argparse.Namespace) -> None:
    unreadable = [f"{path}: {reason}" for path, reason in report.unreadable]
    folders = any(os.path.isdir(path) for path, _ in report.unreadable)
    _print_list("could not be read", unreadable, args, or_folders=folders)
    if args.quiet:
        return
    for text, paths in report.left_out():
        print_notes([text, *(f"  {path}" for path in paths if _is_verbose(args))])
    print_notes(
        [
            f"{report.path}: {counted(report.tiles, 'tile')} of "
            f"{counted(report.photos, 'photo')} in {report.kept} of {report.clusters} clusters, "
            f"{report.bytes / 1e6:.1f} MB, {report.seconds:.1f} s"
        ]
    )


def _print_list(
    what: str, lines: Sequence[str], args: argparse.Namespace, *, or_folders: bool = False
) -> None:
    if not lines:
        return
    shown = lines if _is_verbose(args) else lines[:MAX_LISTED]
    things = ("file", "files") if not or_folders else ("folder", "files or folders")
    notes = [f"{what}: {len(lines)} {things[len(lines) > 1]}"]
    notes += [f"  {line}" for line in shown]
    if len(lines) > len(shown):
        notes.append(f"  ... and {len(lines) - len(shown)} more; -v lists them")
    print_notes(notes)


def _is_verbose(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "verbose", False))
