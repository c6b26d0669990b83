"""Films with noise in their sound: is every output whole, in bounded time and memory?

    nice python bench/fuzz/noisy_sound.py [--films 60] [--seed 0] [--keep FOLDER]

Film number N has the same bytes in every run with the same seed. `--keep` stores the films that
fail. The exit code is 1 if one does.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from livemosaic.media.ffmpeg import av  # noqa: E402

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
MAX_S, MAX_MB = 30, 1000


def make(path: Path, encoder: str) -> None:
    """A film with a tone."""
    with av.open(str(path), "w") as container:
        codec = {".webm": "libvpx", ".flv": "libx264"}.get(path.suffix, "mpeg4")
        video: Any = container.add_stream(codec, rate=RATE)
        video.width, video.height = SIZE
        video.codec_context.gop_size = 5
        sound: Any = container.add_stream(encoder, rate=48000, options={"strict": "-2"})
        sound.bit_rate = 128_000
        sound.codec_context.layout = "stereo"
        for number in range(RATE * SECONDS):
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


def problems(film: Path, folder: Path) -> list[str]:
    """Run the program with a film, and say how it failed."""
    outputs = [folder / name for name in OUTPUTS]
    command = [sys.executable, "-m", "livemosaic", "run", str(film), *map(str, outputs), "-y"]
    began = time.monotonic()
    with (folder / "messages").open("w+") as messages:
        child = subprocess.Popen(
            [*command, "--size", "96x64", "--columns", "12", "--no-config"],
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        while True:
            done, status, usage = os.wait4(child.pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - began > 10 * MAX_S:
                child.kill()
            time.sleep(0.02)
        child.returncode = os.waitstatus_to_exitcode(status)
        messages.seek(0)
        text = messages.read()
    found = []
    if "internal error" in text or "Traceback" in text or "Exception ignored" in text:
        found.append("internal error")
    if usage.ru_utime + usage.ru_stime > MAX_S:  # on a machine that does nothing else
        found.append(f"over {MAX_S} s")
    if usage.ru_maxrss * 1024 / 1e6 > MAX_MB:
        found.append(f"over {MAX_MB} MB")
    found += [f"lost {path.suffix}" for path in outputs if not is_whole(path)]
    if child.returncode and not found:
        found.append(f"exit code {child.returncode}")
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(args.films):
            encoder, ending = KINDS[number % len(KINDS)]
            film = folder / f"{number}-{encoder}.{ending}"
            try:
                make(film, encoder)
            except (av.error.FFmpegError, ValueError) as error:
                counts[f"not made: {encoder} in {ending}: {error}"] += 1
                continue
            spoil(film, random.Random(args.seed * 1_000_003 + number))
            found = problems(film, folder)
            if found:
                counts.update(found)
                print(f"{film.name}: {', '.join(found)}", flush=True)
                if args.keep is not None:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    film.rename(args.keep / film.name)
            for path in folder.iterdir():
                path.unlink()
    print(f"{args.films} films:", ", ".join(f"{n} {text}" for text, n in counts.items()) or "well")
    sys.exit(1 if any(not text.startswith("not made") for text in counts) else 0)


if __name__ == "__main__":
    main()
