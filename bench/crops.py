"""Many small photos for tests of scale: crops of large pictures, each a file of its own.

    python bench/crops.py PICTURES FOLDER [--px 32] [--least-deviation 12]

Each picture is halved again and again and cut along a grid; those with nothing in them are left
out. Wallpapers serve: from Debian's packages mate-backgrounds, plasma-workspace-wallpapers,
gnome-backgrounds, ukui-wallpapers and lomiri-wallpapers-* come some 300,000.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PER_FOLDER = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--least-deviation", type=float, default=12.0)
    args = parser.parse_args()
    px, made, pictures = args.px, 0, 0
    seen: set[int] = set()
    for path in sorted(args.pictures.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        picture = cv2.imread(str(path))
        if picture is None or (digest := hash(picture.tobytes())) in seen:
            continue
        seen.add(digest)
        pictures += 1
        while min(picture.shape[:2]) >= px:
            rows, columns = picture.shape[0] // px, picture.shape[1] // px
            whole = picture[: rows * px, : columns * px].reshape(rows, px, columns, px, 3)
            crops = whole.transpose(0, 2, 1, 3, 4).reshape(-1, px, px, 3)
            for crop in crops:
                if cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).std() < args.least_deviation:
                    continue
                folder = args.folder / f"{made // PER_FOLDER:04}"
                if made % PER_FOLDER == 0:
                    folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{made:06}.jpg"), crop, [cv2.IMWRITE_JPEG_QUALITY, 95])
                made += 1
            half = (picture.shape[1] // 2, picture.shape[0] // 2)
            picture = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)
    print(f"{made} crops of {pictures} pictures in {args.folder}")


if __name__ == "__main__":
    main()
