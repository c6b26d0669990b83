"""The gallery file format: reading, refusals, and nothing left of a failed write."""

from __future__ import annotations

import io
import json
import os
import re
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.fuzz.spoil import resealed
from livemosaic.errors import GalleryError, UsageError
from livemosaic.gallery import Gallery, open_gallery
from livemosaic.gallery.clusters import group_tiles
from livemosaic.gallery.file_format import ARRAYS, FORMAT_VERSION, INDEX
from livemosaic.gallery.file_writer import GalleryWriter, new_gallery_file
from livemosaic.gallery.histogram import tile_histograms
from livemosaic.gallery.layout_features import tile_points
from livemosaic.gallery.recipe import Recipe

RECIPE = Recipe(8, "stretch", crops=0, seed=7, no_mirror=True)
PHOTOS = ["a.jpg", "ü/b.jpg", "bad\udcff.jpg"]


def write(path: Path, *, tiles: int = 6) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (tiles, 8, 8, 3)).astype(np.uint8)
    features = tile_histograms(pixels)
    photos = np.arange(tiles, dtype=np.int32) % len(PHOTOS)
    groups = group_tiles(features, np.arange(tiles, dtype=np.int32) // 4, photos)
    with new_gallery_file(path) as writer:
        writer.append(pixels[:2])
        writer.append(pixels[2:])
        arrays = {
            "features": features,
            **dict(zip(("points", "texture"), tile_points(pixels), strict=True)),
            "source_photo": photos,
            "source_crop": np.arange(tiles * 4, dtype=np.int32).reshape(tiles, 4),
            **groups._asdict(),
        }
        size = writer.finish(arrays, photos=PHOTOS, root="/photos", recipe=RECIPE)
    assert size == path.stat().st_size
    return pixels


def make(path: Path | str) -> None:
    with new_gallery_file(path) as writer:
        writer.append(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.gallery"
    write(path)
    return path


def header_of(data: bytes | bytearray) -> tuple[int, dict[str, Any]]:
    _, _, _, offset, length = struct.unpack_from("<8sIIQQ", data)
    return offset, json.loads(data[offset : offset + length])


def of_version_2(data: bytes) -> bytes:
    """The same gallery as livemosaic wrote it before there were blocks."""
    offset, meta = header_of(data)
    count = struct.unpack_from("<I", data, 12)[0]
    meta["arrays"] = {
        name: {key: entry[key] for key in ("dtype", "shape", "offset")}
        for name, entry in meta["arrays"].items()
        if name not in INDEX
    }
    del meta["index"]
    text = json.dumps(meta, sort_keys=True).encode()
    made = bytearray(data[: offset - 4 * count] + text)
    struct.pack_into("<IIQQ", made, 8, 2, 0, offset - 4 * count, len(text))
    return resealed(made)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "small.gallery"
    pixels = write(path)
    gallery = Gallery.open(path)
    assert (gallery.name, gallery.path, gallery.tile_px, len(gallery)) == ("small", path, 8, 6)
    assert gallery.mirror is False
    assert gallery.options == {
        "fit": "stretch", "crops": 0, "clusters": 500, "drop_percentile": 35.0, "seed": 7,
        "frames_of_videos": 0,
        "focus": "faces",
    }  # fmt: skip
    assert gallery.bytes == path.stat().st_size
    np.testing.assert_array_equal(gallery.tiles, pixels)
    np.testing.assert_array_equal(gallery.features, tile_histograms(pixels))
    points, texture = tile_points(pixels)
    np.testing.assert_array_equal(gallery.points, points)
    np.testing.assert_array_equal(gallery.texture, texture)
    kinds = {
        "features": np.float32, "centres": np.float32, "labels": np.int32, "kept": np.bool_,
        "members_start": np.int32, "members": np.int32, "source_photo": np.int32,
        "points": np.uint8, "texture": np.uint8,
    }  # fmt: skip
    for name, dtype in kinds.items():
        assert getattr(gallery, name).dtype == dtype
        assert not getattr(gallery, name).flags.writeable
    assert gallery.sources[4] == ("/photos/ü/b.jpg", (16, 17, 18, 19))
    assert gallery.sources[-1].path == "/photos/bad\udcff.jpg"
    assert [s.crop[0] for s in gallery.sources[1:3]] == [4, 8]
    assert len(gallery.sources) == 6
    assert len(gallery.sources.photos()) == 3
    assert sorted(gallery.tiles_of(0)) == [0, 1, 2, 3]
    assert Gallery.open(path, name="mine").name == "mine"
    assert not list(tmp_path.glob(".*"))


def test_arrays_are_aligned(file: Path) -> None:
    _, meta = header_of(file.read_bytes())
    assert meta["arrays"].keys() == ARRAYS.keys() | INDEX.keys()
    assert all(entry["offset"] % 64 == 0 for entry in meta["arrays"].values())


def test_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.gallery")
    write(tmp_path / "b.gallery")
    assert (tmp_path / "a.gallery").read_bytes() == (tmp_path / "b.gallery").read_bytes()


def test_any_altered_byte_is_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    broken = tmp_path / "broken.gallery"
    offset, meta = header_of(data)
    starts = [entry["offset"] for entry in meta["arrays"].values()]
    # Everything before the arrays, a byte of each, the last checksum, and the header.
    places = [*range(64), *starts, offset - 1, offset, offset + 9, len(data) - 1]
    for place in places:
        broken.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(GalleryError, match="livemosaic gallery build"):
            Gallery.open(broken)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 31, 63, 64, 100, 2000, -1])
