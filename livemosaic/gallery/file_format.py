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

import contextlib
import copy
import errno
import hashlib
import json
import math
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, cast, overload

import numpy as np
from numpy.typing import NDArray

from ..argument import path_text, take
from ..errors import GalleryError, UsageError, as_written, words_of
from ..media.atomic_write import atomic_write
from ..option import options_of, text_of
from ..tile_size import TileSize, tile_size
from .checksums import Blocks, CheckedRows, RunningChecksums, rows_together
from .recipe import CLUSTERS, DROP_PERCENTILE, MAX_TILE_PX, TILE_PX, Fit, Focus, Recipe
from .rows import SpooledRows

if TYPE_CHECKING:
    from PIL.Image import Image

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
# Goes up with anything that makes another search index of the same tiles.
INDEX_VERSION = 2
# The search index, with m variants, s slots and c clusters, see `layout_index.py`.
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
_PREFIX = struct.Struct("<8sIIQQ")
_SUM = np.dtype("<u4")
_START = _PREFIX.size + hashlib.sha256().digest_size  # 64, itself aligned
MAX_READ = 2**28  # bytes; a larger file is mapped, and verified as it is read
_VERIFIED = 4096  # blocks between two reports of progress
_ALIGN = 64  # a cache line, and the widest SIMD word


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


def refuse_gallery(path: str | Path) -> None:
    """Raise `GalleryError` for a gallery file among photos."""
    is_gallery = False
    with contextlib.suppress(OSError):  # the build reports it
        is_gallery = is_gallery_file(os.path.expanduser(path))
    if is_gallery:
        raise GalleryError(
            f"{str(path)!r} is a gallery, and only photos can be added; leave it out, or use both "
            f"in a mosaic: --gallery NAME{SUFFIX} --gallery {path}"
        )


def refuse_to_replace(path: str | Path) -> None:
    """Raise `UsageError` if there is something at a path that is neither a gallery nor empty."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if os.path.exists(path) and not is_gallery_file(path):
            if os.path.isfile(path) and not os.path.getsize(path):
                return
            raise UsageError(
                f"{path}: it exists and is not a gallery, so it is not replaced; choose another "
                f"name, such as my{SUFFIX}"
            )
    except OSError as error:
        raise GalleryError(
            f"cannot write gallery {str(path)!r}: {words_of(error)}; choose another place"
        ) from None


class Source(NamedTuple):
    """The photo that a tile shows, and the part of it: left, top, width, height in pixels."""

    path: str
    crop: tuple[int, int, int, int]


# The size and the time in ns of a photo's file: another one means that the photo has changed.
Stamp = tuple[int, int]
NO_STAMP: Stamp = (0, 0)


class Sources(Sequence[Source]):
    """The source of each tile, stored as a table of paths and int32 numbers.

    Attributes
    ----------
    root : the folder that the paths belong to
    crops : int32 (n, 4), the part of the photo that each shows
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], root: str) -> None:
        self.root = root
        self._photo: NDArray[np.int32] = arrays["source_photo"]
        self.crops: NDArray[np.int32] = arrays["source_crop"]
        self._start, self._bytes = arrays["photo_start"], arrays["photo_path"]

    def __len__(self) -> int:
        return len(self._photo)

    @overload
    def __getitem__(self, tile: int) -> Source: ...
    @overload
    def __getitem__(self, tile: slice) -> list[Source]: ...
    def __getitem__(self, tile: int | slice) -> Source | list[Source]:
        if isinstance(tile, slice):
            return [self[i] for i in range(*tile.indices(len(self)))]
        left, top, width, height = self.crops[tile].tolist()
        return Source(self.path(int(self._photo[tile])), (left, top, width, height))

    def with_crops(self, crops: NDArray[np.int32]) -> Sources:
        """The same photos with other parts of them, int32 (n, 4)."""
        made = copy.copy(self)
        made.crops = crops
        return made

    @property
    def photo_count(self) -> int:
        """The number of photos."""
        return len(self._start) - 1

    def photos(self) -> list[str]:
        """Paths of all photos, each once."""
        return [self.path(photo) for photo in range(self.photo_count)]

    def names(self) -> list[bytes]:
        """The same as bytes, in a third of the time."""
        raw, root = self._bytes.tobytes(), self.root.encode("utf-8", "surrogateescape")
        return [os.path.join(root, raw[begin:end]) for begin, end in pairwise(self._start.tolist())]

    def path(self, photo: int) -> str:
        """The path of a photo by its number."""
        raw = self._bytes[self._start[photo] : self._start[photo + 1]].tobytes()
        return os.path.join(self.root, raw.decode("utf-8", "surrogateescape"))


