"""Reading image files of every kind, and why one cannot be read."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from livemosaic.media.image_reader import (
    BACKGROUND,
    MAX_PIXELS,
    BadImage,
    ImageReader,
    flatten,
    image_kind,
    read_image_file,
)

from .gallery_files import (
    ANIMATED_GIF,
    CMYK_JPEG,
    FIELDS,
    PALETTE_PNG,
    U8,
    encode,
    fields,
    heic,
    icc_profile,
    oriented,
    photo,
    with_12_bits,
    with_profile,
)


@pytest.fixture(autouse=True)
def _silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No library may write to standard error, whatever the file."""
    yield
    assert capfd.readouterr().err == ""


def read(data: bytes, at_least: int | None = None) -> U8:
    return ImageReader(data).read(at_least)


def by_opencv(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> U8:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags), np.uint8)


def near(a: Any, b: Any, tolerance: int = 3) -> bool:
    return bool(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= tolerance)


def pillow(picture: U8, kind: str, **options: Any) -> bytes:
    """An image file as Pillow writes it, of BGR, BGRA or grey."""
    file = io.BytesIO()
    order = {2: None, 3: [2, 1, 0], 4: [2, 1, 0, 3]}[picture.ndim and picture.shape[2]]
    Image.fromarray(picture[..., order]).save(file, kind, **options)
    return file.getvalue()


PLAIN = {
    "jpeg": encode(photo(1), ".jpg"),
    "jpeg, odd size": encode(photo(1, width=97, height=71), ".jpg"),
    "jpeg, 4:4:4": pillow(photo(1), "JPEG", subsampling=0),
    "jpeg, 4:2:2, progressive": pillow(photo(1), "JPEG", subsampling=1, progressive=True),
    "jpeg, grey": encode(np.asarray(photo(1)[..., 1]), ".jpg"),
    "png": encode(photo(1), ".png"),
    "png, alpha": encode(np.dstack([photo(1), photo(2)[..., 0]]), ".png"),
    "png, palette": PALETTE_PNG,
    "webp": encode(photo(1), ".webp"),
    "webp, lossless, alpha": encode(np.dstack([photo(1), photo(2)[..., 0]]), ".webp", 64, 101),
    "bmp": encode(photo(1), ".bmp"),
    "tiff": encode(photo(1), ".tif"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_read_as_by_opencv(name: str) -> None:
    data, pixels = PLAIN[name], read(PLAIN[name])
    flags = cv2.IMREAD_COLOR if "grey" in name else cv2.IMREAD_UNCHANGED
    np.testing.assert_array_equal(pixels, by_opencv(data, flags))
    assert ImageReader(data).size == pixels.shape[1::-1]
    assert not ImageReader(data).converts


@pytest.mark.parametrize("extension", [".gif", ".avif"])
def test_formats_that_only_some_opencv_write(extension: str) -> None:
    if not cv2.haveImageWriter("x" + extension):
        pytest.skip(f"this OpenCV {cv2.__version__} cannot write {extension}")
    data = encode(photo(1), extension)
    np.testing.assert_array_equal(read(data), by_opencv(data, cv2.IMREAD_COLOR))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_the_content_gives_the_kind(kind: str) -> None:
    data = heic(photo(1)) if kind == "HEIC" else pillow(photo(1), kind)
    assert image_kind(data) == ImageReader(data).kind == kind
    assert image_kind(data[:256]) == kind
    assert near(read(data).mean((0, 1)), photo(1).mean((0, 1)), 6)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + b"moov heic avif",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + b"\0\0\0\x10heic",
    ],
)
def test_what_is_no_picture(data: bytes) -> None:
    assert image_kind(data) is None


def test_grey_and_16_bit() -> None:
    assert near(read(encode(np.full((20, 20), 90, np.uint8), ".png")), 90, 0)
    assert near(read(encode(np.full((20, 20, 3), 90 * 257, np.uint16), ".png")), 90, 0)
    assert near(read(encode(np.full((20, 20), 90 * 257, np.uint16), ".png")), 90, 0)
    assert near(read(encode(np.full((20, 20), 90 * 257, np.uint16), ".tif")), 90, 0)


