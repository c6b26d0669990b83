"""Decodes photos in a process of its own, of the lowest priority, with limited memory and time.

A photo of a stranger may be made to crash a decoder, or to fill the memory. It costs only itself
then. The process opens no file: the photo comes through a pipe, and goes back through another.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...media.image_reader import BadImage, ImageReader, flatten, image_kind
from ...priority import lower_priority
from ...unfinished import end_helper, start_helper
from .fingerprint import fingerprint_of

# Those of phones, messengers and screenshots, with the pixels for which `_MEMORY` is enough, even
# if they are transparent. Each further decoder is one more to attack.
KINDS = {
    "JPEG": 2**26,  # 67 megapixels: phones have 12 to 64
    "PNG": 2**25,  # 33 megapixels: 8K
    "WebP": 25_000_000,
    "GIF": 2**25,
    "AVIF": 25_000_000,
    "HEIC": 50_000_000,
}
MIN_SIDE = 32
MAX_SIDE = 2048  # of the photo that is kept; a poster's tile is smaller
_QUALITY = 90

_MEMORY = 620_000_000  # bytes of addresses for decoding
_CPU_S = 15  # of one photo; a large HEIC takes 2 s on a slow processor
_TIMEOUT_S = 60.0  # of one photo, on a busy machine


class CostlyImage(BadImage):
    """The process has ended for this photo, or was ended after a long time."""


class Decoded(NamedTuple):
    """A photo, upright, in sRGB and without metadata."""

    jpeg: bytes
    fingerprint: bytes  # see `fingerprint`


class PhotoDecoder:
    """Starts the process when it is needed, and again after its end. Any thread may call it; one
    photo is decoded at a time."""

    def __init__(self, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False

    def start(self) -> None:
        """Start the process, so that the first photo need not wait for it."""
        with self._lock:
            self._running()

    def _running(self) -> subprocess.Popen[bytes] | None:
        """The process, which is started if there is none; None at the end of the run."""
        if self._process is not None and self._process.poll() is not None:
            self._end(self._process)  # the system has ended it, for memory
        if self._process is None and not self._closing:
            self._process = start_helper(f"{__package__}.decoder_process", gives_way=True)
        return self._process

    def decode(self, photo: BinaryIO, *, side: int = MAX_SIDE) -> Decoded:
        """Read a photo; its larger side gets at most `side` pixels.

        Raises
        ------
        BadImage : it cannot be read, or is none of `KINDS`; the message is the reason
        """
        with self._lock:
            process = self._running()
            if process is None:
                raise BadImage("the run ends")
            timer = threading.Timer(self._timeout_s, process.kill)
            timer.daemon = True
            timer.start()
            try:
                answer = _ask(process, photo, side)
            except (OSError, ValueError):  # the process has ended, or answers no more
                self._end(process)
                raise CostlyImage(
                    "its decoder has ended: it is damaged, or takes too much memory or time; "
                    "send another one"
                ) from None
            except BaseException:
                self._end(process)
                raise
            finally:
                timer.cancel()
        if isinstance(answer, str):
            raise BadImage(answer)
        return answer

    def close(self) -> None:
        """End the process, and the photo that it decodes. May be called twice, from any thread."""
        self._closing = True
        process = self._process
        if process is not None:
            process.kill()  # so that the lock is free at once
        with self._lock:
            if self._process is not None:
                self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        end_helper(process)


def _ask(process: subprocess.Popen[bytes], photo: BinaryIO, side: int) -> Decoded | str:
    """Send a photo to the process, and return its answer; a text is why there is none."""
    assert process.stdin is not None
    assert process.stdout is not None
    size = photo.seek(0, os.SEEK_END)
    photo.seek(0)
    process.stdin.write(json.dumps({"size": size, "side": side}).encode() + b"\n")
    shutil.copyfileobj(photo, process.stdin)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())  # `ValueError` at the end
    if "error" in answer:
        return str(answer["error"])
    jpeg, fingerprint = (process.stdout.read(size) for size in answer["sizes"])
    if [len(jpeg), len(fingerprint)] != answer["sizes"]:
        raise ValueError
    return Decoded(jpeg, fingerprint)


# ---- in the process ------------------------------------------------------------------------


def serve() -> None:
    """The work of the process: decode what comes, until standard input ends."""
    import cv2
    import pillow_heif  # noqa: F401  (most photos of phones)

    cv2.setNumThreads(1)
    _limit()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        order = json.loads(line)
        data = source.read(order["size"])
        if len(data) < order["size"]:
            return
        _allow_time()
        try:
            decoded = decoded_photo(data, order["side"])
        except BadImage as error:
            head: dict[str, object] = {"error": str(error)}
            target.write(json.dumps(head).encode() + b"\n")
        else:
            head = {"sizes": [len(part) for part in decoded]}
            target.write(json.dumps(head).encode() + b"\n" + b"".join(decoded))
            del decoded
        target.flush()
        del data


def decoded_photo(data: bytes, side: int) -> Decoded:
    """A photo, at most `side` pixels wide and high; `BadImage`."""
    import cv2

    kind = image_kind(data)
    if kind is None or kind not in KINDS:
        *others, last = KINDS
        kinds = f"{', '.join(others)} or {last}"
        problem = "the file is empty" if not data else "it is no photo of a known kind"
        raise BadImage(f"{problem}; send {kinds}")
    try:
        reader = ImageReader(data)
        width, height = reader.size
        if width * height > KINDS[kind]:
            most, other = KINDS[kind] // 10**6, "" if kind == "JPEG" else ", or a JPEG"
            raise BadImage(
                f"too large: {width} x {height} pixels; send at most {most} million{other}"
            )
        if min(reader.size) < MIN_SIDE:
            raise BadImage(f"too small: {width} x {height} pixels; send a larger one")
        scale = min(1.0, side / max(reader.size))
        pixels = flatten(reader.read(at_least=max(1, math.ceil(min(reader.size) * scale))))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            # Not `Mat`, which is not an array of NumPy for mypy.
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore
        done, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise BadImage("it cannot be written as JPEG")
        return Decoded(coded.tobytes(), fingerprint_of(pixels))
    except (MemoryError, cv2.error):
        raise BadImage("it takes too much memory; send a smaller one") from None


def _limit() -> None:
    """Take the lowest priority; write no file; limit the memory, where the system can."""
    sys.dont_write_bytecode = True
    lower_priority()
    if sys.platform != "win32":
        import resource

        limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
        with contextlib.suppress(OSError):  # only Linux says how much there is
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limits.append((resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY))
        for kind, limit in limits:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))


def _allow_time() -> None:
    """Let the system end this process if the next photo takes too long."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        with contextlib.suppress(OSError, ValueError):
            until_s = math.ceil(time.process_time()) + _CPU_S
            resource.setrlimit(resource.RLIMIT_CPU, (until_s, most))
