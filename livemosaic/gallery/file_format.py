"""The gallery file: one file that is mapped into memory, versioned, checksummed, written whole.

    offset  what
    0       magic (8 bytes), format version (u32), zero (u32), offset and length of the header (u64)
    32      SHA-256 of everything else: bytes 64 to the end, then bytes 0 to 32
    64      the arrays, each at a multiple of 64 bytes, in C order, little endian
    ...     the header: JSON, UTF-8; it comes last, so that tiles can be written before anybody
            knows how many there will be

Nothing in it is code (no pickle): a gallery from a stranger can do no more than look bad.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError

__all__ = ["FORMAT_VERSION", "TILE_PX_MAX", "Gallery", "GalleryWriter", "Source", "Sources"]

FORMAT_VERSION = 2
SUFFIX = ".gallery"

# As of PNG: a byte above 127 and both line ends, so that no text file starts like this and a
# transfer that "corrects" line ends is noticed.
_MAGIC = b"\x93LMG\r\n\x1a\n"
_PREFIX = struct.Struct("<8sIIQQ")
_DIGEST = hashlib.sha256().digest_size
_START = _PREFIX.size + _DIGEST  # 64, itself aligned
_ALIGN = 64  # a cache line, and the widest SIMD word

_SPEC: dict[str, tuple[str, int]] = {  # dtype and number of axes
    "tiles": ("|u1", 4),
    "features": ("<f4", 2),
    "points": ("|u1", 4),
    "texture": ("|u1", 1),
    "centres": ("<f4", 2),
    "labels": ("<i4", 1),
    "kept": ("|b1", 1),
    "members_start": ("<i4", 1),
    "members": ("<i4", 1),
    "source_photo": ("<i4", 1),
    "source_crop": ("<i4", 2),
    "photo_start": ("<i8", 1),
    "photo_path": ("|u1", 1),
}

# How a gallery was built: what `add` builds it again with.
_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "fit": str,
    "crops": int,
    "clusters": int,
    "drop_percentile": (int, float),
    "seed": int,
}

# The longest side of a tile in pixels: above histograms overflow.
TILE_PX_MAX = 255

_CURE = "build it again with: livemosaic gallery build PHOTOS... -o {}"


class Source(NamedTuple):
    """Where a tile came from: a file, and (left, top, width, height) in pixels of it, upright."""

    path: str
    crop: tuple[int, int, int, int]


class Sources(Sequence[Source]):
    """The source of each tile, stored as a table of paths and int32 numbers."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], root: str) -> None:
        self._photo, self._crop = arrays["source_photo"], arrays["source_crop"]
        self._start, self._bytes = arrays["photo_start"], arrays["photo_path"]
        self._root = root

    def __len__(self) -> int:
        return len(self._photo)

    @overload
    def __getitem__(self, tile: int) -> Source: ...
    @overload
    def __getitem__(self, tile: slice) -> list[Source]: ...
    def __getitem__(self, tile: int | slice) -> Source | list[Source]:
        if isinstance(tile, slice):
            return [self[i] for i in range(*tile.indices(len(self)))]
        left, top, width, height = self._crop[tile].tolist()
        return Source(self._path(int(self._photo[tile])), (left, top, width, height))

    def photos(self) -> list[str]:
        """Paths of all photos, each once."""
        return [self._path(i) for i in range(len(self._start) - 1)]

    def _path(self, photo: int) -> str:
        raw = self._bytes[self._start[photo] : self._start[photo + 1]].tobytes()
        return os.path.join(self._root, raw.decode("utf-8", "surrogateescape"))


