"""Galleries that are verified block by block, and the search index that a file keeps."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.fuzz.spoil import resealed
from livemosaic import (
    Control,
    Gallery,
    GalleryError,
    Mosaic,
    Pipeline,
    build_gallery,
    open_gallery,
    open_sink,
    open_source,
    output_info,
    render,
)
from livemosaic.gallery import refresh_gallery, remove_photos
from livemosaic.gallery.cut import cut_gallery
from livemosaic.gallery.damage import stored_tiles
from livemosaic.gallery.file_format import FORMAT_VERSION, INDEX
from livemosaic.gallery.file_reader import file_bytes
from livemosaic.gallery.layout_arrays import INDEX_KIND, index_arrays
from livemosaic.gallery.layout_index import LayoutIndex, layout_index, new_index
from livemosaic.gallery.live import LiveGallery
from livemosaic.gallery.part import write_part
from livemosaic.media.colour import Colour
from livemosaic.mosaic.tile_cache import TileCache

from .fakes import TIMEOUT_S
from .gallery_files import photo, photo_of_person, write_photos
from .program import Program, needs_jit
from .test_gallery_file_format import header_of, of_version_2

DAMAGED = "damaged or was altered, its checksum does not match"
LARGE = "livemosaic.gallery.file_reader.MAX_READ"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    write_photos(folder / "photos", 70)
    for number in range(3):  # with a head that is not to be cut
        person = photo_of_person(240, 120, 20 + 40 * number, 10, 100)
        cv2.imwrite(str(folder / "photos" / f"person{number}.png"), person)
    build_gallery([folder / "photos"], folder / "my.gallery", tile_px=16, crops=1, workers=2)
    return folder / "my.gallery"


@pytest.fixture
def file(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(built, tmp_path))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every file as one that is too large to be read at once."""
    monkeypatch.setattr(LARGE, 0)


def spoil(file: Path, array: str, *, at: int = 0, last: bool = False) -> None:
    """Damage a byte of an array."""
    data = bytearray(file.read_bytes())
    entry = header_of(data)[1]["arrays"][array]
    size = np.dtype(entry["dtype"]).itemsize * int(np.prod(entry["shape"]))
    assert size
    data[entry["offset"] + (size - 1 if last else at)] ^= 1
    file.write_bytes(data)


def same(one: LayoutIndex, other: LayoutIndex) -> bool:
    pairs = [
        (np.asarray(a), np.asarray(b))
        for its, others in ((one, other), (one.groups, other.groups))
        for a, b in zip(its, others, strict=True)
        if not isinstance(a, tuple)
    ]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_the_file_has_the_index(built: Path) -> None:
    gallery = Gallery.open(built)
    assert gallery.stored_index is not None
    assert same(layout_index(gallery), new_index(gallery))


