"""Read image files of every kind as upright sRGB pixels: photos of a gallery and input pictures.

Pillow (with pillow-heif) reads the headers and the pixels. Only JPEGs without a colour profile are
left to OpenCV, which decodes small ones in half the time, to the same pixels.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
import stat
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from ..errors import is_out_of_memory
from .colour import U8, UNSPECIFIED, wide_name
from .crop import NO_CROP, Crop, of_aperture
from .wide_colours import to_bt709

if TYPE_CHECKING:
    from PIL import Image, ImageCms

# The grey level behind transparent pixels: the middle of the scale, so it pulls a match to
# neither end.
BACKGROUND = 128

# 16,384 x 16,384. The largest sensors of today have 200 megapixels. Pillow's own limit is below
# that, and it is a setting of the whole process.
MAX_PIXELS = 2**28

_STRIP_PIXELS = 2**20  # that are converted together

# Read whole into memory, by every worker at once. No photo of MAX_PIXELS is larger when compressed.
MAX_BYTES = 2**30

HEAD_BYTES = 256  # that give the kind of a file

# How a file of each kind begins, and the class that reads it.
_KINDS = {
    "JPEG": (rb"\xff\xd8", "PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": (rb"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
    "WebP": (rb"RIFF....WEBP", "PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": (rb"GIF8[79]a", "PIL.GifImagePlugin", "GifImageFile"),
    "BMP": (rb"BM", "PIL.BmpImagePlugin", "BmpImageFile"),
    "ICO": (rb"\0\0\x01\0.\0", "PIL.IcoImagePlugin", "IcoImageFile"),  # the largest in it
    "TIFF": (rb"II[*+]\0|MM\0[*+]", "PIL.TiffImagePlugin", "TiffImageFile"),
    # The list of brands ends with the first box, whose length stands before it.
    "AVIF": (rb"\0\0..ftyp(....)*?avi[fs]", "PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": (rb"\0\0..ftyp(....)*?(hei[cmsx]|hev[cx]|mif1)", "pillow_heif", "HeifImageFile"),
}

ORIENTATION = 0x0112  # a tag of Exif and TIFF
_PARTS = 0xB002  # of the parts of a JPEG photo
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284  # tags of TIFF
_WHITE_IS_ZERO, _SEPARATE = 0, 2  # values of the last two
_PNG_BITS_AT = 24  # the byte of a PNG with the bits of a sample
_PNG_ORIENTATION = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # may have it
# Pillow's words for samples that it does not read; they may be good.
_NOT_READ = "unknown pixel mode|cannot handle .*-bit layers|Unsupported BMP (pixel|bitfields).*"
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # after a transposition from 5 on

_REDUCED = [(n, getattr(cv2, f"IMREAD_REDUCED_COLOR_{n}")) for n in (8, 4, 2)]

# What the samples of a mode of Pillow are; RGB for other modes.
_COLOURS = dict.fromkeys(("1", "L", "LA", "La", "I;16", "I;16B"), "GRAY") | {
    "CMYK": "CMYK",
    "LAB": "LAB",
}

# The mode to convert from, by the colours of a profile and of an image. Others do not go together.
_PROFILED = {
    ("RGB", "RGB"): "RGB",
    ("RGB", "GRAY"): "RGB",
    ("GRAY", "GRAY"): "L",
    ("CMYK", "CMYK"): "CMYK",
    ("Lab", "LAB"): "LAB",
}

# Where a file without a profile says which primaries and which transfer its samples have.
_CODE_POINTS = {
    "PNG": rb"\0\0\0\x04cICP(.)(.)",
    "AVIF": rb"colrnclx(..)(..)",
    "HEIC": rb"colrnclx(..)(..)",
}
_APERTURE = rb"\0\0\0\x28clap(.{32})"
_UNSPECIFIED = UNSPECIFIED, UNSPECIFIED
_LINEAR = 1, 8

# Colours of a profile that lie this near to sRGB's are left as they are: a profile that means
# sRGB, but rounds.
_SRGB_LEVELS = 3


class BadImage(Exception):
    """This file cannot be used; the message is the reason, without the file's name."""


class DamagedImage(BadImage):
    """This file is damaged or cut off."""


