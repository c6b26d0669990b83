"""Watches folders: photos that appear, change or go join or leave a live gallery.

Photos are read in a process of its own, of the lowest priority: decoding one takes as long as
several frames, and a photo that crashes a decoder costs only itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from ..errors import GalleryError, OptionError, problem_of
from ..media.atomic_write import remove_remains_of
from ..priority import lower_priority
from ..unfinished import end_helper, start_helper
from .batches import Batch
from .build import warm_up
from .folder_reader import (
    FolderReader,
    Joined,
    Left,
    News,
    Reading,
    Unreadable,
    kept_file,
    next_look_s,
)
from .live import LiveGallery
from .photo_paths import is_searched_with
from .recipe import Recipe
from .sources import Stamp

_logger = logging.getLogger("livemosaic")

# At the end the process may be writing its gallery file.
_SAVING_S = 3.0
# One message for all changes of so long.
_TOLD_S = 1.0
# No photo takes so long; its decoder must be in an endless loop.
_READING_CPU_S = 60


def check_folders(folders: Sequence[str]) -> list[str]:
    """The absolute paths of folders to watch, without those that a watch of another one sees, too;
    `OptionError` if one is none."""
    found: list[str] = []
    for folder in folders:
        path = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(path):
            problem = "it is a file" if os.path.exists(path) else "there is no such folder"
            raise OptionError("watch", folder, f"{problem}; name a folder of photos")
        if not any(is_searched_with(it, path) for it in found):
            found = [it for it in found if not is_searched_with(path, it)] + [path]
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

    Attributes
    ----------
    folders : their absolute paths
    """

    def __init__(
        self,
        live: LiveGallery,
        folders: Sequence[str],
    ) -> None:
        self.live, self.folders = live, check_folders(folders)
        self._inform: Callable[[str], None]
        self._warn: Callable[[str], None]
        self._inform = self._warn = lambda text: None
        self._skip: dict[str, Stamp] = {}
        self._lock = threading.Lock()  # of these three
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._deadline_s = 0.0  # of the gallery file, at the end
        self._thread = threading.Thread(target=self._run, name="livemosaic watch", daemon=True)
        self._own: set[str] = set()  # that have joined, and not left
        self._leaving: set[str] = set()  # that have to stay as long as no others are there
        self._joined: list[str] = []
        self._left = 0
        self._told_s = time.monotonic()

    def start(self, inform: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Begin to watch; `inform` and `warn` are called with messages for the user."""
        self._inform, self._warn = inform, warn
        try:
            self._thread.start()
        except RuntimeError as error:  # the system starts no more threads
            self._warn_of_end(error)

    def end(self) -> None:
        """Begin to end it; the gallery file is written meanwhile. May be called twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._deadline_s = time.monotonic() + _SAVING_S
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._process.stdin.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the gallery file, after `end`; whether it is written, or takes too long."""
        process, left_s = self._process, self._deadline_s - time.monotonic()
        if process is None or left_s <= 0:
            return True
        try:
            process.wait(min(timeout_s, left_s))
        except subprocess.TimeoutExpired:
            return time.monotonic() >= self._deadline_s
        return True

    def close(self, *, saves: bool = True) -> None:
        """End it; the gallery file is written before if that is quick, unless `saves` is False. May
        be called twice."""
        self.end()
        if saves:
            self.wait(_SAVING_S)
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
        if self._thread.is_alive():
            self._thread.join(_SAVING_S)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start the process; None if the end has come."""
        known = self.live.stamps_in(self.folders)
        order = {
            "folders": self.folders, "recipe": asdict(self.live.recipe),
            "known": known, "joined": sorted(self._own), "skip": self._skip,
        }  # fmt: skip
        with self._lock:
            if self._closing:
                return None
            module = f"{__package__}.watch_process"
            process = start_helper(module, gives_way=True)
            self._process = process
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # its end is noticed when it is read
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        return process

    def _run(self) -> None:
        try:
            while (process := self._spawn()) is not None:
                try:
                    assert process.stdout is not None
                    reading = self._follow(process.stdout)
                finally:
                    self._finish(process)
                if self._closing:
                    return
                if reading is None:
                    self._warn_of_end("its process has crashed")
                    return
                self._skip[reading.path] = reading.size, reading.time_ns
                self._warn(
                    f"{reading.path}: cannot be read: its decoder has crashed; save it again"
                )
        except Exception as error:
            self._warn_of_end(error)

    def _warn_of_end(self, reason: str | Exception) -> None:
        if isinstance(reason, Exception):
            _logger.debug("watch", exc_info=reason)
            reason = problem_of(reason)
        names = ", ".join(self.folders)
        self._warn(f"{names}: watching has ended: {reason}; start again to go on")

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """Forget a process that has closed its output, or is to be given up."""
        end_helper(process)
        for folder in self.folders:
            remove_remains_of(kept_file(folder))

    def _follow(self, stream: IO[bytes]) -> Reading | None:
        """Take the news until the stream ends; returns the photo that was read last, if its
        reading has not ended."""
        reading: Reading | None = None
        while (news := receive(stream)) is not None:
            if isinstance(news, Reading):
                reading = news if news.path else None
            try:
                self._take(news)
            except Exception as error:  # the next ones may fit
                _logger.debug("watch", exc_info=error)
                problem = f"{_thing(news)}: cannot join: {problem_of(error)}"
                self._warn(f"{problem}; start again to try once more")
            self._tell()
        return reading

    def _take(self, news: News) -> None:
        if isinstance(news, Joined):
            names, stamps, *_ = news.batch
            if [self.live.stamp(it) for it in names] != stamps:  # else it was taken in this run
                self.live.add_batch(news.batch, old=news.old)
                self._joined += names
            self._own.update(names)
            self._leaving.difference_update(names)
            if self._leaving:
                self._leave([])
        elif isinstance(news, Left):
            self._leave(news.paths)
        elif isinstance(news, Unreadable):
            self._warn(f"{news.path}: {news.reason}")

    def _leave(self, paths: Sequence[str]) -> None:
        self._own.difference_update(paths)
        self._leaving.update(paths)
        before = self.live.removed
        try:
            self.live.remove(self._leaving)
        except GalleryError as error:  # the last photos stay until others join
            if paths:
                self._warn(str(error))
            return
        self._leaving.clear()
        self._left += self.live.removed - before

    def _tell(self) -> None:
        now_s = time.monotonic()
        if not (self._joined or self._left) or now_s - self._told_s < _TOLD_S:
            return
        self._told_s = now_s
        joined, left = len(self._joined), self._left
        texts = []
        if joined:
            texts.append(f"{joined} photo{'s join' if joined > 1 else ' joins'}")
        if left:
            texts.append(f"{left} photo{'s leave' if left > 1 else ' leaves'}")
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
        head["old"] = list(news.old)
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
    return Joined(Batch(head["names"], stamps, bad, tiles, uncut), head["old"])


def _thing(news: News) -> str:
    """The thing that news is about."""
    names = news.batch.names if isinstance(news, Joined) else list(news)[:1]
    return str(names[0]) if len(names) == 1 else f"{len(names)} photos"


def serve() -> None:
    """The work of the process: send the news of the folders until standard input ends."""
    import cv2

    lower_priority()
    cv2.setNumThreads(1)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    order = json.loads(source.readline())
    recipe = order["recipe"]
    if isinstance(recipe["tile_px"], list):
        recipe["tile_px"] = tuple(recipe["tile_px"])
    known, skip = _stamps(order["known"]), _stamps(order["skip"])
    readers = [
        FolderReader(it, Recipe(**recipe), known=known, joined=order["joined"], skip=skip)
        for it in order["folders"]
    ]
    ended = threading.Event()

    def wait_for_the_end() -> None:
        source.read()
        ended.set()

    def tell(news: News) -> None:
        send(news, target)
        if isinstance(news, Reading):
            _limit_cpu(_READING_CPU_S if news.path else None)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    for reader in readers:
        for news in reader.begin():
            tell(news)
    warm_up(Recipe(**recipe))
    told_s = time.monotonic()
    while not ended.wait(next_look_s(sum(reader.look_s for reader in readers))):
        if time.monotonic() - told_s >= _TOLD_S:  # so that the parent tells what has come
            told_s = time.monotonic()
            tell(Reading(""))
        for reader in readers:
            for news in reader.look():
                tell(news)
                if ended.is_set():
                    break
        for reader in readers:
            for news in reader.save():
                tell(news)
    for reader in readers:
        for news in reader.save(now=True):
            tell(news)


def _stamps(texts: dict[str, list[int]]) -> dict[str, Stamp]:
    return {path: (size, time_ns) for path, (size, time_ns) in texts.items()}


def _limit_cpu(seconds: float | None) -> None:
    """End this process if it uses more of the processor from now on; None for no limit."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        limit = most if seconds is None else math.ceil(time.process_time() + seconds)
        if most != resource.RLIM_INFINITY and limit > most:
            limit = most
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