class Gallery:
    """Tiles with their features and clusters, as the mosaic reads them. Open with `Gallery.open`.

    All arrays are read-only and mapped from the file: opening costs no copy, and processes that
    use the same gallery share its memory.

    Mirrored copies of tiles are not stored. A colour histogram is the same for the mirror image,
    so it would have the same features and cluster; the mosaic mirrors a tile when it places it.

    Attributes
    ----------
    name : what to call it
    path : the file
    tiles : uint8 (n, tile_px, tile_px, 3), BGR
    tile_px : side of a tile in pixels
    features : float32 (n, 125), normalised colour histograms as of `livemosaic.gallery.histogram`
    points : uint8 (n, 4, 4, 3), BGR, where in the tile which colour lies
    texture : uint8 (n,), see `livemosaic.gallery.layout_features.tile_points`
    labels : int32 (n,), the cluster of each tile
    centres : float32 (k, 125), the mean histogram of each cluster, largest cluster first
    kept : bool (k,), False for clusters that are too small to be used
    members_start : int32 (k + 1,), see `members`
    members : int32 (n,), tile numbers: those of cluster c, in the order of its rotation, are
        `members[members_start[c]:members_start[c + 1]]`
    source_photo : int32 (n,), which photo each tile is taken from
    sources : for each tile its `Source`
    mirror : may tiles be shown mirrored? (photos may, symbols and letters may not)
    options : how it was built (fit, crops, clusters, drop_percentile, seed)
    bytes : size of the file
    """

    def __init__(
        self,
        path: Path,
        name: str,
        arrays: Mapping[str, NDArray[Any]],
        meta: Mapping[str, Any],
        mapped: mmap.mmap,
    ) -> None:
        self.path = path
        self.name = name
        self.bytes = len(mapped)
        self._mapped = mapped
        self.mirror = bool(meta["mirror"])
        self.options: dict[str, Any] = dict(meta["options"])
        self.tiles: NDArray[np.uint8] = arrays["tiles"]
        self.tile_px = int(self.tiles.shape[1])
        self.features: NDArray[np.float32] = arrays["features"]
        self.points: NDArray[np.uint8] = arrays["points"]
        self.texture: NDArray[np.uint8] = arrays["texture"]
        self.centres: NDArray[np.float32] = arrays["centres"]
        self.labels: NDArray[np.int32] = arrays["labels"]
        self.kept: NDArray[np.bool_] = arrays["kept"]
        self.members_start: NDArray[np.int32] = arrays["members_start"]
        self.members: NDArray[np.int32] = arrays["members"]
        self.source_photo: NDArray[np.int32] = arrays["source_photo"]
        self.sources = Sources(arrays, meta["root"])

    def __len__(self) -> int:
        return len(self.tiles)

    def __repr__(self) -> str:
        return f"<Gallery {self.name!r}: {len(self)} tiles of {self.tile_px} px>"

    def tiles_of(self, cluster: int) -> NDArray[np.int32]:
        """The numbers of a cluster's tiles, in the order of its rotation; int32."""
        return self.members[self.members_start[cluster] : self.members_start[cluster + 1]]

    def release(self) -> None:
        """Let go of the memory of what was read so far; it is read again when it is needed."""
        _release(self._mapped)

    @classmethod
    def open(cls, path: str | Path, *, name: str | None = None) -> Gallery:
        """Map a gallery file, after its checksum has been verified.

        Raises
        ------
        GalleryError : missing, unreadable, not a gallery, of another version, cut off or altered
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    raise _refusal(path, "it is empty")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise GalleryError(
                f"cannot open gallery {str(path)!r}: {error.strerror}; check the name, or "
                + _CURE.format(path)
            ) from None
        except (OSError, ValueError) as error:  # a ValueError if the name itself is impossible
            raise GalleryError(
                f"cannot open gallery {str(path)!r}: {_reason(error)}; check its name and rights, "
                "or choose another"
            ) from None
        arrays, meta = _load(path, mapped)
        return cls(path, name or path.name.removesuffix(SUFFIX), arrays, meta, mapped)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refusal(path: Path, problem: str) -> GalleryError:
    return GalleryError(f"cannot use gallery {str(path)!r}: {problem}; " + _CURE.format(path))


def _release(mapped: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)


def _load(path: Path, mapped: mmap.mmap) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Verify a mapped file; its arrays, and the rest of its header."""
    view = memoryview(mapped)
    if bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise _refusal(path, "it is not a gallery, or its first bytes are damaged")
    if len(view) < _START:
        raise _refusal(path, "it is cut off")
    _, version, _, offset, length = _PREFIX.unpack_from(view)
    if version != FORMAT_VERSION:
        raise _refusal(
            path, f"its format is version {version}, this program reads version {FORMAT_VERSION}"
        )
    if offset + length > len(view):
        raise _refusal(path, f"it is cut off: {offset + length - len(view)} bytes are missing")
    digest = hashlib.sha256(view[_START:])
    digest.update(view[: _PREFIX.size])
    _release(mapped)  # reading it all made it all resident
    if offset + length < len(view) or digest.digest() != view[_PREFIX.size : _START]:
        raise _refusal(path, "it is damaged or was altered, its checksum does not match")
    # From here on the file is as a GalleryWriter left it, or somebody took pains to forge it. A
    # forged index must still not make compiled code read elsewhere.
    try:
        meta = json.loads(bytes(view[offset:]))
        arrays = {
            name: _array(view, meta["arrays"][name], dtype, axes)
            for name, (dtype, axes) in _SPEC.items()
        }
        _check(arrays)
        _check_meta(meta)
        return arrays, {key: meta[key] for key in ("root", "mirror", "options")}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _refusal(path, f"its header is not valid ({error})") from None


def _array(view: memoryview, entry: Mapping[str, Any], dtype: str, axes: int) -> NDArray[Any]:
    shape = tuple(int(v) for v in entry["shape"])
    if entry["dtype"] != dtype or len(shape) != axes or min(shape) < 0:
        raise ValueError(f"an array is {entry['dtype']} {shape}")
    count = int(np.prod(shape, dtype=object))
    return np.frombuffer(view, dtype, count, int(entry["offset"])).reshape(shape)