def image_kind(data: bytes) -> str | None:
    """The kind of an image file by its first `HEAD_BYTES`; None if it is not one of those known."""
    head = data[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        head = head[: int.from_bytes(head[:4], "big")]
    for kind, (start, _, _) in _KINDS.items():
        if re.match(start, head, re.DOTALL):
            return kind
    return None


def sizes_of_parts(jpeg: bytes) -> list[int]:
    """The bytes of each JPEG that follows one as a part of the same photo (CIPA DC-007): a larger
    preview, the second eye's view, or how to brighten the photo on an HDR screen."""
    if b"MPF\0" not in jpeg:
        return []
    from PIL.MpoImagePlugin import MpoImageFile

    try:
        info = MpoImageFile(io.BytesIO(jpeg)).mpinfo
        return [] if info is None else [part["Size"] for part in info[_PARTS][1:]]
    except Exception:  # as in ImageReader
        return []


def read_image_file(path: str) -> bytes:
    """The bytes of an image file; `BadImage` if it cannot be read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise BadImage("not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadImage(f"too large: {status.st_size:,} bytes")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadImage(error.strerror or str(error)) from None


class ImageReader:
    """Reads the header of an image file from its bytes, then its pixels.

    `BadImage` if it is empty, unknown, damaged or too large.

    Attributes
    ----------
    kind, data : of the file
    size : (width, height) of the upright picture
    animated : whether more pictures follow, see `frames`; `read` decodes the first one
    orientation : Exif's, 1..8; `read` applies it
    """

    def __init__(self, data: bytes) -> None:
        if not data:
            raise BadImage("the file is empty")
        kind = image_kind(data)
        if kind is None:
            raise BadImage(f"not an image of a known kind ({', '.join(_KINDS)})")
        self.kind, self.data = kind, data
        _, module, name = _KINDS[kind]
        file = io.BytesIO(data)
        try:
            # Not `Image.open`, which warns of more than 89 megapixels.
            plugin = getattr(import_module(module), name)
            if kind == "PNG":  # Pillow decodes pixels without a look at their checksums
                plugin(io.BytesIO(data)).verify()
            self._image: Image.Image = plugin(file)
            self._pixels_start = file.tell()
        except Exception as error:  # whatever damaged bytes make of Pillow's Python code
            raise self._damaged(error) from None
        self._crop = self._read_crop() if kind == "AVIF" else NO_CROP  # of HEIC, libheif applies it
        left, top, right, bottom = self._crop
        width, height = self._image.size
        width, height = width - left - right, height - top - bottom
        if width < 1 or height < 1:
            raise self._damaged("its header gives no size")
        if width * height > MAX_PIXELS:
            size = f"{width} x {height} pixels"
            raise BadImage(f"too large: {size}, the limit is {MAX_PIXELS:,} in all")
        # In HEIC and TIFF files, further pictures are other ones.
        several = bool(getattr(self._image, "is_animated", False))
        self.animated = several and kind not in ("HEIC", "TIFF")
        self.orientation = 1 if kind == "TIFF" else self._read_orientation()  # applied by Pillow
        self.size = (width, height) if self.orientation < 5 else (height, width)

    @property
    def converts(self) -> bool:
        """Whether the file has a colour profile that is not sRGB."""
        return self._transform() is not None

    @property
    def profile_is_bad(self) -> bool:
        """Whether the file has a colour profile that cannot be used; it is read as sRGB."""
        return self._profile().is_bad

    @functools.cached_property
    def wide(self) -> str:
        """The name of its colours if they are HDR or more than sRGB has, and no profile says so."""
        return wide_name(*self._code_points())

    @property
    def plain(self) -> bool:
        """Whether every decoder shows it alike: a whole and upright JPEG or PNG of R'G'B' or
        Y'CbCr, 8 bit, opaque and in sRGB."""
        image = self._image
        eight_bit = self.kind == "JPEG" or (self.kind == "PNG" and self.data[_PNG_BITS_AT] == 8)
        opaque = image.mode == "RGB" and not image.has_transparency_data
        srgb = not (self.converts or self.wide)
        upright = self.orientation == 1
        return eight_bit and opaque and srgb and upright and (self.kind != "JPEG" or self._has_end)

    @property
    def _has_end(self) -> bool:
        """Whether a JPEG is not cut off. An embedded thumbnail has an end of its own."""
        return self.data.rfind(b"\xff\xd9", self._pixels_start) >= 0

    def read(self, at_least: int | None = None) -> U8:
        """Decode the picture, upright and in sRGB.

        Return uint8 (h, w, 3) BGR, or (h, w, 4) BGRA if there is transparency. `BadImage` if the
        file is damaged or cut off, or has samples that are not read.

        `at_least` is how many pixels of the shorter side are enough. A JPEG is decoded at 1/2, 1/4
        or 1/8 while it keeps them (fewer coefficients per block: 4 times the speed), and a HEIC's
        thumbnail is taken if it has them.
        """
        with self._reading():
            if self.kind == "JPEG" and not self.converts:
                return self._upright(self._decode_jpeg(at_least))
            if at_least:
                self._image.draft(None, (at_least, at_least))
            return self._upright(self._pixels())

    def frames(self) -> Iterator[tuple[U8, int]]:
        """Yield the pictures of an animation as `read` does, and for how many ms each is shown."""
        image: Any = self._image
        # A PNG's first picture may be for programs that show no animations.
        for number in range(bool(getattr(image, "default_image", False)), image.n_frames):
            with self._reading():
                image.seek(number)
                pixels = self._upright(self._pixels())
            yield pixels, round(image.info.get("duration") or 0)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except BadImage:
            raise
        except Exception as error:  # as in __init__
            raise self._damaged(error) from None

    def _upright(self, pixels: U8) -> U8:
        if self.orientation >= 5:
            pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        if self.orientation in _FLIPS:
            pixels = np.asarray(cv2.flip(pixels, _FLIPS[self.orientation]), np.uint8)
        return pixels

    def _pixels(self) -> U8:
        """The picture that Pillow has decoded, in sRGB."""
        image, transform = self._image, self._transform()
        image.load()
        if self._crop != NO_CROP:
            left, top, right, bottom = self._crop
            image = image.crop((left, top, image.width - right, image.height - bottom))
        if self._tiff_tag(_PLANES) == _SEPARATE and self._tiff_tag(_BITS)[0] == 16:
            raise BadImage("its samples of 16 bits are in separate planes")  # Pillow mixes them up
        if self.kind == "PNG":
            _scale_transparency(image, bits=self.data[_PNG_BITS_AT])
        if image.mode.startswith("I;16"):
            image = _from_16_bit(image, inverted=self._tiff_tag(_PHOTOMETRIC) == _WHITE_IS_ZERO)
        if image.mode in ("I", "F"):
            raise BadImage("its samples have 32 bits; 8 and 16 are read")
        if image.mode == "La":  # of grey times alpha
            image = image.convert("LA")
        mode = "RGBA" if image.has_transparency_data else "RGB"
        if transform is not None:
            original = image
            image = transform.apply(original.convert(transform.input_mode))
            if mode == "RGBA":
                image.putalpha(original.convert("RGBA").getchannel("A"))
        elif image.mode != mode:
            image = image.convert(mode)
        if self.wide:
            image = to_bt709(image, *self._code_points())
        if self.kind == "BMP" and mode == "RGBA" and not image.getchannel("A").getbbox():
            mode, image = "RGB", image.convert("RGB")  # the byte is not used
        pixels = np.empty((image.height, image.width, len(mode)), np.uint8)
        for rows in _strips(image.height, image.width):
            strip = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
            raw = strip.tobytes("raw", "BGRA" if mode == "RGBA" else "BGR")
            pixels[rows] = np.frombuffer(raw, np.uint8).reshape(-1, *pixels.shape[1:])
        return pixels

    def _decode_jpeg(self, at_least: int | None) -> U8:
        # libjpeg fills a missing part with grey.
        if not self._has_end:
            raise self._damaged("it has no end")
        enough = at_least or min(self.size)
        reduced = (flag for scale, flag in _REDUCED if min(self.size) // scale >= enough)
        flags = next(reduced, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(self.data, np.uint8), flags)
        if pixels is None:
            raise self._damaged("its pixels cannot be decoded")
        return np.asarray(pixels, np.uint8)

    def _code_points(self) -> tuple[int, int]:
        """The primaries and the transfer, as in ISO/IEC 23091-2."""
        pattern = _CODE_POINTS.get(self.kind)
        # In HEIC and AVIF files, a colour profile is the better description.
        if pattern is None or (self.kind != "PNG" and "icc_profile" in self._image.info):
            return _UNSPECIFIED
        found = re.search(pattern, self.data, re.DOTALL)
        if found is None:
            info = self._image.info  # linear light, unless the file says more about its colours
            linear = info.get("gamma") == 1 and not info.keys() & {"srgb", "icc_profile"}
            return _LINEAR if linear else _UNSPECIFIED
        return int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big")

    def _tiff_tag(self, tag: int) -> Any:
        tags = getattr(self._image, "tag_v2", None)
        return None if tags is None else tags.get(tag)

    def _profile(self) -> _Profile:
        if self.wide and self.kind == "PNG":
            return _SRGB  # the profile is for programs that do not know code points
        mode = _COLOURS.get(self._image.mode, "RGB")
        profile = self._image.info.get("icc_profile")
        return _read_profile(profile, mode) if profile or mode == "LAB" else _SRGB

    def _transform(self) -> ImageCms.ImageCmsTransform | None:
        return self._profile().transform

    def _read_crop(self) -> Crop:
        found, size = re.search(_APERTURE, self.data, re.DOTALL), self._image.size
        with contextlib.suppress(ZeroDivisionError):
            crop = of_aperture(size, found[1]) if found else NO_CROP
            if min(crop) >= 0 and min(crop.size_of(*size)) > 0:
                return crop
        return NO_CROP

    def _read_orientation(self) -> int:
        if self.kind == "PNG" and not any(word in self.data for word in _PNG_ORIENTATION):
            return 1  # Pillow would decode the pixels, because the word may follow them
        try:
            value = self._image.getexif().get(ORIENTATION, 1)
        except Exception:  # as in __init__; the pixels may still be good
            return 1
        return value if value in range(1, 9) else 1

    def _damaged(self, reason: object) -> BadImage:
        if isinstance(reason, Exception) and is_out_of_memory(reason):
            return BadImage("too large for the memory there is; use a smaller one")
        if re.fullmatch(_NOT_READ, str(reason)):
            return BadImage("its samples are of a kind that is not read")
        problem = f": {reason}" if isinstance(reason, str) else ""  # not a library's inner words
        return DamagedImage(f"damaged or cut off {self.kind}{problem}")


def _scale_transparency(image: Image.Image, *, bits: int) -> None:
    """Scale the transparent colour of a PNG, which is in the file's bits, as Pillow's pixels."""
    colour = image.info.get("transparency")
    if bits == 8 or image.mode not in ("1", "L", "RGB") or not isinstance(colour, (int, tuple)):
        return  # in a palette, or exact already
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)  # of 16 bits
    else:
        image.info["transparency"] = min(colour * 255 // (2**bits - 1), 255)


def _from_16_bit(image: Image.Image, *, inverted: bool) -> Image.Image:
    from PIL import Image

    samples = np.asarray(image, np.uint16)
    if inverted:
        samples = ~samples
    grey = Image.fromarray(cv2.convertScaleAbs(samples, alpha=1 / 257))
    transparent = image.info.get("transparency")
    if transparent is None:
        return grey
    alpha = Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


class _Profile(NamedTuple):
    transform: ImageCms.ImageCmsTransform | None = None  # to sRGB; None if it is sRGB, or bad
    is_bad: bool = False


_SRGB = _Profile()


@functools.lru_cache(16)
def _read_profile(data: bytes | None, colours: str) -> _Profile:
    """Read a colour profile for samples of `colours`; CIE L*a*b* needs none."""
    from PIL import Image, ImageCms

    try:
        if colours == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data or b""))
        mode = _PROFILED.get((profile.profile.xcolor_space.strip(), colours))
        if mode is None:
            return _Profile(is_bad=True)
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError):
        return _Profile(is_bad=True)
    if mode in ("L", "RGB"):
        levels = bytes(itertools.chain(*itertools.product(range(0, 256, 15), repeat=3)))
        before = Image.frombytes("RGB", (len(levels) // 3, 1), levels).convert(mode)
        apart = np.asarray(transform.apply(before), int) - np.asarray(before.convert("RGB"), int)
        if np.abs(apart).max() <= _SRGB_LEVELS:
            return _SRGB
    return _Profile(transform)


def read_picture(path: str) -> U8:
    """The picture of a file over grey, uint8 (h, w, 3) BGR; `BadImage` if it cannot be read."""
    return flatten(ImageReader(read_image_file(path)).read())


def _strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a large picture in parts, so that what is made of it on the way is small."""
    rows = max(1, _STRIP_PIXELS // width)
    return (slice(top, top + rows) for top in range(0, height, rows))


def flatten(pixels: U8, background: int = BACKGROUND) -> U8:
    """Lay BGRA pixels over a grey level (0..255): uint8 (h, w, 3) BGR. BGR pixels stay."""
    if pixels.shape[2] == 3:
        return pixels
    flat = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _strips(*flat.shape[:2]):
        flat[rows] = _flat(pixels[rows], background)
    return flat


def _flat(pixels: U8, background: int) -> U8:
    # Before any scaling: transparent pixels often have garbage colours, which an average would let
    # bleed out.
    alpha, bgr = cv2.extractChannel(pixels, 3), cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    if alpha.min() < 255:
        behind = cv2.convertScaleAbs(cv2.bitwise_not(alpha), alpha=background / 255)
        above = cv2.multiply(bgr, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
        bgr = cv2.add(above, cv2.cvtColor(behind, cv2.COLOR_GRAY2BGR))
    return np.asarray(bgr, np.uint8)