def test_cut_off(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(GalleryError, match=r"empty|cut off|not a gallery"):
        Gallery.open(file)


def test_a_file_that_is_cut_off_while_it_is_used(file: Path) -> None:
    """Where the file is mapped, the system ends the process."""
    gallery = Gallery.open(file)
    tiles = gallery.tiles.copy()
    file.write_bytes(b"")
    gallery.release()
    assert np.array_equal(gallery.tiles, tiles)


def test_appended_to(file: Path) -> None:
    with file.open("ab") as f:
        f.write(b"x")
    with pytest.raises(GalleryError, match="altered"):
        Gallery.open(file)


def test_another_version(file: Path) -> None:
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, 8, FORMAT_VERSION + 1)
    file.write_bytes(resealed(data))
    expected = f"version {FORMAT_VERSION + 1}, this program reads version {FORMAT_VERSION}"
    with pytest.raises(GalleryError, match=expected):
        Gallery.open(file)


def test_not_a_gallery(tmp_path: Path) -> None:
    path = tmp_path / "text.gallery"
    path.write_text("hello")
    with pytest.raises(GalleryError, match=re.escape(repr(str(path)))):
        Gallery.open(path)
    with pytest.raises(GalleryError, match="missing"):
        Gallery.open(tmp_path / "missing.gallery")
    with pytest.raises(GalleryError, match="cannot open gallery"):
        Gallery.open(tmp_path)


@pytest.mark.parametrize(
    ("array", "index", "value"),
    [
        ("labels", 0, 99),
        ("labels", 0, -1),
        ("members", 0, 6),
        ("members_start", 0, 1),
        ("members_start", 1, 99),
        ("source_photo", 0, 3),
        ("photo_start", 1, 1000),
        ("source_crop", 2, -1),
        ("photo_path", 1, 0),
    ],
)
def test_forged_indices_are_refused(file: Path, array: str, index: int, value: int) -> None:
    data = bytearray(file.read_bytes())
    _, meta = header_of(data)
    entry = meta["arrays"][array]
    code = {"<i4": "<i", "<i8": "<q", "|u1": "<B"}[entry["dtype"]]
    struct.pack_into(code, data, entry["offset"] + index * struct.calcsize(code), value)
    file.write_bytes(resealed(data))
    with pytest.raises(GalleryError, match="not valid"):
        Gallery.open(file)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("all", b"\xff"),
        ("all", b"[]"),
        ("all", b"null"),
        ("all", DEEP.encode()),
        ("arrays", []),
        ("features", None),
        ("features", {"dtype": "<f4", "shape": [10**9, 125], "offset": 64}),
        ("features", {"dtype": "<f4", "shape": [6, 125], "offset": float("inf")}),
        ("features", {"dtype": "<f4", "shape": [6, float("inf")], "offset": 64}),
        ("features", {"dtype": "<f4", "shape": [6, 10**40], "offset": 64}),
        ("features", {"dtype": "<f4", "shape": [6, 125], "offset": -(10**40)}),
        ("features", {"dtype": "<f4", "shape": [6, 125], "offset": 10**40}),
        ("tiles", {"dtype": "|u1", "shape": [6, 0, 0, 3], "offset": 64}),
        ("root", None),
        ("root", 1),
        ("root", ["/photos"]),
        ("root", "/photos\0/x"),
        ("root", "/\ud800"),
        ("lettering", [-1]),
        ("lettering", [10**9]),
        ("lettering", ["0"]),
        ("lettering", 3),
        ("lettering", {}),
        ("lettering", [True]),
        ("mirror", None),
        ("mirror", "yes"),
        ("options", None),
        ("options", []),
        ("options", [["seed", 1]]),
        ("options", "seed"),
        ("options", {"seed": "1"}),
        ("options", {"mirror": True}),
        ("options", {"fit": ["crop"]}),
        ("options", {"fit": "squeeze"}),
        ("options", {"crops": 6}),
    ],
)
def test_forged_header_is_refused(file: Path, old: str, new: object) -> None:
    data = bytearray(file.read_bytes())
    offset, meta = header_of(data)
    if isinstance(new, bytes):
        change = new
    else:
        (meta if old in meta or old == "arrays" else meta["arrays"])[old] = new
        change = json.dumps(meta).encode()
    data[offset:] = change
    struct.pack_into("<Q", data, 24, len(change))
    file.write_bytes(resealed(data))
    with pytest.raises(GalleryError, match="header is not valid"):
        Gallery.open(file)


