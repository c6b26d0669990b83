"""The settings file while it runs: what is saved is applied.

The file is read again, ten times a second, instead of asking the system for its events. The events
(inotify, as of watchfiles and watchdog) belong to a file that an editor's "replace by renaming"
takes away, come with every write of an output into the same folder, and never come from network
folders and mounts of containers. The polling of watchfiles 1.3 looks at whole seconds, and so
misses the second of two saves within one. Reading a file of this size takes 15 microseconds.
"""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import LivemosaicError
from ..mosaic.grid import plan_grid
from ..mosaic.settings import MosaicSettings
from . import options as config
from .state import Control

__all__ = ["SettingsFileWatcher"]

_log = logging.getLogger("livemosaic")

# A text counts when two looks in a row found the same: editors empty a file before they write it.
_LOOK_S = 0.1
_JOIN_S = 0.3  # it may be in the middle of opening a gallery, whose end nobody waits for

# Options that are fields of the mosaic's settings by the same name. What sets its size cannot
# change any more, as the outputs were opened for it; the tiles have to be planned for that size.
_OF_THE_SIZE = {"scale", "size", "round_up", "live", "columns", "tile_px"}
# Live nothing is thorough.
_OF_THE_MOSAIC = {field.name for field in fields(MosaicSettings)} - _OF_THE_SIZE - {"thorough"}
# Nobody has to know of these: another option says it better.
_SILENT = {"tile", "columns", "profile", "round_up"}


class SettingsFileWatcher:
    """Applies a settings file whenever it is saved, on a thread of its own, as a context.

    Only what was changed in the file is applied: what was changed by a key stays until then. A
    mistake is said in one line, in the log and to `control`, and then nothing of the file is
    applied. A file that is away, as in the middle of being replaced, is waited for.

    Parameters
    ----------
    file : the settings file; one that is no regular file (a pipe) can be read once, at the start
    given : what the command line says, which goes before the file; see `config.resolve`
    options : what `config.resolve` made of both at the start
    control : what is changed
    open_gallery : tells whether a gallery can be used
    """

    def __init__(
        self,
        file: Path,
        *,
        given: Mapping[str, Any],
        options: Mapping[str, Any],
        control: Control,
        open_gallery: Callable[[str], object],
    ) -> None:
        self._file, self._given, self._control = file, given, control
        self._open_gallery = open_gallery
        self._start = dict(options)
        self._applied = dict(options)  # what is in force, and what waits for the next start
        self._seen: bytes | None = None
        self._done: bytes | None = None
        self._stopping = threading.Event()
        # A daemon: opening a gallery of many photos must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="livemosaic config", daemon=True)

    def __enter__(self) -> SettingsFileWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_JOIN_S)

    def look(self) -> None:
        """Read the file; apply it when it is another than before and has been for two looks."""
        try:
            if not stat.S_ISREG(self._file.stat().st_mode):
                return
            text = self._file.read_bytes()
        except OSError:
            return
        before, self._seen = self._seen, text
        if text != before or text == self._done:
            return
        self._done = text
        try:
            self._apply(config.resolve(self._given, file=self._file, text=text))
        except LivemosaicError as error:
            self._say(_log.warning, f"{self._named(error)}; the settings stay as they were")
        except Exception as error:  # the thread lives on: the next save may be a better one
            _log.debug("the settings file", exc_info=True)
            what = f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"
            self._say(
                _log.warning, f"--config {self._file}: {what}; the settings stay as they were"
            )

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            self.look()

    def _apply(self, options: dict[str, Any]) -> None:
        """Change what can be changed, and say it.

        Raises
        ------
        LivemosaicError : a value that cannot be used; nothing is changed then
        """
        changed = {n: value for n, value in options.items() if value != self._applied[n]}
        shown = {name: changed.pop(name) for name in _OF_THE_MOSAIC & changed.keys()}
        wanted = dict(shown)
        if changed.keys() & {"tile", "columns"}:
            wanted["tile_px"] = self._tile_px(options)
            by_columns = options["columns"] and not options["tile"]
            name = "columns" if by_columns else "tile"
            shown[name] = options["columns"] if by_columns else wanted["tile_px"]
        if "gallery" in changed:
            shown["gallery"] = wanted["gallery"] = changed["gallery"]
            self._open_gallery(changed["gallery"])
        if "max_latency" in changed:
            shown["max_latency"] = changed["max_latency"]
            wanted["max_latency_s"] = changed["max_latency"] / 1e3
        if wanted:
            self._control.change(**wanted)
        self._applied = options
        later = changed.keys() - shown.keys() - _SILENT
        texts = [", ".join(_shown(name, value) for name, value in sorted(shown.items()))]
        if names := sorted(name for name in later if changed[name] != self._start[name]):
            texts.append(f"at the next start: {', '.join(names)}")
        if any(texts):
            self._say(_log.info, f"{self._file.name}: {'; '.join(filter(None, texts))}")

    def _tile_px(self, options: Mapping[str, Any]) -> int:
        """The side of a tile for an output that keeps its size."""
        settings = self._control.state.settings
        assert settings.size is not None  # a control's settings are `for_grid`
        return plan_grid(
            *settings.size,
            tile_px=options["tile"],
            # With both, they are the output's size as well, which waits for the next start.
            columns=None if options["tile"] else options["columns"],
            size=settings.size,
            live=settings.live,
        ).tile_px

    def _named(self, error: LivemosaicError) -> str:
        said = f"--config {self._file}: "
        return str(error) if str(error).startswith(said) else said + str(error)

    def _say(self, log: Callable[..., None], text: str) -> None:
        log("%s", text)
        self._control.notify(text)


def _shown(name: str, value: Any) -> str:
    return f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
