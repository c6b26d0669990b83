"""Many small photos for tests of scale: crops of large pictures, each a file of its own.

    python bench/crops.py PICTURES FOLDER [--px 32] [--least-deviation 12]

Each picture is halved again and again and cut along a grid; those with nothing in them are left
out. Wallpapers serve: from Debian's packages mate-backgrounds, plasma-workspace-wallpapers,
gnome-backgrounds, ukui-wallpapers and lomiri-wallpapers-* come some 300,000.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PER_FOLDER = 2000


def pictures_in(folder: Path) -> Iterator[U8]:
    """The pictures below a folder by name, each once: (height, width, 3) BGR."""
    seen: set[int] = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        picture = cv2.imread(str(path))
        if picture is not None and (digest := hash(picture.tobytes())) not in seen:
            seen.add(digest)
            yield np.asarray(picture, np.uint8)


def crops_of(picture: U8, px: int, least_deviation: float) -> Iterator[U8]:
    """The crops of a picture, (px, px, 3), those of the whole size first."""
    while min(picture.shape[:2]) >= px:
        rows, columns = picture.shape[0] // px, picture.shape[1] // px
        whole = picture[: rows * px, : columns * px].reshape(rows, px, columns, px, 3)
        for crop in whole.transpose(0, 2, 1, 3, 4).reshape(-1, px, px, 3):
            if cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).std() >= least_deviation:
                yield crop
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--least-deviation", type=float, default=12.0)
    args = parser.parse_args()
    made = pictures = 0
    for picture in pictures_in(args.pictures):
        pictures += 1
        for crop in crops_of(picture, args.px, args.least_deviation):
            folder = args.folder / f"{made // PER_FOLDER:04}"
            if made % PER_FOLDER == 0:
                folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{made:06}.jpg"), crop, [cv2.IMWRITE_JPEG_QUALITY, 95])
            made += 1
    print(f"{made} crops of {pictures} pictures in {args.folder}")


if __name__ == "__main__":
    main()
