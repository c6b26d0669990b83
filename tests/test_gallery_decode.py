"""Reading photos of every kind, and saying why one cannot be read."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic.gallery.decode import (
    GROUND,
    Recipe,
    decode,
    photo_tiles,
    read_photo,
    scale_tiles,
    silent_opencv,
)
from livemosaic.gallery.image_headers import MAX_PIXELS, BadImage, read_header
from livemosaic.gallery.resize import shrink

from .gallery_files import ANIMATED_GIF, CMYK_JPEG, PALETTE_PNG, encode, oriented, photo

WHOLE = Recipe(16, "stretch")


@pytest.fixture(autouse=True)
def _silence(capfd):
    """No library may write to standard error, whatever the file."""
    with silent_opencv():
        yield
    assert capfd.readouterr().err == ""


def only_tile(data: bytes, recipe: Recipe = WHOLE) -> np.ndarray:
    (tile,), _ = photo_tiles(data, recipe)
    assert tile.shape == (recipe.tile_px, recipe.tile_px, 3)
    assert tile.dtype == np.uint8
    return tile


def near(a, b, tolerance=3) -> bool:
    return bool(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= tolerance)


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif", ".webp", ".jpg", ".gif", ".avif"])
def test_formats(extension):
    if extension in (".gif", ".avif") and not cv2.haveImageWriter("x" + extension):
        pytest.skip(f"this OpenCV {cv2.__version__} cannot write {extension}")
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, :24], picture[:, 24:] = (30, 40, 200), (180, 60, 20)
    data = encode(picture, extension)
    header = read_header(data)
    assert (header.width, header.height) == (48, 32)
    tile = only_tile(data)
    assert near(tile[:, 2], (30, 40, 200), 13)  # GIF dithers
    assert near(tile[:, -3], (180, 60, 20), 12)


def test_grey_and_16_bit():
    assert near(only_tile(encode(np.full((20, 20), 90, np.uint8), ".png")), 90, 0)
    assert near(only_tile(encode(np.full((20, 20), 90, np.uint8), ".jpg")), 90, 1)
    assert near(only_tile(encode(np.full((20, 20, 3), 90 * 257, np.uint16), ".png")), 90, 0)
    assert near(only_tile(encode(np.full((20, 20), 90 * 257, np.uint16), ".tif")), 90, 0)


def test_cmyk_jpeg():
    tile = only_tile(CMYK_JPEG)
    assert near(tile[:, 2], (30, 40, 200), 6)
    assert near(tile[:, -3], (180, 60, 20), 6)


def test_first_frame_of_a_gif():
    if not cv2.haveImageWriter("x.gif"):
        pytest.skip(f"this OpenCV {cv2.__version__} does not know GIF")
    assert near(only_tile(ANIMATED_GIF), (0, 0, 255), 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
def test_transparency_over_grey(extension, dtype):
    if extension == ".webp" and dtype == np.uint16:
        pytest.skip("WebP has 8 bits only")
    full = np.iinfo(dtype).max
    picture = np.zeros((16, 16, 4), dtype)
    picture[..., 2] = full  # red everywhere, under transparency too
    picture[:8, :, 3] = full
    tile = only_tile(encode(picture, extension, cv2.IMWRITE_WEBP_QUALITY, 101))
    assert near(tile[1], (0, 0, 255), 1)
    assert near(tile[-2], GROUND, 1)
    picture[..., 3] = full // 2
    half = only_tile(encode(picture, extension, cv2.IMWRITE_WEBP_QUALITY, 101))
    assert near(half, (GROUND / 2, GROUND / 2, 127 + GROUND / 2), 2)


def test_transparent_palette_and_another_ground():
    tile = only_tile(PALETTE_PNG, Recipe(8, "stretch", ground=20))
    assert near(tile[:, 0], (0, 0, 255), 0)
    assert near(tile[:, -1], 20, 0)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_orientation_as_opencv(extension, orientation, order):
    picture = photo(3, width=40, height=24)
    data = oriented(picture, extension, orientation, order=order)
    upright, size = decode(data, read_header(data), at_least=1000)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert size == expected.shape[1::-1]
    np.testing.assert_array_equal(upright, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_with_transparency(orientation):
    picture = np.dstack([photo(4, width=40, height=24), np.full((24, 40), 254, np.uint8)])
    plain = oriented(picture[..., :3], ".png", orientation)
    data = oriented(picture, ".png", orientation)
    np.testing.assert_allclose(only_tile(data).astype(int), only_tile(plain), atol=2)


def test_scaled_decode_keeps_enough_pixels():
    data = encode(photo(1, width=178, height=218), ".jpg")
    header = read_header(data)
    for at_least, width in ((22, 23), (23, 45), (44, 45), (45, 89), (89, 89), (90, 178)):
        picture, size = decode(data, header, at_least=at_least)
        assert picture.shape[1] == width
        assert min(picture.shape[:2]) >= at_least
        assert size == (178, 218)


@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_decode_looks_like_the_full_one(orientation):
    picture = cv2.GaussianBlur(photo(2, width=640, height=400), (0, 0), 5)
    data = oriented(picture, ".jpg", orientation)
    (scaled,), crops = photo_tiles(data, Recipe(32))
    full, _ = decode(data, read_header(data), at_least=10_000)
    left, top, w, h = crops[0]
    assert (w, h) == (400, 400)
    expected = cv2.resize(
        full[top : top + h, left : left + w], (32, 32), None, 0, 0, cv2.INTER_AREA
    )
    assert np.abs(scaled.astype(int) - expected).mean() < 2


def test_crop_and_stretch():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    data = encode(picture, ".png")
    (tile,), crops = photo_tiles(data, Recipe(16))
    assert crops == [(20, 0, 20, 20)]
    assert tile.min() == 255
    (tile,), crops = photo_tiles(data, Recipe(16, "stretch"))
    assert crops == [(0, 0, 60, 20)]
    assert tile[:, 0].max() == 0
    assert tile[:, 8].min() == 255


@pytest.mark.parametrize(
    ("height", "width", "px"),
    [(45, 45, 32), (44, 54, 32), (500, 333, 64), (300, 300, 255), (64, 64, 64), (9, 8, 8)],
)
def test_shrinking_is_a_mean_of_areas(height, width, px):
    rng = np.random.default_rng(height)
    pictures = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    for small, picture in zip(shrink(pictures, px), pictures, strict=True):
        expected = cv2.resize(picture, (px, px), interpolation=cv2.INTER_AREA)
        difference = np.abs(small.astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02
    for level in (0, 1, 254, 255):
        assert (shrink(np.full_like(pictures, level), px) == level).all()


def test_tiles_scaled_together_are_those_scaled_alone():
    shapes = [(40, 40), (33, 50), (40, 40), (20, 64), (40, 40), (8, 8), (20, 64)]
    rng = np.random.default_rng(0)
    regions = [rng.integers(0, 256, (70, 70, 3), dtype=np.uint8)[3 : 3 + h, :w] for h, w in shapes]
    together = scale_tiles(regions, 32)
    assert together.shape == (7, 32, 32, 3)
    for region, tile in zip(regions, together, strict=True):
        np.testing.assert_array_equal(scale_tiles([region], 32)[0], tile)
    assert scale_tiles([], 32).shape == (0, 32, 32, 3)


def test_parts_of_a_photo():
    picture = np.zeros((64, 64, 3), np.uint8)
    colours = [(10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200)]
    for i, colour in enumerate(colours):
        y, x = divmod(i, 2)
        picture[y * 32 : y * 32 + 32, x * 32 : x * 32 + 32] = colour
    tiles, crops = photo_tiles(encode(picture, ".png"), Recipe(32, crops=5))
    assert crops[:3] == [(0, 0, 64, 64), (16, 16, 32, 32), (0, 0, 32, 32)]
    assert len(tiles) == 6
    for tile, colour in zip(tiles[2:], colours, strict=True):
        assert near(tile, colour, 0)
    assert len(photo_tiles(encode(picture, ".png"), Recipe(32, crops=2))[0]) == 3
    # Crops of 32 pixels would be blurred as tiles of 64.
    assert len(photo_tiles(encode(picture, ".png"), Recipe(64, crops=5))[0]) == 1


def test_tiny_and_thin_photos():
    assert near(only_tile(encode(np.full((1, 1, 3), 77, np.uint8), ".png")), 77, 0)
    assert near(only_tile(encode(np.full((1, 500, 3), 77, np.uint8), ".png"), Recipe(16)), 77, 0)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


JPEG = encode(photo(5), ".jpg")
PNG = encode(photo(5), ".png")
WEBP = encode(photo(5), ".webp")
TIFF = encode(photo(5), ".tif")
HEIC = struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1") + bytes(50)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, world\n", "not an image of a known kind"),
        (b"\xff\xd8", "not whole"),
        (JPEG[:-300], "cut off JPEG"),
        (oriented(photo(5), ".jpg", 6)[:-300], "cut off JPEG"),
        (JPEG[:100], "not whole"),
        (PNG[:-20], "cut off PNG"),
        (altered(PNG, 1000), "wrong checksum of its IDAT"),
        (WEBP[:-100], "cut off WebP"),
        (TIFF[: len(TIFF) // 2], "not whole"),
        (encode(photo(5), ".bmp")[:500], "damaged BMP"),
        (HEIC, "HEIC is not read by OpenCV: save it as JPEG"),
        (png_of_size(60_000, 60_000), "too large: 60000 x 60000"),
        (png_of_size(0, 50), "no size"),
        (encode(np.zeros((9, 9, 3), np.float32), ".tif"), "damaged TIFF|float32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reasons(data, reason):
    with pytest.raises(BadImage, match=reason):
        photo_tiles(data, WHOLE)


def test_png_that_ends_too_early_inside(capfd):
    # All its checksums are right, so libpng sees it, and writes a line that nobody can stop.
    with pytest.raises(BadImage, match="damaged PNG"):
        photo_tiles(png_of_size(50, 50), WHOLE)
    assert "libpng" in capfd.readouterr().err


def test_limit_leaves_room_for_the_largest_cameras():
    assert MAX_PIXELS > 200_000_000


def test_reasons_of_the_system(tmp_path: Path):
    with pytest.raises(BadImage, match="No such file"):
        read_photo(str(tmp_path / "gone.jpg"))
    with pytest.raises(BadImage, match=r"not a regular file|denied|directory"):
        read_photo(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_does_not_hang(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImage, match="not a regular file"):
        read_photo(str(tmp_path / "pipe.jpg"))
