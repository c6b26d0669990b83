"""Films with noise in their sound: is every output whole, in bounded time and memory?

    nice python -m bench.fuzz.noisy_sound [--films 60] [--seed 0] [--keep FOLDER]

Film number N has the same bytes in every run with the same seed. `--keep` stores the films that
fail. The exit code is 1 if one does.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from livemosaic.media.ffmpeg import av

from .driver import command, empty, forked, warm_folder

# Encoder, its options, and container.
KINDS = [
    *(("aac", container) for container in ("ts", "mp4", "mkv", "flv", "mov")),
    *(("mp2", container) for container in ("ts", "avi", "mkv", "mpg")),
    *(("libmp3lame", container) for container in ("avi", "mp4", "mkv", "ts")),
    *(("ac3", container) for container in ("ts", "mkv", "mp4", "avi")),
    *(("eac3", container) for container in ("ts", "mp4", "mkv")),
    *(("libopus", container) for container in ("webm", "mkv", "ts", "mp4")),
    *(("flac", container) for container in ("mkv", "mp4")),
    *(("alac", container) for container in ("mov", "mp4")),
    *(("pcm_s16le", container) for container in ("avi", "mov", "mkv")),
    *(("vorbis", "mkv"), ("wmav2", "asf"), ("adpcm_ms", "avi")),
]
SIZE, RATE, SECONDS = (96, 64), 25, 3
OUTPUTS = ("out.mp4", "out.mkv", "out.webm")


def make(path: Path, encoder: str, *, seconds: int = SECONDS) -> None:
    """A film with a tone."""
    with av.open(str(path), "w") as container:
        codec = {".webm": "libvpx", ".flv": "libx264"}.get(path.suffix, "mpeg4")
        video: Any = container.add_stream(codec, rate=RATE)
        video.width, video.height = SIZE
        video.codec_context.gop_size = 5
        sound: Any = container.add_stream(encoder, rate=48000, options={"strict": "-2"})
        sound.bit_rate = 128_000
        sound.codec_context.layout = "stereo"
        for number in range(RATE * seconds):
            picture = av.VideoFrame.from_ndarray(
                np.full((SIZE[1], SIZE[0], 3), number * 3 % 256, np.uint8), format="rgb24"
            )
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(picture))
            start = number * 48000 // RATE
            wave = np.sin(np.arange(start, start + 48000 // RATE) * 2 * np.pi * 440 / 48000) * 0.3
            frame = av.AudioFrame.from_ndarray(
                np.tile(wave.astype(np.float32), (2, 1)), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(video.encode(None))


def sound_places(path: Path) -> tuple[bytearray, list[tuple[int, int]]]:
    """The bytes of a film, and where in them its sound is, as offset and length."""
    data = bytearray(path.read_bytes())
    places = []
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        if path.suffix == ".ts":
            for at in range(0, len(data) - 187, 188):
                if (data[at + 1] & 0x1F) << 8 | data[at + 2] == sound.id:
                    places.append((at + 4, 184))
            return data, places
        at = 0
        for packet in container.demux(sound):
            found = data.find(bytes(packet), at) if packet.size else -1
            if found >= 0:
                places.append((found, packet.size))
                at = found + packet.size
    return data, places


def spoil(path: Path, chance: random.Random) -> None:
    """Change bytes of the sound: few or many, in some packets or all."""
    data, places = sound_places(path)
    share, most = chance.choice((0.02, 0.1, 0.5, 1.0)), chance.choice((1, 4, 64))
    for at, size in places:
        if chance.random() < share:
            for _ in range(chance.randint(1, most)):
                # Every second change is in the header of a packet.
                within = min(size, 12) if chance.random() < 0.5 else size
                data[at + chance.randrange(within)] = chance.randrange(256)
    path.write_bytes(data)


def make_spoilt(film: Path, encoder: str, chance: random.Random) -> int:
    make(film, encoder)
    spoil(film, chance)
    return 0


def problems(film: Path, folder: Path) -> list[str]:
    """Run the program with a film, and say how it failed."""
    options = ["-y", "--size", "32x32", "--columns", "4", "--no-config"]
    outcome = command(folder, ["run", film.name, *OUTPUTS, *options])
    found = outcome.problems()
    lost = forked(
        folder, lambda: sum((not is_whole(Path(name))) << n for n, name in enumerate(OUTPUTS))
    )
    found += [f"lost {name}" for n, name in enumerate(OUTPUTS) if lost.code >> n & 1]
    if outcome.code and not found:
        found.append(f"exit code {outcome.code}")
    return found


def is_whole(path: Path) -> bool:
    """Whether all pictures are there; the last may be missing in a container of the input."""
    try:
        with av.open(str(path)) as container:
            seen = sum(packet.size > 0 for packet in container.demux(video=0))
    except (OSError, ValueError):
        return False
    return seen >= RATE * SECONDS - 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the films that fail")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    with warm_folder() as folder:
        for number in range(args.films):
            encoder, ending = KINDS[number % len(KINDS)]
            film = folder / f"{number}-{encoder}.{ending}"
            chance = random.Random(args.seed * 1_000_003 + number)
            made = forked(folder, partial(make_spoilt, film, encoder, chance))
            if made.code:
                counts[f"not made: {encoder} in {ending}"] += 1
                continue
            found = problems(film, folder)
            if found:
                counts.update(found)
                print(f"{film.name}: {', '.join(found)}", flush=True)
                if args.keep is not None:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(film, args.keep)
            empty(folder)
    print(f"{args.films} films:", ", ".join(f"{n} {text}" for text, n in counts.items()) or "well")
    sys.exit(1 if any(not text.startswith("not made") for text in counts) else 0)


if __name__ == "__main__":
    main()
