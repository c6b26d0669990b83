"""The gallery file format: one file that is mapped into memory, versioned and checksummed.

| offset | size | content                                                                      |
|--------|------|------------------------------------------------------------------------------|
| 0      | 8    | magic                                                                        |
| 8      | 4    | format version, u32                                                          |
| 12     | 4    | number of the checksums, u32                                                 |
| 16     | 16   | offset and length of the header, u64 each                                    |
| 32     | 32   | SHA-256 of the checksums and the header, then of bytes 0 to 32               |
| 64     |      | the arrays of `ARRAYS`, each at a multiple of 64 bytes, in C order           |
|        |      | the checksums (CRC-32) of the arrays' blocks, u32 each                       |
|        |      | the header at the end of the file: JSON, UTF-8                               |

| key of the header | content                                                                |
|-------------------|------------------------------------------------------------------------|
| arrays            | of each array its dtype, shape and offset, how many rows are a block,  |
|                   | and the number of its first checksum; may have `OPTIONAL` and `INDEX`  |
| index             | how the search index of `INDEX` was made; missing without one          |
| root              | the folder that the photos' paths belong to                            |
| mirror            | may the tiles be shown mirrored?                                       |
| lettering         | numbers of the photos that are never mirrored; may be missing          |
| options           | how the gallery was built, see `OPTIONS`; with crops null, the tiles   |
|                   | of p photos are p wholes, then crops of colours that those lack        |

All numbers are little endian. The header comes last, so that tiles can be written before their
number is known. Nothing in a gallery file is code (no pickle).

A file of version 2 has neither an index nor blocks: its SHA-256 is of all bytes, 64 to the end,
then 0 to 32. It is verified as a whole, and its index is made whenever it is opened.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError
from ..option import options_of
from .recipe import MAX_TILE_PX, Recipe

FORMAT_VERSION = 3
_WHOLE_VERSION = 2  # is read, too
SUFFIX = ".gallery"

# Dtype and shape of each array, for n tiles of width x height pixels, k clusters and p photos.
ARRAYS = {
    "tiles": ("|u1", "n height width 3"),  # BGR
    "features": ("<f4", "n 125"),  # colour histograms, see histogram.py
    "points": ("|u1", "n 4 4 3"),  # BGR, where in the tile which colour lies
    "texture": ("|u1", "n"),  # see layout_features.py
    "centres": ("<f4", "k 125"),  # the mean histogram of each cluster, largest cluster first
    "labels": ("<i4", "n"),  # the cluster of each tile
    "kept": ("|b1", "k"),  # false for clusters that are too small to be used
    "members_start": ("<i4", "k+1"),  # where in `members` each cluster begins, and the end
    "members": ("<i4", "n"),  # tile numbers, cluster by cluster
    "source_photo": ("<i4", "n"),  # the photo of each tile
    "source_crop": ("<i4", "n 4"),  # left, top, width, height in the photo
    "photo_start": ("<i8", "p+1"),  # where in `photo_path` each photo's path begins, and the end
    "photo_path": ("|u1", "bytes"),  # the paths, UTF-8, relative to the root
}
# Arrays that may be missing, with w uncut photos and h heads.
OPTIONAL = {
    "photo_stamp": ("<i8", "p 2"),  # size and time (ns) of each photo's file, or zeros
    # For tiles of other shapes: photos of which the tiles do not show all.
    "uncut": ("|u1", "w height width 3"),  # BGR, all of a photo, distorted
    "uncut_photo": ("<i4", "w"),  # its number, ascending
    "uncut_crop": ("<i4", "w 4"),  # left, top, width, height in the photo; less of a panorama
    "heads": ("<i4", "h 5"),  # the photo's number, left, top, width, height
}
# Their arrays are most of a file, and few of their rows are read.
PICTURES = ("tiles", "uncut")
LARGE = (*PICTURES, "features")
# Goes up with anything that makes another search index of the same tiles.
INDEX_VERSION = 2
# The search index, with m variants, s slots and c clusters, see `layout_arrays.py`.
INDEX = {
    "index_variant": ("<i4", "m"),
    "index_start": ("<i4", "c+1"),
    "index_codes": ("<f4", "m 28"),
    "index_residual": ("<f4", "m"),
    "index_photo_members": ("<i4", "m"),
    "index_coarse": ("<i2", "s*16"),
    "index_fine": ("<i2", "s*12"),
    "index_details": ("<u2", "s"),
    "index_centres": ("<i2", "c rounded up to 32, *16"),
}
_OPTIONAL_SIZES = {"w": "uncut_photo", "h": "heads"}  # the array whose length each is

# How a gallery was built, so that `gallery add` can build it again.
_ELSEWHERE = {"tile_px", "no_mirror"}  # the tiles' shape, and `mirror` in the header
OPTIONS = {known.field: known for known in options_of(Recipe) if known.field not in _ELSEWHERE}

# Like PNG's: a byte above 127 and both line ends, so that no text file begins like this and a
# transfer that converts line ends is noticed.
_MAGIC = b"\x93LMG\r\n\x1a\n"
SUM = np.dtype("<u4")
_PREFIX = struct.Struct("<8sIIQQ")
START = _PREFIX.size + hashlib.sha256().digest_size  # 64, itself aligned

DAMAGED = "it is damaged or was altered, its checksum does not match"
Refuse = Callable[..., GalleryError]  # makes the error of a problem


def how_to_build(path: str | Path, *, again: bool | None = None) -> str:
    """The fix for a gallery that cannot be used.

    `again` says whether there is a gallery at the path, which may be replaced, or another file,
    such as a photo, which may not; None: there is nothing.
    """
    named = again is not False and str(path).endswith(SUFFIX)
    output = f"{path}{' -y' if again else ''}" if named else f"my{SUFFIX}"
    return f"build it with: livemosaic gallery build PHOTOS... -o {output}"


def is_gallery_file(path: str | Path) -> bool:
    """Whether there is a gallery file at a path, be it damaged; `OSError` if it cannot be read."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class Prefix(NamedTuple):
    """What the first bytes of a file say, and its digest."""

    by_block: bool  # whether there are checksums of blocks
    sums: int  # their number
    begin: int  # where they are, or in version 2 the arrays
    offset: int  # of the header
    digest: str  # SHA-256, another one for any other content


