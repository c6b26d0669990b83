"""The way of a guest's photo: the decoder's process, fingerprints and limits."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from livemosaic import Gallery, LiveGallery, unfinished, web
from livemosaic.control.state import Control, Snap
from livemosaic.errors import GalleryError
from livemosaic.media.image_reader import BadImage
from livemosaic.web.photos import limits
from livemosaic.web.photos.catalogue import Catalogue
from livemosaic.web.photos.decoder import (
    KINDS,
    MAX_SIDE,
    CostlyImage,
    Decoded,
    PhotoDecoder,
    decoded_photo,
)
from livemosaic.web.photos.fingerprint import coarse, fingerprint_of, first_same
from livemosaic.web.photos.guest_folder import GuestFolder, GuestPhoto, open_folder
from livemosaic.web.photos.limits import Quota, Refused

from .. import gallery_files
from ..clips import picture
from ..fakes import TIMEOUT_S
from .conftest import Site, decoded, until


def jpeg(pixels: Any, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


# ---- the process --------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    started: list[subprocess.Popen[bytes]] = []

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*args, **options))
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", popen)
    return started


def test_a_process_that_ends_costs_one_photo(processes: list[subprocess.Popen[bytes]]) -> None:
    decoder = PhotoDecoder()
    good = jpeg(picture(64, 48))
    try:
        decoder.decode(io.BytesIO(good))
        processes[0].kill()
        processes[0].wait()
        assert decoder.decode(io.BytesIO(good)).jpeg  # it had no photo
        assert len(processes) == 2

        class Deadly(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                processes[1].kill()
                return super().read(size)

        with pytest.raises(BadImage, match="decoder has ended"):
            decoder.decode(Deadly(good))
        assert decoder.decode(io.BytesIO(good)).jpeg
    finally:
        decoder.close()
    assert len(processes) == 3
    assert all(process.poll() is not None for process in processes)


def test_a_photo_that_takes_too_long(processes: list[subprocess.Popen[bytes]]) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            processes[0].wait(TIMEOUT_S)  # the time is over meanwhile
            return super().read(size)

    decoder = PhotoDecoder(timeout_s=0.05)
    with pytest.raises(CostlyImage, match="decoder has ended"):
        decoder.decode(Slow(jpeg(picture(64, 48))))
    decoder.close()
    assert [process.poll() is None for process in processes] == [False]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory")
def test_a_photo_that_takes_too_much_memory(processes: list[subprocess.Popen[bytes]]) -> None:
    import resource

    big, small = io.BytesIO(), io.BytesIO(jpeg(picture(64, 48)))
    Image.new("RGBA", (4000, 4000)).save(big, "PNG", compress_level=1)
    decoder = PhotoDecoder()
    try:
        decoder.decode(small)
        (process,) = processes
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 100_000_000  # the photo takes more
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        with pytest.raises(BadImage, match="memory"):
            decoder.decode(big)
        assert decoder.decode(small).jpeg
    finally:
        decoder.close()
    assert len(processes) == 1


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    return exif


# What takes most memory: transparency, a turn, or a JPEG that needs all its coefficients at once.
COSTLY: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("CMYK", {"progressive": True}),
    "PNG": ("RGBA", {"compress_level": 1, "exif": turned()}),
    "WebP": ("RGBA", {"lossless": True, "method": 0, "exif": turned()}),
    "GIF": ("P", {"transparency": 0}),
    "AVIF": ("RGBA", {"subsampling": "4:4:4", "speed": 10, "exif": turned()}),
    "HEIC": ("RGB", {"quality": 20, "enc_params": {"preset": "ultrafast"}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COSTLY)
def test_the_largest_photo_is_taken(kind: str) -> None:
    register_heif_opener()
    (mode, options), data = COSTLY[kind], io.BytesIO()
    image = Image.new(mode, (8000, KINDS[kind] // 8000))
    image.save(data, "HEIF" if kind == "HEIC" else kind, **options)
    decoder = PhotoDecoder()
    try:
        assert decoder.decode(data).jpeg
    finally:
        decoder.close()


@pytest.mark.parametrize(("kind", "advice"), [("JPEG", "67 million$"), ("PNG", "33 million, or a")])
def test_a_larger_photo_is_told_its_limit(kind: str, advice: str) -> None:
    data = io.BytesIO()
    Image.new("L", (8192, KINDS[kind] // 8192 + 1)).save(data, kind)
    with pytest.raises(BadImage, match=f"at most {advice}"):
        decoded_photo(data.getvalue(), MAX_SIDE)


def test_no_process_is_left_behind(processes: list[subprocess.Popen[bytes]]) -> None:
    """An end in the middle, as by a second Ctrl-C, takes the decoder with it."""
    decoder = PhotoDecoder()
    decoder.start()
    unfinished.remove_unfinished()
    until(lambda: processes[0].poll() is not None)
    decoder.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sessions")
def test_the_picture_comes_first(processes: list[subprocess.Popen[bytes]]) -> None:
    """Priorities count within a session only. The signals of the terminal are for a group."""
    decoder = PhotoDecoder()
    decoder.start()
    try:
        own = processes[0].pid
        assert (os.getsid(own), os.getpgid(own)) == (os.getsid(0), own)
        assert decoder.decode(io.BytesIO(jpeg(picture(64, 48)))).jpeg
        assert os.getpriority(os.PRIO_PROCESS, own) == 19
    finally:
        decoder.close()


def test_after_the_end_nothing_is_decoded() -> None:
    decoder = PhotoDecoder()
    decoder.close()
    decoder.close()
    with pytest.raises(BadImage, match="run ends"):
        decoder.decode(io.BytesIO(b""))


def test_the_end_does_not_wait_for_a_photo(processes: list[subprocess.Popen[bytes]]) -> None:
    decoder = PhotoDecoder()
    failed = threading.Event()

    def decode() -> None:
        with pytest.raises(BadImage):
            decoder.decode(io.BytesIO(jpeg(picture(64, 48)) * 100_000))
        failed.set()

    threading.Thread(target=decode, daemon=True).start()
    until(lambda: processes)
    decoder.close()
    assert failed.wait(20)
    assert processes[0].poll() is not None


# ---- fingerprints -------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("width", [640, 960, 1600])
def test_a_photo_is_known_after_coding(width: int, quality: int) -> None:
    original = picture(2048, 1536)
    size = (width, round(width * 0.75))
    smaller = cv2.resize(original, size, interpolation=cv2.INTER_AREA)
    again = decoded(jpeg(smaller, quality))
    prints = [fingerprint_of(it) for it in (original[:, ::-1], original)]
    assert first_same(fingerprint_of(again), prints) == 1
    assert first_same(fingerprint_of(again), list(map(coarse, prints))) == 1


def test_other_photos_are_not_known() -> None:
    own = picture(640, 480)
    moved = own.copy()
    moved[200:230, 300:330] = np.clip(moved[200:230, 300:330].astype(int) + 60, 0, 255)
    others = [moved, own[:, ::-1], own[:400], picture(640, 480, number=5)]
    assert first_same(fingerprint_of(own), [fingerprint_of(it) for it in others]) is None
    assert first_same(fingerprint_of(own), []) is None


def test_a_coarse_fingerprint_shows_no_person() -> None:
    assert len(coarse(fingerprint_of(picture(640, 480)))) < 300
    assert coarse(coarse(b"")) == b""


# ---- limits -------------------------------------------------------------------------------------


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_photos_in_a_minute() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    for _ in range(limits.GUEST_MINUTE):
        quota.take("192.168.1.5", "guest-one")
    with pytest.raises(Refused) as caught:
        quota.take("192.168.1.5", "guest-one")
    assert caught.value.retry_s == 60
    quota.take("192.168.1.5", "guest-two")
    quota.take("192.168.1.6", "guest-one")
    clock.now_s += 60
    quota.take("192.168.1.5", "guest-one")


def test_photos_that_keep_the_decoder_from_others() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    for _ in range(limits.COSTLY_MINUTE):
        quota.check("192.168.1.5", "guest-one")
        quota.add_costly("192.168.1.5")
    with pytest.raises(Refused) as caught:
        quota.check("192.168.1.5", "guest-two")
    assert caught.value.retry_s == 60
    quota.check("192.168.1.6", "guest-two")
    clock.now_s += 60
    quota.check("192.168.1.5", "guest-two")


def test_photos_in_all() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    for _ in range(limits.GUEST_ALL):
        quota.take("192.168.1.5", "guest-one")
        clock.now_s += 10
    with pytest.raises(Refused) as caught:
        quota.take("192.168.1.5", "guest-one")
    assert caught.value.retry_s is None


@pytest.mark.parametrize(
    "address", ["192.168.1.5", "::ffff:192.168.1.5", "fd00::{0:x}", "fe80::{0:x}%eth0", "", "name"]
)
def test_another_id_is_no_way_around(address: str) -> None:
    """Of IPv6, a phone has many addresses."""
    quota = Quota(clock=Clock())
    for number in range(limits.ADDRESS_MINUTE):
        quota.take(address.format(number), f"guest-{number:04}")
    with pytest.raises(Refused):
        quota.take(address.format(9999), "guest-of-another-id")
    quota.take("192.168.7.7", "guest-of-another-id")


@pytest.mark.parametrize("guest", ["", "short", "x" * 65, "a b c d e f", "ünicode-id"])
def test_what_is_no_id_is_the_address(guest: str) -> None:
    quota = Quota(clock=Clock())
    for _ in range(limits.GUEST_MINUTE):
        quota.take("192.168.1.5", guest)
    with pytest.raises(Refused):
        quota.take("192.168.1.5", "")


# ---- the folder ---------------------------------------------------------------------------------


def test_what_a_killed_run_left(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    remains = folder / ".guests" / f".20261129-101010-0123456789abcdef.jpg.{'0' * 16}.part"
    remains.write_bytes(b"half")
    others = folder / ".guests" / "notes.txt"
    others.write_bytes(b"of the host")
    GuestFolder(folder, lambda _: pytest.fail("there is no photo"))
    assert not remains.exists()
    assert others.exists()


def test_the_disk_does_not_hold_up_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop asks how many photos wait."""
    begun, go_on, replace = threading.Event(), threading.Event(), os.replace
    guests = GuestFolder(open_folder(str(tmp_path)), lambda _: Decoded(b"jpeg", b""))
    photo, _ = guests.add(io.BytesIO())

    def slow(*paths: Path) -> None:
        begun.set()
        assert go_on.wait(20)
        replace(*paths)

    monkeypatch.setattr(os, "replace", slow)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(guests.approve, photo.id)
        assert begun.wait(20)
        assert guests.waiting == 1
        go_on.set()
        job.result()
    assert guests.waiting == 0


