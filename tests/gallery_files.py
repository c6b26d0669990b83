"""Image files for the tests of the gallery: made here, or embedded where OpenCV cannot."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

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


def encode(picture: np.ndarray, extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, picture, list(options))[1].tobytes()


def photo(seed: int, *, width: int = 96, height: int = 72) -> np.ndarray:
    """A picture with a colour of its own and something to see: uint8 (height, width, 3) BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 60, (3, 4, 3)) + rng.integers(0, 196, 3)
    return cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def write_photos(folder: Path, count: int, *, extension: str = ".jpg", **size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:04d}{extension}").write_bytes(encode(photo(i, **size), extension))


def exif(orientation: int, *, order: str = "<") -> bytes:
    """A TIFF block that holds nothing but the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def oriented(picture: np.ndarray, extension: str, orientation: int, *, order: str = "<") -> bytes:
    """An image file that asks to be turned."""
    block = exif(orientation, order=order)
    if extension == ".webp":
        plain = encode(picture, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)  # lossless
        height, width = picture.shape[:2]
        alpha = 0x10 if picture.shape[2] == 4 else 0
        sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
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
