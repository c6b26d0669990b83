"""Watches folders: photos that appear, change or go join or leave a live gallery.

Photos are read in a process of its own, of the lowest priority: decoding one takes as long as
several frames, and a photo that crashes a decoder costs only itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from ..errors import GalleryError, OptionError
from ..unfinished import forget_helper, start_helper
from .build import Batch
from .folder_reader import (
    FolderReader,
    Joined,
    Left,
    News,
    Reading,
    Unreadable,
    next_look_s,
)
from .live import LiveGallery
from .recipe import Recipe

# At the end the process may be writing its gallery file.
_SAVING_S = 3.0
# One message for all changes of so long.
_TOLD_S = 1.0
_LOWEST = 19  # of Unix


def check_folders(folders: Sequence[str]) -> list[str]:
    """The absolute paths of folders to watch; `OptionError` if one is none."""
    found = []
    for folder in folders:
        path = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(path):
            problem = "it is a file" if os.path.exists(path) else "there is no such folder"
            raise OptionError("watch", folder, f"{problem}; name a folder of photos")
        found.append(path)
    return found


class FolderWatcher:
    """Keeps a live gallery as folders are, on a thread of its own, from `start` to `close`.

    The photos of a folder are kept in a gallery file beside it, so that the next start has them at
    once.

    Parameters
    ----------
    live : the gallery; its recipe is how tiles are made
    folders : watched with their subfolders

    Raises
    ------
    OptionError : one of the folders is none
    """

    def __init__(
        self,
        live: LiveGallery,
        folders: Sequence[str],
    ) -> None:
        self.live, self._folders = live, check_folders(folders)
        self._inform: Callable[[str], None]
        self._warn: Callable[[str], None]
        self._inform = self._warn = lambda text: None
        self._skip: set[str] = set()
        self._lock = threading.Lock()  # of these two
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="livemosaic watch", daemon=True)
        self._joined: list[str] = []
        self._left = 0
        self._told_s = time.monotonic()

    def start(self, inform: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Begin to watch; `inform` and `warn` are called with messages for the user."""
        self._inform, self._warn = inform, warn
        self._process = self._spawn()
        self._thread.start()

    def close(self, *, saves: bool = True) -> None:
        """End it; the gallery file is written before if that is quick, unless `saves` is False. May
        be called twice."""
        with self._lock:
            self._closing = True
            process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SAVING_S if saves else 0)
        with contextlib.suppress(OSError):
            process.kill()
        process.wait()
        forget_helper(process)
        self._thread.join(_SAVING_S)
        if process.stdout is not None and not self._thread.is_alive():
            process.stdout.close()
        self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        lowest: int = getattr(subprocess, "IDLE_PRIORITY_CLASS", 0)  # of Windows
        process = start_helper(f"{__package__}.watch_process", flags=lowest)
        assert process.stdin is not None
        order = {
            "folders": self._folders, "recipe": asdict(self.live.recipe),
            "skip": sorted(self._skip),
        }  # fmt: skip
        with contextlib.suppress(OSError):  # its end is noticed when it is read
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        return process

    def _run(self) -> None:
        while not self._closing:
            process = self._process
            assert process is not None
            assert process.stdout is not None
            reading = self._follow(process.stdout)
            if self._closing:
                return
            self._end(process)
            if reading is None:
                names = ", ".join(self._folders)
                self._warn(f"{names}: watching has ended by a crash; start again to go on")
                return
            self._skip.add(reading)
            self._warn(f"{reading}: cannot be read: its decoder has crashed; save it again")
            with self._lock:
                if not self._closing:
                    self._process = self._spawn()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Forget a process that has crashed."""
        process.wait()
        forget_helper(process)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _follow(self, stream: IO[bytes]) -> str | None:
        """Take the news until the stream ends; returns the photo that was read last, if its
        reading has not ended."""
        reading: str | None = None
        while (news := receive(stream)) is not None:
            if isinstance(news, Reading):
                reading = news.path or None
            if isinstance(news, Joined):
                self._join(news)
            elif isinstance(news, Left):
                self._leave(news.paths)
            elif isinstance(news, Unreadable):
                self._warn(f"{news.path}: {news.reason}")
            self._tell()
        return reading

    def _join(self, news: Joined) -> None:
        names, stamps, *_ = news.batch
        if all(self.live.stamp(name) == stamp for name, stamp in zip(names, stamps, strict=True)):
            return  # the gallery was built of the same folder
        self.live.add_batch(news.batch)
        self._joined += names

    def _leave(self, paths: Sequence[str]) -> None:
        before = self.live.removed
        try:
            self.live.remove(paths)
        except GalleryError as error:  # the last photos stay
            self._warn(str(error))
        self._left += self.live.removed - before

    def _tell(self) -> None:
        now_s = time.monotonic()
        if not (self._joined or self._left) or now_s - self._told_s < _TOLD_S:
            return
        self._told_s = now_s
        joined, left = len(self._joined), self._left
        texts = []
        if joined:
            name = os.path.basename(self._joined[0])
            texts.append(f"{name} joins" if joined == 1 else f"{joined} photos join")
        if left:
            texts.append(f"{left} photo{'s' if left > 1 else ''} leave{'' if left > 1 else 's'}")
        self._joined, self._left = [], 0
        self._inform(", ".join(texts))


# ---- between the processes: a line of JSON, then the arrays -------------------------------------


def send(news: News, stream: IO[bytes]) -> None:
    """Write news, of which arrays are raw bytes: nothing in it can be code."""
    arrays: list[tuple[str, Any]] = []
    head: dict[str, Any] = {"kind": type(news).__name__}
    if isinstance(news, Joined):
        names, stamps, unreadable, tiles, uncut = news.batch
        arrays = [*tiles.items(), *uncut.items()]
        head |= {"names": names, "stamps": stamps, "unreadable": unreadable, "tiles": len(tiles)}
        head["arrays"] = [(name, array.dtype.str, array.shape) for name, array in arrays]
    else:
        head["values"] = list(news)
    stream.write(json.dumps(head).encode() + b"\n")
    for _, array in arrays:
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> News | None:
    """Read news; None at the end."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    if head["kind"] != "Joined":
        kinds = {kind.__name__: kind for kind in (Left, Unreadable, Reading)}
        news: News = kinds[head["kind"]](*head["values"])
        return news
    arrays = {}
    for name, dtype, shape in head["arrays"]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        data = stream.read(size)
        if len(data) < size:
            return None
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    names = list(arrays)
    tiles = {name: arrays[name] for name in names[: head["tiles"]]}
    uncut = {name: arrays[name] for name in names[head["tiles"] :]}
    stamps = [(size, time_ns) for size, time_ns in head["stamps"]]
    bad = [(path, reason) for path, reason in head["unreadable"]]
    return Joined(Batch(head["names"], stamps, bad, tiles, uncut))


def serve() -> None:
    """The work of the process: send the news of the folders until standard input ends."""
    import cv2

    if sys.platform != "win32":  # it has priorities of its own
        os.nice(_LOWEST)
    cv2.setNumThreads(1)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    order = json.loads(source.readline())
    recipe = order["recipe"]
    if isinstance(recipe["tile_px"], list):
        recipe["tile_px"] = tuple(recipe["tile_px"])
    skip = frozenset(order["skip"])
    readers = [FolderReader(it, Recipe(**recipe), skip=skip) for it in order["folders"]]
    ended = threading.Event()

    def wait_for_the_end() -> None:
        source.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    for reader in readers:
        for news in reader.begin():
            send(news, target)
    told_s = time.monotonic()
    while not ended.wait(next_look_s(sum(reader.look_s for reader in readers))):
        if time.monotonic() - told_s >= _TOLD_S:  # so that the parent tells what has come
            told_s = time.monotonic()
            send(Reading(""), target)
        for reader in readers:
            for news in reader.look():
                send(news, target)
                if ended.is_set():
                    break
        for reader in readers:
            for news in reader.save():
                send(news, target)
    for reader in readers:
        for news in reader.save(now=True):
            send(news, target)