def test_however_many_variants_are_described_together(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are the same."""
    other = Path(shutil.copy(file, file.with_name("other.gallery")))
    remove_photos(file, gone := Gallery.open(file).sources.photos()[0])
    monkeypatch.setattr("livemosaic.gallery.layout_arrays.VARIANTS_TOGETHER", 20)
    remove_photos(other, gone)
    assert file.read_bytes() == other.read_bytes()


@needs_jit
def test_the_version_of_the_index() -> None:
    """Another order of clusters needs another version: files keep the index of the old one."""
    rng = np.random.default_rng(3)
    points = rng.integers(0, 256, (900, 4, 4, 3), np.uint8)
    mirrors, shown = np.arange(900) % 3 > 0, np.arange(900, dtype=np.int32) // 2
    parts = {name: list(arrays) for name, arrays in index_arrays(points, shown, mirrors)}
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    assert whole.keys() == INDEX.keys()
    numbers = [whole[f"index_{name}"] for name in ("variant", "start", "photo_members")]
    digest = hashlib.sha256(b"".join(it.tobytes() for it in numbers)).hexdigest()
    assert (INDEX_KIND["version"], digest[:16]) == (2, "f8accd7b1f7c27e8")


@needs_jit
def test_the_same_pictures(file: Path, tmp_path: Path) -> None:
    """With the index of the file and without one, read and mapped."""
    frame = cv2.resize(photo(5), (320, 240))
    expected = Mosaic(str(file), tile_px=16, scale=1.0).apply(frame)
    old = tmp_path / "old.gallery"
    old.write_bytes(of_version_2(file.read_bytes()))
    assert Gallery.open(old).stored_index is None
    for path in (file, old):
        for limit in (2**28, 0):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LARGE, limit)
                made = Mosaic(str(path), tile_px=16, scale=1.0).apply(frame)
                np.testing.assert_array_equal(made, expected)


def test_an_index_of_another_version_is_made_anew(file: Path) -> None:
    data = file.read_bytes().replace(b'"lanes": 32', b'"lanes": 16')
    file.write_bytes(resealed(data))
    gallery = Gallery.open(file)
    stored = gallery.stored_index
    assert stored is not None
    assert stored.kind["lanes"] == 16
    assert same(layout_index(gallery), new_index(gallery))
    gallery.verify()


def test_a_cached_gallery_is_built_again_for_another_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos", 3)
    before = open_gallery(tmp_path / "photos").path
    assert open_gallery(tmp_path / "photos").path == before
    monkeypatch.setattr("livemosaic.gallery.cache.INDEX_VERSION", 99)
    now = open_gallery(tmp_path / "photos").path
    assert (now != before, list((tmp_path / "cache").glob("*.gallery"))) == (True, [now])


@pytest.mark.parametrize("array", ["tiles", "uncut", "features"])
def test_a_picture_is_verified_when_it_is_read(file: Path, large: None, array: str) -> None:
    whole = np.array(getattr(Gallery.open(file), array))
    spoil(file, array, last=True)
    gallery = Gallery.open(file)
    layout_index(gallery)
    rows = getattr(gallery, array)
    assert (rows.shape, rows.dtype, rows.ndim) == (whole.shape, whole.dtype, whole.ndim)
    if array != "features":  # of which all are one block
        but_last = np.arange(len(rows)) < len(rows) - 1
        for good in (0, slice(0, -1), [1, 0], -2, but_last, (0, 1, 2), np.array([1, -2, 1])):
            np.testing.assert_array_equal(rows[good], whole[good])
        for none in (np.empty(0, np.int32), np.empty((0, 2), np.int32)):
            assert rows[none].shape == whole[none].shape
        for beyond in (len(rows), -len(rows) - 1):
            with pytest.raises(IndexError):
                rows[np.array([0, beyond])]
    uses: list[Callable[[], object]] = [
        lambda: rows[-1],
        lambda: rows[len(rows) - 1],
        lambda: rows[[0, -1]],
        lambda: rows[np.array([0, -1])],
        lambda: rows[:],
        lambda: rows[::-1],
        lambda: rows[...],
        lambda: rows[-1, 0],
        lambda: rows[np.ones(len(rows), bool)],
        lambda: np.asarray(rows),
        lambda: rows.mean(),
    ]
    for use in uses:
        with pytest.raises(GalleryError, match=DAMAGED):
            use()
    with pytest.raises(GalleryError, match=DAMAGED):
        gallery.verify()


def test_what_opening_uses_is_verified_then(built: Path, tmp_path: Path, large: None) -> None:
    _, meta = header_of(built.read_bytes())
    for number, array in enumerate(meta["arrays"].keys() - INDEX - {"tiles", "uncut", "features"}):
        for last in (False, True):
            file = Path(shutil.copy(built, tmp_path / f"{number}.gallery"))
            spoil(file, array, last=last)
            with pytest.raises(GalleryError, match=DAMAGED):
                Gallery.open(file)


@pytest.mark.parametrize("array", INDEX)
def test_a_damaged_index_is_refused(file: Path, large: None, array: str) -> None:
    spoil(file, array, last=True)
    gallery = Gallery.open(file)
    assert len(gallery.tiles[0])
    with pytest.raises(GalleryError, match=rf"my\.gallery.*{DAMAGED}.*gallery build"):
        layout_index(gallery)
    with pytest.raises(GalleryError, match=DAMAGED):
        gallery.verify()


def test_a_small_file_is_verified_at_once(built: Path, tmp_path: Path) -> None:
    for array in header_of(built.read_bytes())[1]["arrays"]:
        file = Path(shutil.copy(built, tmp_path))
        spoil(file, array)
        with pytest.raises(GalleryError, match=DAMAGED):
            Gallery.open(file)


@pytest.mark.parametrize(
    ("array", "index", "value"),
    [
        ("index_variant", 0, -1),
        ("index_variant", 0, 10**6),
        ("index_variant", 0, None),
        ("index_start", 0, 1),
        ("index_start", 1, 0),
        ("index_start", 1, 10**6),
        ("index_photo_members", 0, -1),
        ("index_photo_members", 0, 10**6),
        ("index_photo_members", 0, None),
    ],
)
def test_forged_places_are_refused(file: Path, array: str, index: int, value: int | None) -> None:
    """Kernels do not check them; None is a place that is there already."""
    data = bytearray(file.read_bytes())
    at = header_of(data)[1]["arrays"][array]["offset"] + 4 * index
    if value is None:
        value = struct.unpack_from("<i", data, at + 4)[0]
    struct.pack_into("<i", data, at, value)
    file.write_bytes(resealed(data))
    with pytest.raises(GalleryError, match="search index is not valid"):
        layout_index(Gallery.open(file))


def test_forged_values_of_an_index(file: Path) -> None:
    """They would let a search find an empty slot, or nothing."""
    start = layout_index(Gallery.open(file)).start
    assert (start[1] - start[0]) % 32
    for array, dtype, rows in (
        ("index_details", "<u2", slice(start[1], start[1] + 1)),
        ("index_residual", "<f4", slice(None)),
    ):
        data = bytearray(file.read_bytes())
        entry = header_of(data)[1]["arrays"][array]
        values = np.frombuffer(data, dtype, entry["shape"][0], entry["offset"])
        values[rows] = 2**15 if array == "index_details" else np.inf
        del values
        forged = file.with_name("forged.gallery")
        forged.write_bytes(resealed(data))
        with pytest.raises(GalleryError, match="search index is not valid"):
            layout_index(Gallery.open(forged))


def test_forged_shapes_of_an_index(file: Path) -> None:
    for array, key, value in (
        ("index_coarse", "shape", [1]),
        ("index_codes", "shape", [1, 28]),
        ("index_centres", "dtype", "<f4"),
        ("tiles", "rows", 0),
        ("tiles", "checksums", 10**9),
    ):
        data = bytearray(file.read_bytes())
        offset, meta = header_of(data)
        meta["arrays"][array][key] = value
        text = json.dumps(meta).encode()
        data[offset:] = text
        struct.pack_into("<Q", data, 24, len(text))
        forged = file.with_name("forged.gallery")
        forged.write_bytes(resealed(data))
        with pytest.raises(GalleryError, match="not valid"):
            layout_index(Gallery.open(forged))


def test_a_cut_off_file_is_refused(file: Path, large: None) -> None:
    data = file.read_bytes()
    for keep in (63, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:keep])
        with pytest.raises(GalleryError, match="cut off"):
            Gallery.open(file)


@pytest.mark.skipif(not hasattr(os, "pread"), reason="the system ends the process")
def test_a_file_that_is_cut_off_while_it_is_open(file: Path, large: None) -> None:
    """Chosen tiles are read from the file, not by way of its map."""
    gallery, shown = Gallery.open(file), np.array([5, 3])
    whole = gallery.tiles[shown]
    np.testing.assert_array_equal(gallery.tiles[shown], whole)
    os.truncate(file, header_of(file.read_bytes())[1]["arrays"]["tiles"]["offset"])
    with pytest.raises(GalleryError, match=r"my\.gallery.*cut off.*gallery build"):
        gallery.tiles[shown]


# Of tiles of another shape, whose points are in memory. It names those that are blurred.
_CUT_OFF = """
import os, sys
import numpy as np
from livemosaic import Gallery
from livemosaic.gallery import file_reader
from livemosaic.gallery.cut import cut_gallery
from livemosaic.gallery.damage import stored_tiles

file_reader.MAX_READ = 0
gallery = cut_gallery(Gallery.open(sys.argv[1]), (24, 16))
os.truncate(sys.argv[1], int(sys.argv[2]))
errors = []
made = stored_tiles(gallery, np.array([5, 70], np.int32), errors.append)
print(*errors, made.any((1, 2, 3)))
"""


@pytest.mark.skipif(not hasattr(os, "pread"), reason="the system ends the process")
def test_tiles_of_a_file_that_is_cut_off_are_blurs(file: Path) -> None:
    """No tile is read by way of the map: the system would end the process."""
    begin = header_of(file.read_bytes())[1]["arrays"]["tiles"]["offset"]
    command = [sys.executable, "-c", _CUT_OFF, str(file), str(begin)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert outcome.returncode == 0, outcome.stderr
    assert "it is cut off" in outcome.stdout
    assert outcome.stdout.endswith("[ True  True]\n")


@needs_jit
@pytest.mark.skipif(not hasattr(os, "pread"), reason="the system ends the process")
@pytest.mark.parametrize("shape", [(16, 16), (24, 16)])
def test_a_disk_that_refuses_some_tiles(
    file: Path, large: None, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    """They are blurs, the others as they were; a tile alone is read in the same way."""
    gallery, read = cut_gallery(Gallery.open(file), shape), os.pread
    arrays = header_of(file.read_bytes())[1]["arrays"]
    (uncut,) = np.flatnonzero(gallery.uncut_photo == gallery.source_photo[3])
    rows = {"tiles": 3, "uncut": int(uncut)}  # the tile is cut of one of them
    refused = {arrays[name]["offset"] + row * 16 * 16 * 3 for name, row in rows.items()}

    def pread(file: int, size: int, offset: int) -> bytes:
        if offset in refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(file, size, offset)

    ids, errors = np.array([3, 40], np.int32), list[GalleryError]()
    whole = gallery.tiles[ids]
    cache = TileCache(
        gallery, tile=shape, colour=Colour(), overlay=(0.0, 0.0), on_damage=errors.append
    )
    monkeypatch.setattr(os, "pread", pread)
    blurred, good = stored_tiles(gallery, ids, errors.append)
    np.testing.assert_array_equal(good, whole[1])
    size = gallery.tile_width, gallery.tile_height
    blur = cv2.resize(gallery.points[3], size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(blurred, blur)
    y = cache.y[cache.slots(ids)]
    assert len(errors) == 2
    assert y[0].std() < y[1].std()
    for tile in (3, np.int32(3), -len(gallery) + 3):
        with pytest.raises(GalleryError, match=r"my\.gallery.*: .*; build it"):
            gallery.tiles[tile]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system has no such folder")
def test_a_gallery_that_is_gone_has_no_open_file(file: Path, large: None) -> None:
    def open_files() -> list[str]:
        links = Path("/proc/self/fd").iterdir()
        return [name for it in links if (name := os.path.realpath(it)) == str(file)]

    gallery = Gallery.open(file)
    assert open_files()
    del gallery
    assert not open_files()


@pytest.mark.parametrize("mapped", [False, True, None])
def test_a_large_file_is_mapped_unless_it_is_to_be_replaced(
    file: Path, mapped: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LARGE, 1000)
    with file_bytes(file, mapped=mapped) as (data, _):
        assert isinstance(data, bytes) == (mapped is False)


def test_a_file_of_version_2(file: Path) -> None:
    """It is verified as a whole, as before."""
    data = of_version_2(file.read_bytes())
    old, new = file.with_name("old.gallery"), Gallery.open(file)
    old.write_bytes(data)
    gallery = Gallery.open(old)
    for name in ("tiles", "uncut", "features", "points", "heads", "labels"):
        np.testing.assert_array_equal(getattr(gallery, name), getattr(new, name))
    assert gallery.sources.photos() == new.sources.photos()
    assert gallery.digest != new.digest
    gallery.verify()
    forged = bytearray(data)
    offset, meta = header_of(forged)
    meta["arrays"] |= {name: meta["arrays"]["tiles"] | {"offset": 10**9} for name in INDEX}
    forged[offset:] = text = json.dumps(meta | {"index": {}}).encode()
    struct.pack_into("<Q", forged, 24, len(text))
    old.write_bytes(resealed(forged))
    assert Gallery.open(old, mapped=True).stored_index is None
    old.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(GalleryError, match=DAMAGED):
        Gallery.open(old)


def test_a_change_writes_the_present_version(file: Path) -> None:
    file.write_bytes(of_version_2(file.read_bytes()))
    remove_photos(file, Gallery.open(file).sources.photos()[0])
    assert struct.unpack_from("<I", file.read_bytes(), 8) == (FORMAT_VERSION,)
    assert Gallery.open(file).stored_index is not None


def test_refresh_brings_a_file_up_to_date(file: Path) -> None:
    """Also if no photo has changed, but then once only."""
    present = file.read_bytes()
    file.write_bytes(of_version_2(present))
    report = refresh_gallery(file)
    assert (report.removed, report.changed) == ((), ())
    assert file.read_bytes() == present
    made = file.stat().st_mtime_ns
    refresh_gallery(file)
    assert file.stat().st_mtime_ns == made


def test_verify(file: Path, program: Program) -> None:
    outcome = program("gallery", "verify", str(file))
    assert outcome.code == 0
    assert "whole, 146 tiles" in outcome.err
    assert program("gallery", "verify", str(file), "--quiet").err == ""
    cut_off, whole = file.with_name("cut-off.gallery"), file.with_name("whole.gallery")
    cut_off.write_bytes(file.read_bytes()[:-9])
    shutil.copy(file, whole)
    outcome = program("gallery", "verify", str(cut_off), str(file), str(cut_off), str(whole))
    assert outcome.code == 1
    assert outcome.err.count(": whole, 146 tiles") == 2
    assert outcome.err.count("cut-off.gallery': it is cut off") == 2


def damaged_tiles(file: Path) -> Gallery:
    """A large gallery all tiles of which are damaged, so that some surely are shown."""
    entry = header_of(file.read_bytes())[1]["arrays"]["tiles"]
    for tile in range(entry["shape"][0]):
        spoil(file, "tiles", at=tile * 16 * 16 * 3)
    return Gallery.open(file)


@needs_jit
def test_a_damaged_tile_in_a_mosaic(file: Path, large: None) -> None:
    """An error, or for a live picture a blur of the right colours."""
    frame = cv2.resize(photo(5), (320, 240))
    whole = Mosaic(Gallery.open(file), tile_px=16, scale=1.0).apply(frame)
    mosaic = Mosaic(damaged_tiles(file), tile_px=16, scale=1.0)
    with pytest.raises(GalleryError, match=rf"my\.gallery.*{DAMAGED}"):
        mosaic.apply(frame)
    errors: list[GalleryError] = []
    mosaic.on_damage = errors.append
    blurred = mosaic.apply(frame)
    assert errors
    assert (blurred != whole).any()
    small, same = (
        cv2.resize(it, (20, 15), interpolation=cv2.INTER_AREA) for it in (blurred, whole)
    )
    assert np.abs(small.astype(int) - same).max() <= 3


def test_a_damaged_tile_in_a_poster(file: Path, large: None) -> None:
    """Its process gets a whole file, with the blurs of the live picture."""
    points, file_of_part = Gallery.open(file).points, io.BytesIO()
    (ids,) = write_part(damaged_tiles(file), [np.array([[3, 70]], np.int32)], file_of_part)
    part = Gallery(file_of_part.getvalue(), name="part")
    for number, tile in zip(ids.ravel(), (3, 70), strict=True):
        small = cv2.resize(part.tiles[number], (4, 4), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - points[tile]).mean() < 12


def test_other_damage_in_a_poster(file: Path, large: None) -> None:
    """Its picture needs no features; an uncut photo that is damaged is left out."""
    whole, file_of_part = Gallery.open(file), io.BytesIO()
    assert len(whole.uncut) > 1
    spoil(file, "features")
    spoil(file, "uncut")
    shown = np.flatnonzero(np.isin(whole.source_photo, whole.uncut_photo[:2])).astype(np.int32)
    write_part(Gallery.open(file), [shown], file_of_part)
    part = Gallery(file_of_part.getvalue(), name="part")
    np.testing.assert_array_equal(part.tiles, whole.tiles[shown])
    np.testing.assert_array_equal(part.uncut, whole.uncut[1:2])
    np.testing.assert_array_equal(part.uncut_crop, whole.uncut_crop[1:2])
    assert part.sources.path(part.uncut_photo[0]) == whole.sources.path(whole.uncut_photo[1])


@needs_jit
def test_a_damaged_tile_in_a_film(file: Path, large: None, tmp_path: Path) -> None:
    """The run fails, and nothing is left."""
    damaged_tiles(file)
    with pytest.raises(GalleryError, match=DAMAGED):
        render("pattern:320x240@25", tmp_path / "x.mp4", gallery=file, duration=0.2, tile=16)
    assert not list(tmp_path.glob("x*"))


@needs_jit
def test_a_damaged_tile_in_a_live_run(file: Path, large: None) -> None:
    """It goes on, and says so once."""
    source = open_source("pattern:320x240@25")
    mosaic = Mosaic(damaged_tiles(file), tile_px=16, scale=1.0)
    sink = open_sink("null", output_info(source.info, mosaic.plan(320, 240)))
    control = Control()
    pipeline = Pipeline(source, mosaic, [sink], duration_s=0.5, realtime=True, control=control)
    pipeline.run()
    assert pipeline.report()["frames_out"] > 1
    message = control.take_message()
    assert message.startswith("damaged photos are blurred: cannot use gallery ")


def test_threads_read_it_at_once(file: Path, large: None) -> None:
    whole = np.array(Gallery.open(file).tiles)
    gallery, wrong = Gallery.open(file), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            some = rng.integers(0, len(gallery), 20)
            if not np.array_equal(gallery.tiles[some], whole[some]):
                wrong.append(some)
            gallery.release()

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_live_gallery_begins_with_the_index_of_the_file(file: Path, large: None) -> None:
    gallery = Gallery.open(file)
    live = LiveGallery(gallery)
    assert np.shares_memory(layout_index(live.snapshot).coarse, layout_index(gallery).coarse)
    live.add([photo(500)])
    with_photo = layout_index(live.snapshot)
    assert len(with_photo.variant) > len(layout_index(gallery).variant)
    live.snapshot.verify()
    np.testing.assert_array_equal(live.snapshot.tiles[:3], gallery.tiles[:3])


def test_tiles_of_another_shape_have_an_index_of_their_own(file: Path, large: None) -> None:
    mosaic = Mosaic(Gallery.open(file), tile_px=(24, 16), scale=1.0)
    mosaic.apply(cv2.resize(photo(5), (320, 240)))
    cut = mosaic.cut_gallery
    assert cut.stored_index is None
    assert same(layout_index(cut), new_index(cut))