class Gallery:
    """Tiles with their features and clusters. Made by `open_gallery`, `open` or `from_images`.

    It never changes, and any number of threads and mosaics can use it at once. All arrays are
    read-only. Those of a large file, and of the built-in galleries, are mapped from it: opening
    costs no copy, and processes that use the same gallery share its memory.

    Mirrored copies of tiles are not stored, since a mirror image has the same histogram and so the
    same cluster. The mosaic mirrors a tile when it places the tile.

    Attributes
    ----------
    name : for people
    path : the file, None for a gallery in memory
    tiles : uint8 (n, tile_height, tile_width, 3), BGR
    tile_px : side of a square tile in pixels, or width and height of others
    tile_width, tile_height : the same as single numbers
    features : float32 (n, 125), normalised colour histograms, see `livemosaic.gallery.histogram`
    points : uint8 (n, 4, 4, 3), BGR, where in the tile which colour lies
    texture : uint8 (n,), see `livemosaic.gallery.layout_features.tile_points`
    labels : int32 (n,), the cluster of each tile
    centres : float32 (k, 125), the mean histogram of each cluster, largest cluster first
    kept : bool (k,), False for clusters that are too small to be used
    members_start : int32 (k + 1,), see `members`
    members : int32 (n,), tile numbers: those of cluster c, in the order of its rotation, are
        `members[members_start[c]:members_start[c + 1]]`
    source_photo : int32 (n,), the number of the photo that each tile shows
    sources : the `Source` of each tile
    mirror : may tiles be shown mirrored? (photos may, symbols and letters may not)
    mirrors : bool (n,), which tiles may be shown mirrored: none without `mirror`, and none of a
        photo with lettering
    added_crops : bool (n,), which tiles are crops that were added for the colours that whole photos
        lack; crops that a recipe asks for are not among them
    gone : bool (n,), which tiles have left: those of photos that a `LiveGallery` forgot. No cluster
        has them; all other arrays do
    options : how the gallery was built (fit, crops, clusters, drop_percentile, seed)
    uncut, uncut_photo, uncut_crop : photos of another shape than the tiles, for tiles of any: uint8
        (w, tile_height, tile_width, 3), int32 (w,) and (w, 4): BGR, distorted; number of the photo;
        the part of it, all of most
    heads : int32 (h, 5), the photo's number and the part of it, of heads that are not to be cut
    stamps : int64 (photos, 2), the size and the time in ns of each photo's file when it was read;
        zeros where they are not known
    bytes : size of the file
    digest : of its content, SHA-256 in hexadecimal digits
    stored_index : the search index as the file has it; None if it has none
    """

    def __init__(
        self,
        data: mmap.mmap | bytes,
        *,
        name: str,
        path: Path | None = None,
        fix: str = "",
        file: int | None = None,
    ) -> None:
        """Read a gallery from its bytes, which may be a mapped `file`; `fix` is what to do if it is
        damaged."""
        refuse = partial(_refusal, path or Path(name), fix=fix)
        self._content = content = _Content(data, refuse)
        arrays, header = content.arrays, content.header
        self.name = name
        self.path = path
        self.bytes = len(data)
        self.digest = content.digest
        self.stored_index = content.stored_index(file)
        self.release()  # to verify it, much of it was read
        self.mirror = bool(header["mirror"])
        # The first galleries looked for no faces, and had no word for it.
        self.options: dict[str, Any] = {"focus": "centre", **header["options"]}
        self.tiles: NDArray[np.uint8] = arrays["tiles"]
        self.tile_height, self.tile_width = map(int, self.tiles.shape[1:3])
        self.features: NDArray[np.float32] = arrays["features"]
        self.points: NDArray[np.uint8] = arrays["points"]
        self.texture: NDArray[np.uint8] = arrays["texture"]
        self.centres: NDArray[np.float32] = arrays["centres"]
        self.labels: NDArray[np.int32] = arrays["labels"]
        self.kept: NDArray[np.bool_] = arrays["kept"]
        self.members_start: NDArray[np.int32] = arrays["members_start"]
        self.members: NDArray[np.int32] = arrays["members"]
        self.source_photo: NDArray[np.int32] = arrays["source_photo"]
        self.sources = Sources(arrays, header["root"])
        photos = len(arrays["photo_start"]) - 1
        self.stamps: NDArray[np.int64] = arrays["photo_stamp"]
        self.uncut: NDArray[np.uint8] = arrays["uncut"]
        self.uncut_photo: NDArray[np.int32] = arrays["uncut_photo"]
        self.uncut_crop: NDArray[np.int32] = arrays["uncut_crop"]
        self.heads: NDArray[np.int32] = arrays["heads"]
        by_photo = np.full(photos, self.mirror)
        by_photo[header.get("lettering", [])] = False
        self.mirrors: NDArray[np.bool_] = by_photo[self.source_photo]
        first = photos if self.options.get("crops", 0) is None else len(self)
        self.added_crops: NDArray[np.bool_] = np.arange(len(self)) >= first
        self.gone: NDArray[np.bool_] = np.zeros(len(self), np.bool_)

    def __len__(self) -> int:
        return len(self.tiles)

    def __repr__(self) -> str:
        return f"<Gallery {self.name!r}: {len(self)} tiles of {text_of(self.tile_px)} px>"

    @property
    def tile_px(self) -> TileSize:
        return tile_size(self.tile_width, self.tile_height)

    @property
    def parts(self) -> tuple[Gallery, ...]:
        """The galleries that it was joined of; itself for any other."""
        return (self,)

    def tiles_of(self, cluster: int) -> NDArray[np.int32]:
        """The numbers of a cluster's tiles, in the order of its rotation; int32."""
        return self.members[self.members_start[cluster] : self.members_start[cluster + 1]]

    def release(self) -> None:
        """Release the memory of the pictures read so far. They are read again when needed."""
        self._content.release()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read the whole file, and verify all of it.

        Parameters
        ----------
        progress : called as progress(done, total), in blocks

        Raises
        ------
        GalleryError : a part is damaged
        """
        self._content.verify(progress)

    @classmethod
    def open(
        cls, path: str | Path, *, name: str | None = None, mapped: bool = False, fix: str = ""
    ) -> Self:
        """Open a gallery file.

        A file of up to 256 MB is read and verified. A larger one is mapped, and each of its
        pictures is verified when it is first read. If another program cuts it off meanwhile,
        instead of replacing it, the system ends the process (SIGBUS).

        Parameters
        ----------
        path : the file
        name : for people; by default the file's name
        mapped : map a smaller file, too. Right for files that are only ever replaced
        fix : for people, what to do if it is damaged; by default how to build it

        Raises
        ------
        GalleryError : missing, unreadable, not a gallery, of another version, cut off or altered
        """
        path = Path(path_text("gallery", path, "a path"))
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                called = name or path.name.removesuffix(SUFFIX)
                if size > MAX_READ or (mapped and size):  # an empty file cannot be mapped
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    return cls(data, name=called, path=path, fix=fix, file=file.fileno())
                return cls(file.read(), name=called, path=path, fix=fix)
        except OSError as error:
            raise GalleryError(
                f"cannot open gallery {str(path)!r}: {words_of(error)}; check its name and "
                f"permissions, or {how_to_build(path)}"
            ) from None

    @classmethod
    def from_images(
        cls,
        images: str | Path | Iterable[NDArray[Any] | Image | str | Path],
        *,
        tile: TileSize = TILE_PX,
        fit: Fit = "crop",
        crops: int | None = None,
        clusters: int = CLUSTERS,
        drop_percentile: float = DROP_PERCENTILE,
        seed: int = 0,
        mirror: bool = True,
        focus: Focus = "faces",
        rgb: bool = False,
        name: str = "images",
    ) -> Self:
        """Make a gallery in memory; no file is written.

        The same images and options give the same tiles as `build_gallery`.

        Parameters
        ----------
        images : uint8 (height, width, 3) BGR arrays, Pillow images, and paths of image files; or
            one path
        tile : side of a tile in pixels, 8..255, or width and height, from 1:2 to 2:1
        fit, crops, clusters, drop_percentile, seed, mirror, focus : see
            `livemosaic.gallery.build_gallery`
        rgb : arrays are RGB
        name : for people

        Raises
        ------
        OptionError : an option does not take its value
        UsageError : no image, `images[3]` is none of these, or another argument makes no sense
        GalleryError : an image file cannot be read

        Examples
        --------
        >>> import numpy as np
        >>> from livemosaic import Gallery
        >>> rng = np.random.default_rng(0)
        >>> images = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(20)]
        >>> Gallery.from_images(images, tile=16, crops=0)
        <Gallery 'images': 20 tiles of 16 px>
        """
        from .build import images_gallery

        with as_written({"tile_px": "tile"}):
            recipe = Recipe(
                tile, fit, crops, clusters, drop_percentile, seed, not mirror, focus=focus
            )
        take("name", name, str, "a text")
        return cls(images_gallery(images, recipe, rgb=rgb), name=name)


def _refusal(path: Path, problem: str, *, again: bool = True, fix: str = "") -> GalleryError:
    fix = fix if again and fix else how_to_build(path, again=again)
    return GalleryError(f"cannot use gallery {str(path)!r}: {problem}; {fix}")


_Refuse = Callable[..., GalleryError]
_DAMAGED = "it is damaged or was altered, its checksum does not match"

# Their arrays are most of a file, and few of their rows are read.
_PICTURES = ("tiles", "uncut")
_LARGE = (*_PICTURES, "features")


class StoredIndex:
    """The search index of a gallery file. `layout_index.py` makes and reads it.

    Attributes
    ----------
    kind : how it was made: its version and parameters
    refuse : the error for an index that cannot be used, from the problem
    """

    def __init__(
        self,
        kind: Mapping[str, Any],
        entries: Mapping[str, Any],
        sums: NDArray[np.uint32],
        load: Callable[[], tuple[bytearray | mmap.mmap, int]],
        refuse: _Refuse,
    ) -> None:
        self.kind, self.refuse = kind, refuse
        self._entries, self._sums, self._load = entries, sums, load

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of `INDEX`, verified. Kernels are compiled for arrays that may be written:
        what is written does not reach the file.

        Raises
        ------
        GalleryError : they are damaged
        """
        data, first = self._load()
        found = {}
        for name, (dtype, _) in INDEX.items():
            try:
                rows = _array(memoryview(data), self._entries[name], dtype, first=first)
            except ValueError as error:
                raise self.refuse(f"its header is not valid ({error})") from None
            blocks, _ = _blocks(rows, self._entries[name], self._sums)
            if not blocks.is_whole():
                raise self.refuse(_DAMAGED)
            found[name] = rows
        return found


