"""Image files for the tests: made here, or kept as text where no library here writes them."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms

U8 = NDArray[np.uint8]

PERSON = Path(__file__).parent / "corpus" / "person" / "astronaut.jpg"

# Made with Pillow: 24x16, CMYK, left half R'G'B' (200, 40, 30), right half (20, 60, 180).
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZM"
    "TlJTUjI+WmFaUGBKUVJP/8AAFAgAEAAYBEMRAE0RAFkRAEsRAP/EABgAAQEBAQEAAAAAAAAAAAAAAAYAAwcE/8QAHRABAAAG"
    "AwAAAAAAAAAAAAAAAAQGB0KDwkRFgf/aAA4EQwBNAFkASwAAPwBYEgbpwRUnrcujaHu8LpD5+PZBDYuTtzxuRoIqT1uXRtD3"
    "eF0h8/HsghsXJ//Z"
)
# Made with Pillow: 20x10, the first frame red, the second blue.
ANIMATED_GIF = base64.b64decode(
    "R0lGODdhFAAKAIEAAP8AAAAAAAAAAAAAACwAAAAAFAAKAAAIGQABCBxIsKDBgwgTKlzIsKHDhxAjSpyoMCAAIfkEAQAAAQAs"
    "AAAAABQACgCBAAD/AAAAAAAAAAAACBkAAQgcSLCgwYMIEypcyLChw4cQI0qcqDAgADs="
)
# Made with Pillow: 8x8, a palette with transparency: left half red, right half nothing.
PALETTE_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAgMAAAC5YVYYAAAADFBMVEUAAAD/AAAAAAAAAAB8pjvdAAAABHRSTlMA/wAADQtS"
    "dwAAAA5JREFUeJxjCGVgYsCCAAhjAGSeOvDgAAAAAElFTkSuQmCC"
)


def encode(picture: NDArray[Any], extension: str, *options: int) -> bytes:
    data: bytes = cv2.imencode(extension, picture, list(options))[1].tobytes()
    return data


def photo(seed: int, *, width: int = 96, height: int = 72) -> U8:
    """A picture with a colour of its own and something to see: uint8 (height, width, 3) BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 60, (3, 4, 3)) + rng.integers(0, 196, 3)
    size = (width, height)
    return np.asarray(
        cv2.resize(coarse.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC), np.uint8
    )


def photo_of_person(width: int, height: int, left: int, top: int, side: int) -> U8:
    """A person somewhere in a grey photo: uint8 (height, width, 3) BGR."""
    photo = np.full((height, width, 3), 90, np.uint8)
    person = cv2.imread(str(PERSON))
    assert person is not None
    part = cv2.resize(person, (side, side), interpolation=cv2.INTER_AREA)
    part = part[: height - top, : width - left]
    photo[top : top + part.shape[0], left : left + part.shape[1]] = part
    return photo


def write_photos(folder: Path, count: int, *, extension: str = ".jpg", **size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:04d}{extension}").write_bytes(encode(photo(i, **size), extension))


def write_pngs(folder: Path, pictures: Iterable[NDArray[Any]]) -> list[str]:
    """Write pictures as `0.png`, `1.png` ...; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(str(folder / f"{number}.png"))
        cv2.imwrite(paths[-1], picture)
    return paths


def exif(orientation: int, *, order: str = "<") -> bytes:
    """A TIFF block that holds nothing but the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def oriented(picture: NDArray[Any], extension: str, orientation: int, *, order: str = "<") -> bytes:
    """An image file that asks to be turned."""
    block = exif(orientation, order=order)
    if extension == ".webp":
        plain = encode(picture, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)  # lossless
        height, width = picture.shape[:2]
        alpha = 0x10 if picture.shape[2] == 4 else 0
        sizes: bytes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"VP8X" + struct.pack("<II", 10, 0x08 | alpha) + sizes
        body += plain[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    data = encode(picture, extension)
    if extension == ".png":
        chunk = b"eXIf" + block
        chunk = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:33] + chunk + data[33:]  # after the signature and IHDR
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def with_12_bits(jpeg: bytes) -> bytes:
    """The same picture in 12 bits: coefficients have the same codes in larger steps."""
    data, at = bytearray(jpeg), 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xC0:  # baseline, which cannot have 12 bits
            data[at + 1], data[at + 4] = 0xC1, 12
        elif data[at + 1] == 0xDB:
            for table in range(at + 4, at + 2 + size, 65):
                steps = [16 * step for step in data[table + 1 : table + 65]]
                data[table + 1 : table + 65] = bytes(min(step, 255) for step in steps)
        at += 2 + size
    return bytes(data)