def test_a_rejected_photo_is_not_new_at_the_next_start(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    known = folder / ".guests" / "20260101-101010-0123456789abcdef.known"
    known.write_bytes(coarse(fingerprint_of(picture(64, 48))))
    os.utime(known, (1e9, 1e9))
    (photo,) = GuestFolder(folder, lambda _: pytest.fail("there is no photo")).photos()
    assert (photo.state, photo.added_s) == ("rejected", 1e9)


def _kept(folder: GuestFolder) -> GuestPhoto:
    """A new photo in a folder."""
    with folder.new_file() as file:
        return folder.add(file)[0]


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[[], GuestFolder]:
    """Makes a view of a folder, as each run has one; every photo is a new one."""
    fingerprints = (bytes([0, 0, number]) + bytes(4095) for number in range(0, 256, 20))
    folder = open_folder(str(tmp_path))
    return lambda: GuestFolder(folder, lambda _: Decoded(b"JPEG", next(fingerprints)))


def test_what_another_run_approves(new_folder: Callable[[], GuestFolder]) -> None:
    one = new_folder()
    photo = _kept(one)
    new_folder().approve(photo.id)
    assert [it.state for it in one.photos()] == ["approved"]
    one.reject(photo.id)
    assert not one.path(photo).exists()


@pytest.mark.parametrize("kind", ["damaged", "folder", "pipe"])
def test_what_recognises_a_photo_is_damaged(
    kind: str, new_folder: Callable[[], GuestFolder], tmp_path: Path
) -> None:
    photo = _kept(new_folder())
    known = tmp_path / ".guests" / f"{photo.id}.known"
    known.unlink()
    if kind == "damaged":
        known.write_bytes(b"?")
    elif kind == "folder":
        known.mkdir()
    elif sys.platform != "win32":
        os.mkfifo(known)
    assert [it.state for it in new_folder().photos()] == ["waiting"]


def test_a_snap_is_removed(tmp_path: Path) -> None:
    """Its file is deleted, and it leaves the gallery; other photos of the folder stay."""
    gallery = Gallery.from_images(
        [gallery_files.photo(seed) for seed in range(4)], tile=16, crops=0
    )
    live, name = LiveGallery(gallery), "snap-20260102-030405-2.jpg"
    (tmp_path / "deep").mkdir()
    files = [tmp_path / name, tmp_path / "own.jpg", tmp_path / "deep" / name]
    for seed, file in enumerate(files, 10):
        cv2.imwrite(str(file), gallery_files.photo(seed))
    live.add(files)
    control = Control()
    control.on_remove = lambda path: live.remove([path])
    control.snaps = lambda: [Snap("a" * 24, "images[9]", 1e9, b"\xff\xd8")]
    listener = web.listen("0")
    page = web.open_page(listener, control, Fraction(1), web.catalogue(live, [str(tmp_path)], None))
    with Site(listener, control, page).client() as client, contextlib.closing(page):
        photos = client.get("/api/photos").json()
        assert sorted((it["name"], it["snap"]) for it in photos) == [
            ("", True), ("own.jpg", False), (name, False), (name, True),
        ]  # fmt: skip
        assert client.get(f"/api/photos/{'a' * 24}/picture").content == b"\xff\xd8"
        answers = [client.post(f"/api/photos/{it['id']}/reject") for it in photos]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 404, 404]
        assert len(client.get("/api/photos").json()) == 3
    assert [file.exists() for file in files] == [False, True, True]
    assert [str(file) in live for file in files] == [False, True, True]


def test_the_file_of_the_last_photo_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "snap-20260102-030405.jpg"
    cv2.imwrite(str(path), gallery_files.photo(0))
    live = LiveGallery(Gallery.from_images([path], tile=16, crops=0))
    control = Control()
    control.on_remove = lambda path: live.remove([path])
    catalogue = Catalogue(live, [str(tmp_path)])
    (photo,) = catalogue.photos()
    with pytest.raises(GalleryError):
        catalogue.remove_snap(photo, control)
    assert path.exists()
    live.add([gallery_files.photo(1)])
    catalogue.remove_snap(photo, control)
    assert not path.exists()