def _check(a: Mapping[str, NDArray[Any]]) -> None:
    """Do the arrays fit together, and does every index point at something?"""
    n, px = a["tiles"].shape[:2]
    k, photos = len(a["centres"]), len(a["photo_start"]) - 1
    shapes = {
        "tiles": (n, px, px, 3), "features": (n, 125), "points": (n, 4, 4, 3),
        "texture": (n,), "centres": (k, 125), "labels": (n,),
        "kept": (k,), "members_start": (k + 1,), "members": (n,), "source_photo": (n,),
        "source_crop": (n, 4),
    }  # fmt: skip
    for name, shape in shapes.items():
        if a[name].shape != shape:
            raise ValueError(f"{name} is {a[name].shape}, not {shape}")
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
    if not 0 < px <= TILE_PX_MAX:
        raise ValueError(f"tiles are of {px} px")
    if a["source_crop"].min() < 0:
        raise ValueError("source_crop is out of range")
    if not a["photo_path"].all():
        raise ValueError("a path holds a zero byte")


def _check_meta(meta: Mapping[str, Any]) -> None:
    """Is the rest of the header what a GalleryWriter writes?"""
    if b"\0" in os.fsencode(meta["root"]):  # which takes names only
        raise ValueError("root holds a zero byte")
    if not isinstance(meta["mirror"], bool):
        raise ValueError("mirror is neither true nor false")
    options = meta["options"]
    if not isinstance(options, dict):
        raise ValueError("options is no table")
    for name, value in options.items():
        if name not in _OPTIONS or not isinstance(value, _OPTIONS[name]):
            raise ValueError(f"option {name!r} is {value!r:.40}")


class GalleryWriter:
    """Writes a gallery file as a stream; it appears under its name only when it is whole.

    Use as a context manager. Tiles are written as they come, `finish` adds the rest. Leaving the
    block without `finish`, by whatever exception, leaves no file.

    Raises
    ------
    GalleryError : whatever goes wrong with writing
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if os.path.isdir(self.path):
            raise self._error("it is a folder")
        # Beside the target: a rename is atomic only within one file system.
        self._part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        self._hash = hashlib.sha256()
        self._arrays: dict[str, dict[str, Any]] = {}
        self._at = _START
        self._shape: tuple[int, ...] = ()
        self._tiles = 0
        try:
            self._file = open(self._part, "xb")  # noqa: SIM115 - closed by __exit__
            self._file.write(bytes(_START))
        except (OSError, ValueError) as error:  # a ValueError if the name itself is impossible
            raise self._error(error) from None

    def __enter__(self) -> GalleryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # a full disk again, at the flush; what counts has been raised
        finally:
            self._part.unlink(missing_ok=True)

    def append(self, tiles: NDArray[np.uint8]) -> None:
        """Add uint8 (m, px, px, 3) BGR tiles; the same px in every call."""
        self._shape = tiles.shape[1:]
        self._tiles += len(tiles)
        self._write(np.ascontiguousarray(tiles).data)

    def finish(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        photos: Sequence[str],
        root: str,
        mirror: bool,
        options: Mapping[str, Any],
    ) -> int:
        """Write all but the tiles, and put the file under its name.

        Parameters
        ----------
        arrays : features, points, texture, centres, labels, kept, members_start, members,
            source_photo and source_crop, as of `Gallery` and `Sources`
        photos : paths relative to `root`, in the order that source_photo counts
        mirror, options : as of `Gallery`; options must go into JSON

        Returns
        -------
        The size of the file in bytes
        """
        self._describe("tiles", "|u1", (self._tiles, *self._shape), _START)
        raw = [photo.encode("utf-8", "surrogateescape") for photo in photos]
        table = {
            "photo_start": np.cumsum([0, *map(len, raw)], dtype=np.int64),
            "photo_path": np.frombuffer(b"".join(raw), np.uint8),
        }
        for name, array in (dict(arrays) | table).items():
            array = np.ascontiguousarray(array, _SPEC[name][0])
            self._write(bytes(-self._at % _ALIGN))
            self._describe(name, array.dtype.str, array.shape, self._at)
            self._write(array.reshape(-1).view(np.uint8).data)
        offset = self._at
        meta = {"arrays": self._arrays, "root": root, "mirror": mirror, "options": dict(options)}
        # ASCII escapes carry what a file name holds that is not UTF-8.
        self._write(json.dumps(meta, sort_keys=True).encode())
        prefix = _PREFIX.pack(_MAGIC, FORMAT_VERSION, 0, offset, self._at - offset)
        self._hash.update(prefix)
        try:
            self._file.seek(0)
            self._file.write(prefix + self._hash.digest())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
        except OSError as error:
            raise self._error(error) from None
        return self._at

    def _describe(self, name: str, dtype: str, shape: tuple[int, ...], offset: int) -> None:
        self._arrays[name] = {"dtype": dtype, "shape": list(shape), "offset": offset}

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._error(error) from None
        self._hash.update(data)
        self._at += len(data) if isinstance(data, bytes) else data.nbytes

    def _error(self, error: OSError | ValueError | str) -> GalleryError:
        problem = error if isinstance(error, str) else _reason(error)
        return GalleryError(
            f"cannot write gallery {str(self.path)!r}: {problem}; choose another place"
        )