# Four fields, B'G'R' in sRGB, by (row, column).
FIELDS = {
    (0, 0): (50, 60, 200),
    (0, 1): (60, 170, 60),
    (1, 0): (200, 80, 50),
    (1, 1): (140, 170, 224),
}


def fields(width: int, height: int) -> U8:
    picture = np.zeros((height, width, 3), np.uint8)
    for (y, x), colour in FIELDS.items():
        picture[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = (
            colour
        )
    return picture


def heic(picture: U8, *, tile: int = 0, **options: Any) -> bytes:
    """A HEIC file; with `tile`, stored as a grid of pictures of so many pixels, as phones do."""
    file = io.BytesIO()
    image = Image.fromarray(picture[..., ::-1])
    before = pillow_heif.options.GRID_TILE_SIZE
    pillow_heif.options.GRID_TILE_SIZE = tile
    try:
        pillow_heif.from_pillow(image).save(file, quality=95, **options)
    finally:
        pillow_heif.options.GRID_TILE_SIZE = before
    return file.getvalue()


# Primaries, x and y of red, green and blue; the white is D65, the curve sRGB's.
_PRIMARIES = {
    "sRGB": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    "P3": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    "Adobe RGB": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
}
_D65, _D50 = np.array([0.9505, 1, 1.0891]), np.array([0.9642, 1, 0.8249])


def icc_profile(name: str) -> bytes:
    """An ICC profile (version 2) of sRGB, P3 or Adobe RGB, or `grey` of linear levels."""

    def xyz(values: NDArray[np.float64]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": xyz(_D50),
    }
    if name == "grey":
        tags[b"kTRC"] = b"curv\0\0\0\0" + struct.pack(">I", 0)
    else:
        x, y = np.reshape(_PRIMARIES[name], (3, 2)).T
        primaries = np.array([x / y, np.ones(3), (1 - x - y) / y])
        cone = np.array(
            [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
        )
        adapt = np.linalg.inv(cone) @ np.diag((cone @ _D50) / (cone @ _D65)) @ cone
        columns = adapt @ (primaries * np.linalg.solve(primaries, _D65))
        level = np.linspace(0, 1, 1024)
        linear = np.where(level < 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
        curve = (
            b"curv\0\0\0\0"
            + struct.pack(">I", 1024)
            + (linear * 65535).round().astype(">u2").tobytes()
        )
        for i, channel in enumerate(b"rgb"):
            tags[bytes([channel]) + b"XYZ"] = xyz(columns[:, i])
            tags[bytes([channel]) + b"TRC"] = curve
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if name == "grey" else b"RGB "
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"test", 0x02400000, b"mntr", space, b"XYZ "
    )
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + body


def with_profile(picture: U8, kind: str, profile: str) -> bytes:
    """An image file whose pixels are those of an sRGB picture in another colour space."""
    data = icc_profile(profile)
    image = ImageCms.profileToProfile(
        Image.fromarray(picture[..., ::-1]),
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(data)),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert image is not None
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(file, quality=95, icc_profile=data)
    else:
        options: dict[str, Any] = {"lossless": True} if kind == "WebP" else {"quality": 95}
        image.save(file, kind, icc_profile=data, **({} if kind in ("PNG", "TIFF") else options))
    return file.getvalue()