@pytest.mark.parametrize("missing", ["arrays", "root", "mirror", "options"])
def test_a_header_that_lacks_something(file: Path, missing: str) -> None:
    data = bytearray(file.read_bytes())
    offset, meta = header_of(data)
    del meta[missing]
    data[offset:] = change = json.dumps(meta).encode()
    struct.pack_into("<Q", data, 24, len(change))
    file.write_bytes(resealed(data))
    with pytest.raises(GalleryError, match="header is not valid"):
        Gallery.open(file)


def test_a_kept_cluster_without_tiles_is_refused(file: Path) -> None:
    """The match by clusters takes its tiles in turn."""
    data = bytearray(file.read_bytes())
    _, meta = header_of(data)
    arrays = meta["arrays"]
    clusters = arrays["kept"]["shape"][0]
    at = arrays["kept"]["offset"]
    data[at : at + clusters] = bytes([1] * clusters)
    struct.pack_into("<i", data, arrays["members_start"]["offset"] + 4, 0)
    file.write_bytes(resealed(data))
    with pytest.raises(GalleryError, match="a cluster without tiles is kept"):
        Gallery.open(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_leaving_early_leaves_nothing(file: Path, error: type[BaseException]) -> None:
    def leave() -> None:
        with new_gallery_file(file) as writer:
            writer.append(np.zeros((1, 8, 8, 3), np.uint8))
            assert len(list(file.parent.iterdir())) == 2
            raise error

    before = file.read_bytes()
    with pytest.raises(error):
        leave()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"cannot write gallery .*No such file"):
        make(tmp_path / "no" / "x.gallery")
    for folder in (tmp_path, "", ".", "/"):
        with pytest.raises(GalleryError, match="it is a folder"):
            make(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "text.gallery/x.gallery"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.gallery").write_text("hello")
    for opened in (open_gallery, Gallery.open):
        with pytest.raises((GalleryError, UsageError), match="gallery"):
            opened(tmp_path / name)
    with pytest.raises(GalleryError, match="cannot write"):
        make(tmp_path / name)


def test_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does anybody know what is in it; root may look into everything."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr("pathlib.Path.stat", refuse)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(GalleryError, match=r"x\.gallery.*Permission denied"):
        open_gallery(tmp_path / "no" / "x.gallery")
    with pytest.raises(GalleryError, match=r"x\.gallery.*Permission denied"):
        make(tmp_path / "no" / "x.gallery")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GalleryError, match=r"x\.gallery.*No space left"):
        make(tmp_path / "x.gallery")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_while_tiles_are_written(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> NoReturn:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        GalleryWriter(Full())


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link.gallery").symlink_to("real.gallery")
    write(tmp_path / "link.gallery")
    assert (tmp_path / "link.gallery").is_symlink()
    assert len(Gallery.open(tmp_path / "real.gallery")) == 6
