"""Spoilt inputs of every kind: does the program refuse or use them, in bounded time and memory?

    nice python -m bench.fuzz [--minutes 10] [--seed 0] [--only films,galleries] [--keep FOLDER]

Input N of a kind has the same bytes in every run with the same seed; `--number N` tries it alone.
A finding is a crash, an internal error, an exit code other than 0, 1 and 2, more than 30 s or 1 GB,
an output that is missing or not whole, or a file that is left behind. `--keep` stores the inputs
of findings. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from livemosaic.control.options import OPTIONS
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av

from .driver import ROOT, command, empty, forked, warm_folder
from .noisy_sound import KINDS as FILMS
from .noisy_sound import make
from .spoil import forge_gallery, spoil, value

CORPUS = ROOT / "tests" / "corpus"
FILM_ENDINGS = (".mkv", ".ts", ".mp4", ".avi", ".mov", ".webm", ".flv", ".mpg", ".asf", ".y4m")
RUN = ["-y", "--size", "32x32", "--columns", "4", "--no-config"]
OUTPUTS = ("out.mp4", "out.mkv", "out.mov", "out.avi", "out.gif", "out.y4m", "null", "out.ts")
NAMES = ("a.jpg", "b c.png", "\x1b[31m.jpg", "-x.png", "%04d.jpg", "é\udcff.png", "d.txt", ".e.jpg")


class Seeds:
    """The files that are spoilt: the corpus, and some that are made."""

    def __init__(self, folder: Path) -> None:
        made = forked(folder, _make_seeds)
        assert made.code == 0, made.text
        files = [path for path in (*CORPUS.rglob("*"), *folder.iterdir()) if path.is_file()]
        files = sorted(path for path in files if path.suffix not in (".md", ".gallery", ".txt"))
        self.films = [path for path in files if path.suffix in FILM_ENDINGS]
        self.pictures = [path for path in files if path.suffix not in FILM_ENDINGS]
        self.gallery = (folder / "seed.gallery").read_bytes()
        self.bytes = {path: path.read_bytes() for path in files}

    def spoilt(self, paths: list[Path], chance: random.Random) -> tuple[bytes, str]:
        """A spoilt file, and an ending, which is not always its own."""
        path = chance.choice(paths)
        others = [self.bytes[other] for other in paths]
        ending = (path if chance.random() < 0.9 else chance.choice(paths)).suffix
        return spoil(self.bytes[path], others, chance), ending


def _make_seeds() -> int:
    for encoder, ending in FILMS[::3]:
        make(Path(f"{encoder}.{ending}"), encoder, seconds=1)
    make(Path("vorbis.webm"), "libopus", seconds=1)
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8), "RGBA"
    )
    for ending in ("webp", "tif", "ico", "tga", "gif", "png", "jp2", "avif"):
        picture.save(f"picture.{ending}")
    for ending in ("ppm", "pcx", "bmp", "jpg"):
        picture.convert("RGB").save(f"rgb.{ending}")
    from livemosaic.gallery.build import build_gallery

    build_gallery([str(CORPUS / "08-icc"), str(CORPUS / "12-mirrored-exif")], "seed.gallery")
    return 0


# Each writes an input into a folder; the commands to try.


def films(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    data, ending = seeds.spoilt(seeds.films, chance)
    (folder / f"in{ending}").write_bytes(data)
    return [["run", f"in{ending}", chance.choice(OUTPUTS), *RUN]]


def pictures(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    data, ending = seeds.spoilt(seeds.pictures, chance)
    (folder / f"in{ending}").write_bytes(data)
    return [["run", f"in{ending}", chance.choice(("out.png", "out.jpg", "null")), *RUN]]


def galleries(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    change = chance.random() < 0.7
    data = forge_gallery(seeds.gallery, chance) if change else spoil(seeds.gallery, [b"x"], chance)
    (folder / "in.gallery").write_bytes(data)
    shutil.copy(CORPUS / "08-icc" / "p3.png", folder)
    return [
        ["gallery", "info", "in.gallery", "--json"],
        ["run", "p3.png", "out.png", "--gallery", "in.gallery", *RUN],
        chance.choice(
            (
                ["gallery", "show", "in.gallery", "-o", "out.html"],
                ["gallery", "add", "in.gallery", "p3.png"],
            )
        ),
    ]


def settings(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    names = chance.sample([known.name for known in OPTIONS], chance.randint(1, 4))
    lines = []
    for name in names:
        key = chance.choice((name, name, name, name.replace("-", "_"), f'"{name}\\u001b"'))
        text = json.dumps(value(chance)).replace("{", "{ ").replace('": ', '" = ')
        lines.append(f"{key} = {text}")
    data = "\n".join(lines).encode()
    if chance.random() < 0.3:
        data = spoil(data, [b"[a]\nb = 1\n", b"\xff\xfe"], chance)
    (folder / "in.toml").write_bytes(data)
    shutil.copy(CORPUS / "08-icc" / "p3.png", folder)
    return [["run", "p3.png", "out.png", "-y", "--config", "in.toml"]]


def folders(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    _write_pictures(seeds, folder / "in", chance.sample(NAMES, chance.randint(1, 6)), chance)
    if chance.random() < 0.3:
        (folder / "in" / "loop").symlink_to(".")
    return [
        ["gallery", "build", "in", "-o", "out.gallery"],
        ["run", str(CORPUS / "08-icc" / "p3.png"), "out.png", "--gallery", "in", *RUN],
    ]


def sequences(seeds: Seeds, folder: Path, chance: random.Random) -> list[list[str]]:
    ending = chance.choice((".png", ".jpg"))
    _write_pictures(seeds, folder, [f"in_{n:04d}{ending}" for n in range(1, 5)], chance)
    return [["run", f"in_%04d{ending}", chance.choice(OUTPUTS), *RUN]]


def _write_pictures(seeds: Seeds, folder: Path, names: list[str], chance: random.Random) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        data, _ = seeds.spoilt(seeds.pictures, chance)
        whole = seeds.bytes[chance.choice(seeds.pictures)]
        (folder / name).write_bytes(whole if chance.random() < 0.5 else data)


KINDS: tuple[Callable[[Seeds, Path, random.Random], list[list[str]]], ...] = (
    films, pictures, galleries, settings, folders, sequences,
)  # fmt: skip


def check_output(path: Path) -> int:
    """Raise an error if an output is not whole."""
    if path.suffix == ".gallery":
        Gallery.open(path)
    elif path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            image.load()
    elif path.suffix != ".html":
        # FFmpeg does not recognise MPEG-TS of less than ten packets.
        format = "mpegts" if path.suffix == ".ts" else None
        with av.open(str(path), format=format) as container:
            assert any(True for _ in container.decode(video=0)), "no pictures"
    return 0


def problems(folder: Path, commands: list[list[str]]) -> list[str]:
    found = []
    for argv in commands:
        outcome = command(folder, argv)
        here = outcome.problems()
        outputs = list(folder.glob("out.*"))
        if outcome.code == 0 and any(word.startswith("out.") for word in argv) and not outputs:
            here.append("no output")
        for path in outputs:
            check = forked(folder, lambda path=path: check_output(path))  # type: ignore[misc]
            if check.code:
                here.append(f"{path.name} is not whole: {check.text.splitlines()[-1:]}")
            path.unlink()
        here += [f"left behind: {path.name}" for path in folder.rglob("*.part")]
        if here:
            found.append(f"{argv}: {', '.join(here)}\n{outcome.text[-800:]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(kind.__name__ for kind in KINDS))
    parser.add_argument("--number", type=int, help="only this input of each kind")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs of findings")
    args = parser.parse_args()
    kinds = [kind for kind in KINDS if kind.__name__ in args.only.split(",")]
    tried: Counter[str] = Counter()
    findings = number = 0
    with warm_folder() as folder:
        seeds = Seeds(folder)
        end = time.monotonic() + 60 * args.minutes
        while time.monotonic() < end and not (args.number is not None and number):
            for kind in kinds:
                empty(folder)
                which = number if args.number is None else args.number
                chance = random.Random(f"{args.seed} {kind.__name__} {which}")
                commands = kind(seeds, folder, chance)
                if args.keep is not None:
                    saved = args.keep / f"{kind.__name__}-{args.seed}-{which}"
                    shutil.copytree(folder, saved, symlinks=True)
                found = problems(folder, commands)
                tried[kind.__name__] += 1
                findings += bool(found)
                for text in found:
                    print(f"{kind.__name__} {which}: {text}", flush=True)
                if args.keep is not None and not found:
                    shutil.rmtree(saved)
            number += 1
    print(f"{dict(tried)}: {sum(tried.values())} inputs, {findings} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