def chunk(name: bytes, body: bytes) -> bytes:
    """A part of a PNG."""
    crc = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + crc


def png_of(rows: U8, bits: int, transparent: int) -> bytes:
    """A PNG of grey samples, of which one level is transparent."""
    height, width = rows.shape
    samples = rows.astype(">u2").view(np.uint8) if bits == 16 else np.unpackbits(rows[..., None], 2)
    lines = samples.reshape(height, -1) if bits == 16 else samples[..., -bits:].reshape(height, -1)
    packed = lines if bits == 16 else np.packbits(lines, 1)

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", transparent))
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in packed)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_a_transparent_level_in_other_bits(bits: int) -> None:
    level = 2**bits - 1
    rows = np.zeros((8, 16), np.uint16 if bits == 16 else np.uint8)
    rows[:, 8:] = level
    picture = flatten(read(png_of(np.asarray(rows), bits, level)))
    assert near(picture[:, :8], 0, 0)
    assert near(picture[:, 8:], BACKGROUND, 0)


def tiff(samples: np.ndarray[Any, Any], photometric: int, extra: int | None = None) -> bytes:
    """A TIFF as the standard has it; `extra` is the meaning of a sample after the colours."""
    height, width, count = samples.shape
    bits = samples.dtype.itemsize * 8
    entries = [
        (256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8),
        (277, count), (278, height), (279, samples.nbytes),
    ]  # fmt: skip
    bits_at = 8 + samples.nbytes
    tags = b""
    for tag, value in [*entries, *([] if extra is None else [(338, extra)])]:
        if tag == 258 and count > 2:
            tags += struct.pack("<HHII", tag, 3, count, bits_at)
        elif tag == 258:
            tags += struct.pack("<HHIHH", tag, 3, count, bits, bits)
        else:
            tags += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
    list_at = bits_at + 2 * count
    data: bytes = (
        b"II*\0" + struct.pack("<I", list_at) + samples.astype(samples.dtype, "C").tobytes()
        + struct.pack("<H", bits) * count + struct.pack("<H", len(tags) // 12) + tags + bytes(4)
    )  # fmt: skip
    return data


@pytest.mark.parametrize(
    ("dtype", "colour"),
    [(np.uint8, [100]), (np.uint8, [200, 60, 50]), (np.uint16, [200, 60, 50])],
    ids=["grey", "colours", "16 bit"],
)
@pytest.mark.parametrize("extra", [0, 1, 2], ids=["unspecified", "associated", "unassociated"])
def test_last_samples_of_tiff(
    extra: int, dtype: type[np.unsignedinteger[Any]], colour: list[int]
) -> None:
    shown = np.array(colour)
    samples = np.empty((16, 16, len(colour) + 1), dtype)
    samples[..., :-1], samples[..., -1] = shown // 2 if extra == 1 else shown, 128
    samples *= dtype(257 if dtype == np.uint16 else 1)
    picture = flatten(read(tiff(samples, 2 if len(colour) == 3 else 1, extra)))
    assert near(picture[..., ::-1], shown if extra == 0 else (shown + BACKGROUND) / 2, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero(dtype: type[np.unsignedinteger[Any]]) -> None:
    samples = np.full((16, 16, 1), np.iinfo(dtype).max // 255 * 55, dtype)
    assert near(read(tiff(samples, 0)), 200, 0)


def test_cmyk_jpeg() -> None:
    pixels = read(CMYK_JPEG)
    assert near(pixels[:, 2], (30, 40, 200), 6)
    assert near(pixels[:, -3], (180, 60, 20), 6)


def test_first_picture_of_an_animation() -> None:
    reader = ImageReader(ANIMATED_GIF)
    assert reader.animated
    assert near(reader.read(), (0, 0, 255), 0)
    assert not ImageReader(PLAIN["png"]).animated


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
def test_transparency_over_grey(extension: str, dtype: type[np.unsignedinteger[Any]]) -> None:
    if extension == ".webp" and dtype == np.uint16:
        pytest.skip("WebP has 8 bits only")
    full = np.iinfo(dtype).max
    picture = np.zeros((16, 16, 4), dtype)
    picture[..., 2] = full  # red everywhere, under transparency too
    picture[:8, :, 3] = full
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101) if extension == ".webp" else ()
    pixels = flatten(read(encode(picture, extension, *lossless)))
    assert near(pixels[1], (0, 0, 255), 1)
    assert near(pixels[-2], BACKGROUND, 1)
    picture[..., 3] = full // 2
    half = flatten(read(encode(picture, extension, *lossless)))
    assert near(half, (BACKGROUND / 2, BACKGROUND / 2, 127 + BACKGROUND / 2), 2)


def test_transparent_palette_and_another_background() -> None:
    pixels = flatten(read(PALETTE_PNG), 20)
    assert near(pixels[:, 0], (0, 0, 255), 0)
    assert near(pixels[:, -1], 20, 0)


def test_alpha_that_is_none() -> None:
    """Four bytes per pixel, of which the file does not call the fourth one alpha."""
    picture = photo(1)
    data = bytearray(encode(np.dstack([picture, np.zeros((72, 96), np.uint8)]), ".bmp"))
    if struct.unpack_from("<I", data, 14)[0] > 56:  # cut the mask of alpha
        struct.pack_into("<I", data, 66, 0)
    np.testing.assert_array_equal(read(bytes(data)), picture)


# ---- orientation -------------------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_orientation_as_opencv(extension: str, orientation: int, order: str) -> None:
    data = oriented(photo(3, width=40, height=24), extension, orientation, order=order)
    expected = by_opencv(data, cv2.IMREAD_COLOR)
    reader = ImageReader(data)
    assert reader.size == expected.shape[1::-1]
    np.testing.assert_array_equal(reader.read(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIC"])
def test_orientation_of_other_kinds(kind: str, orientation: int) -> None:
    picture = fields(40, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "HEIC":
        data = heic(picture, exif=exif.tobytes())
    else:
        data = pillow(picture, kind, exif=exif)
    expected = by_opencv(oriented(picture, ".png", orientation), cv2.IMREAD_COLOR)
    reader = ImageReader(data)
    assert reader.size == expected.shape[1::-1]
    pixels, (rows, columns) = reader.read(), expected.shape[:2]
    middles = np.ix_([rows // 4, rows * 3 // 4], [columns // 4, columns * 3 // 4])
    assert near(pixels[middles], expected[middles], 6)


def test_orientation_with_transparency() -> None:
    picture = np.dstack([photo(4, width=40, height=24), np.full((24, 40), 254, np.uint8)])
    for orientation in range(1, 9):
        plain = read(oriented(np.asarray(picture[..., :3]), ".png", orientation))
        np.testing.assert_array_equal(read(oriented(picture, ".png", orientation))[..., :3], plain)


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"Exif\0\0garbage", b"MM\0*\xff\xff\xff\xff"])
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    data = pillow(photo(1), "PNG", exif=exif)
    np.testing.assert_array_equal(read(data), photo(1))


# ---- colour profiles ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("profile", ["P3", "Adobe RGB"])
def test_other_profiles_become_srgb(kind: str, profile: str) -> None:
    data = with_profile(fields(128, 128), kind, profile)
    reader = ImageReader(data)
    assert reader.converts
    pixels = reader.read()
    for (y, x), colour in FIELDS.items():
        assert near(pixels[32 + 64 * y, 32 + 64 * x], colour, 5)
    small = ImageReader(data).read(at_least=16)
    assert near(small[small.shape[0] // 4, small.shape[1] // 4], FIELDS[0, 0], 5)


def test_srgb_profiles_change_no_pixel() -> None:
    known = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (known, icc_profile("sRGB")):
        data = pillow(photo(1), "JPEG", icc_profile=profile)
        reader = ImageReader(data)
        assert not reader.converts
        np.testing.assert_array_equal(reader.read(), by_opencv(data))


@pytest.mark.parametrize("profile", [b"damaged", icc_profile("P3")[:200], icc_profile("grey")])
def test_profiles_that_cannot_be_used(profile: bytes) -> None:
    data = pillow(photo(1), "PNG", icc_profile=profile)
    assert not ImageReader(data).converts
    assert ImageReader(data).profile_is_bad
    np.testing.assert_array_equal(read(data), photo(1))


def test_grey_with_a_profile() -> None:
    for image in (Image.new("L", (20, 20), 55), Image.new("I;16", (20, 20), 55 * 257)):
        file = io.BytesIO()
        image.save(file, "PNG", icc_profile=icc_profile("grey"))
        assert near(read(file.getvalue()), 128, 1)  # a linear grey of 55 is sRGB's 128


def test_a_profile_leaves_transparency() -> None:
    picture = np.dstack([fields(32, 32), photo(1, width=32, height=32)[..., 0]])
    pixels = read(pillow(picture, "PNG", icc_profile=icc_profile("P3")))
    np.testing.assert_array_equal(pixels[..., 3], picture[..., 3])
    assert not near(pixels[..., :3], picture[..., :3], 10)


def with_code_points(image: Image.Image, kind: str) -> bytes:
    """An image file that says by code points that its colours are Display P3."""
    file = io.BytesIO()
    if kind == "HEIC":
        options = {"color_primaries": 12, "transfer_characteristics": 13}
        pillow_heif.from_pillow(image).save(file, quality=95, **options)
        return file.getvalue()
    image.save(file, "PNG")
    data = file.getvalue()
    return data[:33] + chunk(b"cICP", bytes([12, 13, 0, 1])) + data[33:]  # behind the header


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "HEIC"])
def test_code_points_instead_of_a_profile(kind: str) -> None:
    pixels = Image.open(io.BytesIO(with_profile(fields(128, 128), "PNG", "P3")))
    plain = Image.fromarray(np.asarray(pixels))
    reader = ImageReader(with_code_points(plain, kind))
    assert reader.wide == "Display P3"
    assert not reader.plain
    picture = reader.read()
    for (y, x), colour in FIELDS.items():
        assert near(picture[32 + 64 * y, 32 + 64 * x], colour, 5)
    assert not ImageReader(pillow(photo(1), "PNG")).wide


@pytest.mark.slow
def test_png_of_linear_light() -> None:
    data = pillow(np.full((20, 20, 3), 55, np.uint8), "PNG")
    linear = data[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + data[33:]
    assert near(read(linear), 128, 1)
    usual = data[:33] + chunk(b"gAMA", struct.pack(">I", 45_455)) + data[33:]
    assert near(read(usual), 55, 0)


def test_grey_with_a_profile_of_colours() -> None:
    file = io.BytesIO()
    Image.new("L", (20, 20), 90).save(file, "JPEG", icc_profile=icc_profile("P3"))
    reader = ImageReader(file.getvalue())
    assert not reader.profile_is_bad
    assert near(reader.read(), 90, 1)  # the transfer of Display P3 is that of sRGB


def test_cie_lab() -> None:
    file = io.BytesIO()
    Image.fromarray(fields(64, 64)[..., ::-1]).convert("LAB").save(file, "TIFF")
    picture = read(file.getvalue())
    for (y, x), colour in FIELDS.items():
        assert near(picture[16 + 32 * y, 16 + 32 * x], colour, 4)


# ---- HEIC --------------------------------------------------------------------------------


def test_a_heic_of_tiles() -> None:
    """As phones write it: one picture, stored as a grid of small ones."""
    picture = fields(300, 200)
    pixels = read(heic(picture, tile=128))
    assert pixels.shape == (200, 300, 3)
    assert near(np.median(np.abs(pixels.astype(int) - picture)), 0, 3)
    assert near(pixels[-10, -10], FIELDS[1, 1], 6)


# ---- size --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [b"", icc_profile("P3")])
def test_scaled_decode_keeps_enough_pixels(profile: bytes) -> None:
    data = pillow(photo(1, width=178, height=218), "JPEG", icc_profile=profile)
    for at_least, width in ((22, 23), (23, 45), (44, 45), (45, 89), (89, 89), (90, 178)):
        reader = ImageReader(data)
        picture = reader.read(at_least)
        assert picture.shape[1] == width
        assert min(picture.shape[:2]) >= at_least
        assert reader.size == (178, 218)


def test_scaled_decode_as_opencv() -> None:
    data = encode(photo(1, width=178, height=218), ".jpg")
    for at_least, flags in ((22, cv2.IMREAD_REDUCED_COLOR_8), (89, cv2.IMREAD_REDUCED_COLOR_2)):
        np.testing.assert_array_equal(read(data, at_least), by_opencv(data, flags))


def test_limit_leaves_room_for_the_largest_cameras() -> None:
    assert MAX_PIXELS > 200_000_000


def test_more_pixels_than_pillow_likes() -> None:
    """Its limit, of the whole process, is not touched, and no warning comes."""
    before = Image.MAX_IMAGE_PIXELS
    ImageReader(png_of_size(14_000, 14_000))
    assert before == Image.MAX_IMAGE_PIXELS


# ---- damage ------------------------------------------------------------------------------


def png_of_size(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


JPEG, PNG, HEIC = PLAIN["jpeg"], PLAIN["png"], heic(photo(5))
P3_JPEG = with_profile(fields(128, 128), "JPEG", "P3")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, world\n", "not an image of a known kind"),
        (b"\xff\xd8", "JPEG"),
        (JPEG[:-300], "cut off JPEG"),
        (P3_JPEG[:-300], "cut off JPEG"),
        (oriented(photo(5), ".jpg", 6)[:-300], "cut off JPEG"),
        (JPEG[:100], "cut off JPEG"),
        (PNG[:-20], "cut off PNG"),
        (altered(PNG, 1000), "damaged .* PNG"),
        (png_of_size(50, 50), "damaged .* PNG"),
        (png_of_size(0, 50), "damaged .* PNG"),
        (PLAIN["webp"][:-100], "cut off WebP"),
        (PLAIN["tiff"][: len(PLAIN["tiff"]) // 2], "cut off TIFF"),
        (PLAIN["bmp"][:500], "cut off BMP"),
        (b"BM, a text that begins like a picture", "damaged .* BMP"),
        (ANIMATED_GIF[:60], "cut off GIF"),
        (HEIC[: len(HEIC) // 2], "cut off HEIC"),
        (HEIC[:40], "cut off HEIC"),
        (pillow(photo(1), "AVIF")[:-100], "cut off AVIF"),
        (png_of_size(60_000, 60_000), "too large: 60000 x 60000"),
        (encode(np.zeros((9, 9, 3), np.float32), ".tif"), "of a kind that is not read"),
        (encode(np.zeros((9, 9), np.float32), ".tif"), "32 bits"),
        (with_12_bits(JPEG), "of a kind that is not read"),
        (altered(PLAIN["bmp"], 28), "of a kind that is not read"),  # the bits of a pixel
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reasons(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason) as error:
        read(data)
    assert "\n" not in str(error.value)


def test_any_cut_is_refused_or_read_whole() -> None:
    for name, data in {**PLAIN, "heic": HEIC}.items():
        for end in range(0, len(data), len(data) // 20 + 1):
            try:
                pixels = read(data[:end])
            except BadImage:
                continue
            np.testing.assert_array_equal(pixels, read(data), err_msg=f"{name} cut at {end}")


def test_reasons_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="No such file"):
        read_image_file(str(tmp_path / "gone.jpg"))
    with pytest.raises(BadImage, match=r"not a regular file|denied|directory"):
        read_image_file(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImage, match="not a regular file"):
        read_image_file(str(tmp_path / "pipe.jpg"))