class _Content:
    """What is in a gallery file.

    Attributes
    ----------
    arrays : of `ARRAYS` and `OPTIONAL`
    header : see the table above
    digest : SHA-256, another one for any other content
    """

    def __init__(self, data: mmap.mmap | bytes, refuse: _Refuse) -> None:
        if not len(data):
            raise refuse("it is empty")
        self._data, self._refuse = data, refuse
        self._view = view = memoryview(data)
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise refuse("it is not a gallery, or its first bytes are damaged", again=False)
        if len(view) < _START:
            raise refuse("it is cut off")
        _, version, sums, offset, length = _PREFIX.unpack_from(view)
        if version not in (_WHOLE_VERSION, FORMAT_VERSION):
            raise refuse(
                f"its format is version {version}, this program reads version {FORMAT_VERSION}"
            )
        if offset + length > len(view):
            raise refuse(f"it is cut off: {offset + length - len(view)} bytes are missing")
        by_block = version == FORMAT_VERSION
        begin = offset - sums * _SUM.itemsize if by_block else _START
        if begin < _START or offset + length < len(view):
            raise refuse(_DAMAGED)
        digest = hashlib.sha256(view[begin:])
        digest.update(view[: _PREFIX.size])
        if digest.digest() != view[_PREFIX.size : _START]:
            raise refuse(_DAMAGED)
        self.digest = digest.hexdigest()
        # A forged file has a good checksum. Its indices must still not make compiled code read
        # outside the arrays.
        try:
            self.header = header = json.loads(bytes(view[offset:]))
            entries = header["arrays"]
            there = [*ARRAYS, *(name for name in OPTIONAL if name in entries)]
            dtypes = ARRAYS | OPTIONAL
            self.arrays = {name: _array(view, entries[name], dtypes[name][0]) for name in there}
            self._sums = np.frombuffer(view, _SUM, sums if by_block else 0, begin)
            self._check_blocks(by_block=by_block)
            _check_arrays(self.arrays)
            _check_header(header, photos=len(self.arrays["photo_start"]) - 1)
        except GalleryError:
            raise
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise refuse(f"its header is not valid ({error})") from None

    def _check_blocks(self, *, by_block: bool) -> None:
        """Verify the arrays, or let the large ones of a large file be verified as they are read."""
        self._all: dict[str, Blocks] = {}
        self._pages = [
            self._pages_of(self.header["arrays"][name]) for name in _LARGE if name in self.arrays
        ]
        if not by_block:
            return
        is_large = len(self._view) > MAX_READ
        for name, entry in self.header["arrays"].items():
            rows = self.arrays.get(name)
            if rows is None:
                rows = _array(self._view, entry, str(entry["dtype"]))
            blocks, together = _blocks(rows, entry, self._sums)
            self._all[name] = blocks
            if is_large and name in _LARGE:
                damaged = partial(self._refuse, _DAMAGED)
                checked = CheckedRows(rows, blocks, together, damaged)
                self.arrays[name] = cast(NDArray[Any], checked)
            elif not (is_large and name in INDEX) and not blocks.is_whole():
                raise self._refuse(_DAMAGED)

    def verify(self, progress: Callable[[int, int], None] | None) -> None:
        """Verify all blocks."""
        done, total = 0, sum(map(len, self._all.values()))
        for blocks in self._all.values():
            for begin in range(0, len(blocks), _VERIFIED):
                some = np.arange(begin, min(begin + _VERIFIED, len(blocks)))
                if not blocks.are_whole(some):
                    raise self._refuse(_DAMAGED)
                done += len(some)
                self.release()
                if progress is not None:
                    progress(done, total)

    def _pages_of(self, entry: Mapping[str, Any]) -> tuple[int, int]:
        """The first byte and the length of the whole pages of an array."""
        begin = int(entry["offset"])
        length = int(np.prod(entry["shape"], dtype=object)) * np.dtype(entry["dtype"]).itemsize
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        return first, max(0, (begin + length) // mmap.PAGESIZE * mmap.PAGESIZE - first)

    def release(self) -> None:
        """Release the memory of the large arrays."""
        if sys.platform != "win32" and isinstance(self._data, mmap.mmap):
            for first, length in self._pages:
                if length:
                    self._data.madvise(mmap.MADV_DONTNEED, first, length)

    def stored_index(self, file: int | None) -> StoredIndex | None:
        """The search index, mapped from a file or to be copied."""
        kind = self.header.get("index")
        if kind is None or not INDEX.keys() <= self._all.keys():
            return None
        entries = {name: self.header["arrays"][name] for name in INDEX}
        view, begin = self._view, min(int(it["offset"]) for it in entries.values())
        if file is None:
            return StoredIndex(
                kind, entries, self._sums, lambda: (bytearray(view[begin:]), begin), self._refuse
            )
        begin -= begin % mmap.ALLOCATIONGRANULARITY
        size = len(view) - begin
        data = mmap.mmap(file, size, access=mmap.ACCESS_COPY, offset=begin)
        return StoredIndex(kind, entries, self._sums, lambda: (data, begin), self._refuse)


def _array(
    view: memoryview, entry: Mapping[str, Any], dtype: str, *, first: int = 0
) -> NDArray[Any]:
    """An array of a file of which there is the part that begins at its byte `first`."""
    shape = tuple(int(v) for v in entry["shape"])
    if entry["dtype"] != dtype or min(shape) < 0:
        raise ValueError(f"an array is {entry['dtype']} {shape}")
    count = int(np.prod(shape, dtype=object))
    return np.frombuffer(view, dtype, count, int(entry["offset"]) - first).reshape(shape)


def _blocks(
    rows: NDArray[Any], entry: Mapping[str, Any], sums: NDArray[np.uint32]
) -> tuple[Blocks, int]:
    """The blocks of an array, and how many rows each has."""
    together, first = int(entry["rows"]), int(entry["checksums"])
    end = first + -(-len(rows) // together) if together > 0 else -1
    if not 0 <= first <= end <= len(sums):
        raise ValueError("checksums are missing")
    return Blocks(rows, sums[first:end], together), together


def _check_arrays(a: dict[str, NDArray[Any]]) -> None:
    """Raise ValueError if the arrays do not fit together, or an index is out of range; add empty
    ones for those that are missing."""
    n, height, width = a["tiles"].shape[:3]
    k, photos = len(a["centres"]), len(a["photo_start"]) - 1
    sizes = {
        "n": n,
        "height": height,
        "width": width,
        "k": k,
        "k+1": k + 1,
        "p": photos,
        "p+1": photos + 1,
    }
    sizes["bytes"] = len(a["photo_path"])
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


def _check_header(header: Mapping[str, Any], *, photos: int) -> None:
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


class GalleryWriter:
    """Writes a gallery file as a stream: tiles as they come, then the rest by `finish`."""

    def __init__(self, file: IO[bytes], *, folder: str | None = None) -> None:
        """`folder` is for a temporary file, by default the system's."""
        self._file, self._folder = file, folder
        self._checksums = RunningChecksums()
        self._arrays: dict[str, dict[str, Any]] = {}
        self._tiles = 0
        self._uncut: SpooledRows | None = None  # what comes after the last tile
        file.write(bytes(_START))
        self._offset = _START

    def append(self, tiles: NDArray[np.uint8]) -> None:
        """Add uint8 (m, height, width, 3) BGR tiles, of one size in all calls."""
        if not self._arrays:
            self._begin("tiles", ARRAYS["tiles"][0], tiles.shape[1:])
        self._tiles += len(tiles)
        self._add(tiles)

    def append_uncut(self, photos: NDArray[np.uint8]) -> None:
        """Add uncut photos, as large as tiles."""
        if len(photos):
            if self._uncut is None:
                self._uncut = SpooledRows(OPTIONAL["uncut"][0], photos.shape[1:], self._folder)
            self._uncut.append(photos)

    def close(self) -> None:
        """Free what was kept for `finish`."""
        if self._uncut is not None:
            self._uncut.close()

    def finish(
        self,
        arrays: Mapping[str, NDArray[Any] | SpooledRows],
        *,
        photos: Iterable[str],
        root: str,
        recipe: Recipe,
        lettering: Sequence[int] = (),
        stamps: Sequence[Stamp] | NDArray[np.int64] = (),
        index: bool = True,
    ) -> int:
        """Write everything but the tiles; return the size of the file in bytes.

        Parameters
        ----------
        arrays : all of `ARRAYS` but tiles, photo_start and photo_path; of `OPTIONAL`, those for
            tiles of other shapes but uncut
        photos : paths relative to `root`, in the order of source_photo's numbers
        lettering : the numbers of those that are never mirrored
        stamps : of each photo, or none
        index : write the search index, too
        """
        self._end(self._tiles)
        if self._uncut is not None:
            self._write("uncut", self._uncut.blocks())
        start, path = array("q", [0]), bytearray()
        for photo in photos:
            path += photo.encode("utf-8", "surrogateescape")
            start.append(len(path))
        table: dict[str, NDArray[Any]] = {
            "photo_start": np.frombuffer(start, np.int64),
            "photo_path": np.frombuffer(path, np.uint8),
        }
        known = np.asarray(stamps, np.int64)
        if known.any():
            table["photo_stamp"] = known
        for name, rows in (dict(arrays) | table).items():
            if name in ARRAYS or len(rows):
                self._write(name, rows.blocks() if isinstance(rows, SpooledRows) else [rows])
        header = {
            "root": root, "mirror": recipe.mirror, "lettering": list(lettering),
            "options": {name: getattr(recipe, name) for name in OPTIONS},
        }  # fmt: skip
        if index:
            from .layout_index import INDEX_KIND, index_arrays

            header["index"] = INDEX_KIND
            mirrors = np.full(len(start) - 1, recipe.mirror)
            mirrors[list(lettering)] = False
            shown = np.asarray(arrays["source_photo"][:], np.int32)
            for name, parts in index_arrays(arrays["points"][:], shown, mirrors[shown]):
                self._write(name, parts)
        sums = np.array(self._checksums.sums, _SUM).tobytes()
        # ASCII escapes carry bytes of file names that are not UTF-8.
        text = json.dumps(header | {"arrays": self._arrays}, sort_keys=True).encode()
        self._file.write(sums + text)
        offset = self._offset + len(sums)
        count = len(self._checksums.sums)
        prefix = _PREFIX.pack(_MAGIC, FORMAT_VERSION, count, offset, len(text))
        self._file.seek(0)
        self._file.write(prefix + hashlib.sha256(sums + text + prefix).digest())
        return offset + len(text)

    def _write(self, name: str, parts: Iterable[NDArray[Any]]) -> None:
        """Write an array, of parts one after another."""
        dtype, count = (ARRAYS | OPTIONAL | INDEX)[name][0], 0
        for number, part in enumerate(parts):
            rows = np.ascontiguousarray(part, dtype)
            if not number:
                self._begin(name, dtype, rows.shape[1:])
            self._add(rows)
            count += len(rows)
        self._end(count)

    def _begin(self, name: str, dtype: str, row: tuple[int, ...]) -> None:
        padding = bytes(-self._offset % _ALIGN)
        self._file.write(padding)
        self._offset += len(padding)
        row_bytes = math.prod(row) * np.dtype(dtype).itemsize
        together = rows_together(row_bytes, pictures=name in _PICTURES)
        self._checksums.begin(together * row_bytes)
        self._arrays[name] = {
            "dtype": dtype, "shape": [0, *row], "offset": self._offset,
            "rows": together, "checksums": len(self._checksums.sums),
        }  # fmt: skip

    def _add(self, rows: NDArray[Any]) -> None:
        """Write some rows of the array that was begun."""
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        self._file.write(data)
        self._checksums.add(data)
        self._offset += len(data)

    def _end(self, count: int) -> None:
        """The array that was begun has so many rows, and no more."""
        self._checksums.end()
        list(self._arrays.values())[-1]["shape"][0] = count


@contextlib.contextmanager
def new_gallery_file(path: str | Path) -> Iterator[GalleryWriter]:
    """Write a gallery file, which appears under its name when it is whole; else nothing is left.

    `UsageError` if there is another file, such as a photo.
    """
    path = Path(path)
    refuse_to_replace(path)
    try:
        with atomic_write(path) as file:
            made = GalleryWriter(file, folder=str(path.parent))
            with contextlib.closing(made) as writer:
                yield writer
                refuse_to_replace(path)  # it may have come meanwhile
    except OSError as error:
        raise GalleryError(
            f"cannot write gallery {str(path)!r}: {words_of(error)}; choose another place"
        ) from None