def read_prefix(view: memoryview, refuse: Refuse) -> Prefix:
    """Read the first bytes of a file, and verify all but the arrays that have their checksums."""
    if bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise refuse("it is not a gallery, or its first bytes are damaged", again=False)
    if len(view) < START:
        raise refuse("it is cut off")
    _, version, sums, offset, length = _PREFIX.unpack_from(view)
    if version not in (_WHOLE_VERSION, FORMAT_VERSION):
        raise refuse(
            f"its format is version {version}, this program reads version {FORMAT_VERSION}"
        )
    if offset + length > len(view):
        raise refuse(f"it is cut off: {offset + length - len(view)} bytes are missing")
    by_block = version == FORMAT_VERSION
    begin = offset - sums * SUM.itemsize if by_block else START
    if begin < START or offset + length < len(view):
        raise refuse(DAMAGED)
    digest = hashlib.sha256(view[begin:])
    digest.update(view[: _PREFIX.size])
    if digest.digest() != view[_PREFIX.size : START]:
        raise refuse(DAMAGED)
    return Prefix(by_block, sums if by_block else 0, begin, offset, digest.hexdigest())


def prefix_of(sums: bytes, header: bytes, offset: int) -> bytes:
    """The first bytes of a file with these checksums and this header, at an offset."""
    count = len(sums) // SUM.itemsize
    prefix = _PREFIX.pack(_MAGIC, FORMAT_VERSION, count, offset, len(header))
    return prefix + hashlib.sha256(sums + header + prefix).digest()


def check_arrays(a: dict[str, NDArray[Any]]) -> None:
    """Raise ValueError if the arrays do not fit together, or an index is out of range; add empty
    ones for those that are missing."""
    n, height, width = a["tiles"].shape[:3]
    k, photos = len(a["centres"]), len(a["photo_start"]) - 1
    sizes = {"n": n, "height": height, "width": width, "bytes": len(a["photo_path"])}
    sizes |= {"k": k, "k+1": k + 1, "p": photos, "p+1": photos + 1}
    sizes |= {axis: len(a[name]) if name in a else 0 for axis, name in _OPTIONAL_SIZES.items()}
    for name, (dtype, axes) in (ARRAYS | OPTIONAL).items():
        shape = tuple(sizes[axis] if axis in sizes else int(axis) for axis in axes.split())
        if name not in a:
            a[name] = np.zeros(shape, dtype)
        elif a[name].shape != shape:
            raise ValueError(f"{name} is {a[name].shape}, not {shape}")
    for name, numbers in (("uncut_photo", a["uncut_photo"]), ("heads", a["heads"][:, 0])):
        if ((numbers < 0) | (numbers >= photos)).any():
            raise ValueError(f"{name} is out of range")
    if (np.diff(a["uncut_photo"]) <= 0).any():
        raise ValueError("uncut_photo is out of order")
    limits = {"labels": k, "members": n, "source_photo": photos}
    for name, limit in limits.items():
        if not (n and a[name].min() >= 0 and a[name].max() < limit):
            raise ValueError(f"{name} is out of range")
    for name, end in (("members_start", n), ("photo_start", len(a["photo_path"]))):
        start = a[name]
        if start[0] != 0 or start[-1] != end or (np.diff(start) < 0).any():
            raise ValueError(f"{name} is out of order")
    if not a["kept"].any():
        raise ValueError("no cluster is kept")
    if not np.diff(a["members_start"])[a["kept"]].all():
        raise ValueError("a cluster without tiles is kept")
    if not (0 < width <= MAX_TILE_PX and 0 < height <= MAX_TILE_PX):
        raise ValueError(f"tiles are of {width}x{height} px")
    for name in ("source_crop", "uncut_crop", "heads"):
        if (a[name] < 0).any():
            raise ValueError(f"{name} is out of range")
    if not a["photo_path"].all():
        raise ValueError("a path holds a zero byte")


def check_header(header: Mapping[str, Any], *, photos: int) -> None:
    """Raise ValueError or TypeError for what no GalleryWriter writes."""
    if b"\0" in os.fsencode(header["root"]):
        raise ValueError("root holds a zero byte")
    if not isinstance(header["mirror"], bool):
        raise ValueError("mirror is neither true nor false")
    lettering = header.get("lettering", [])
    if not isinstance(lettering, list):
        raise ValueError("lettering is no list")
    for photo in lettering:
        if type(photo) is not int or not 0 <= photo < photos:
            raise ValueError("lettering names a photo that is not there")
    options = header["options"]
    if not isinstance(options, dict):
        raise ValueError("options is no table")
    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(f"there is no option {name!r:.40}")
        OPTIONS[name].check(value)
