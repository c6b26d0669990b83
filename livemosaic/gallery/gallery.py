"""A gallery in use: the arrays of its file, or of memory."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..argument import path_text, take
from ..errors import as_written
from ..option import text_of
from ..tile_size import TileSize, tile_size
from .file_format import SUFFIX
from .file_reader import FileContent, file_bytes
from .recipe import CLUSTERS, DROP_PERCENTILE, TILE_PX, Fit, Focus, Recipe
from .sources import Sources

if TYPE_CHECKING:
    from PIL.Image import Image


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
        self._content = content = FileContent(data, path or Path(name), fix=fix, file=file)
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
        cls, path: str | Path, *, name: str | None = None, mapped: bool | None = None, fix: str = ""
    ) -> Self:
        """Open a gallery file.

        A file of up to 256 MB is read and verified. A larger one is mapped, and each of its
        pictures is verified when it is first read. If another program cuts it off meanwhile,
        instead of replacing it, the system ends the process (SIGBUS).

        Parameters
        ----------
        path : the file
        name : for people; by default the file's name
        mapped : map a smaller file, too, which is right for files that are only ever replaced; or
            read a larger one, too, as Windows replaces no mapped file
        fix : for people, what to do if it is damaged; by default how to build it

        Raises
        ------
        GalleryError : missing, unreadable, not a gallery, of another version, cut off or altered
        """
        path = Path(path_text("gallery", path, "a path"))
        called = name or path.name.removesuffix(SUFFIX)
        with file_bytes(path, mapped=mapped) as (data, file):
            return cls(data, name=called, path=path, fix=fix, file=file)

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
