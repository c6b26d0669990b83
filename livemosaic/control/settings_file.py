"""Applies changes of settings files that are saved during a run.

The watcher reads the files ten times a second. It does not use the system's events (inotify, as in
watchfiles and watchdog): they stop when an editor replaces the file by renaming, they come with
every write of an output into the same folder, and they never come from network folders and mounts
of containers. The polling of watchfiles compares times in whole seconds, so it misses the second of
two saves within a second.
"""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import LivemosaicError, OptionError, problem_of, words_of
from ..mosaic.grid import fixed_grid
from ..mosaic.settings import MosaicSettings
from ..option import Texts, options_of, text_of
from ..tile_size import TileSize
from .options import OPTIONS, RunOptions, message, read_settings, resolve, values_of
from .state import Control, LiveState, read_outside

_log = logging.getLogger("livemosaic")

_POLL_S = 0.1
_MAX_AWAY = 10  # polls without a file, before a message
_JOIN_S = 0.3  # the thread may be opening a gallery, which takes too long to wait for

# The output keeps its size: a change of these is planned for it.
_GRID = {"tile", "columns"}
_SWITCHES = {known.name for known in options_of(LiveState) if known.group == "live"}
_MOSAIC = {known.name: known.field for known in options_of(MosaicSettings)}


class SettingsFileWatcher:
    """Applies settings files whenever they are saved, on a thread of its own, as a context.

    Only options that changed in the files are applied: a change by a key stays until then. After a
    mistake, a one-line message goes to the log and to `control`, and the current settings stay in
    effect. A file may be away for a moment, as in the middle of being replaced; a message comes
    after a second.

    `texts` and `options` are those of `resolve` at the start. `open_gallery` raises an error for a
    gallery that cannot be used.
    """

    def __init__(
        self,
        texts: Mapping[Path, bytes],
        options: RunOptions,
        control: Control,
        *,
        open_gallery: Callable[[Texts], object],
    ) -> None:
        values = values_of(options)
        self._explicit = {name: values[name] for name in options.explicit}  # overrides the files
        self._control, self._open_gallery = control, open_gallery
        self._start = self._applied = options
        self._read = self._seen = dict(texts)
        self._away = 0  # polls
        self._stopping = threading.Event()
        # A daemon: opening a gallery of many photos must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="livemosaic config", daemon=True)

    def __enter__(self) -> SettingsFileWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_JOIN_S)

    def poll(self) -> None:
        """Read the files; apply them if they changed and two polls in a row read the same.

        Editors empty a file before they write it.
        """
        try:
            texts = {file: self._text(file) for file in self._read}
        except OSError as error:
            self._away += 1
            if self._away == _MAX_AWAY:
                problem = f"{error.filename}: cannot be read: {words_of(error)}"
                self._control.warn(f"{problem}; the current settings stay in effect")
            return
        self._away = 0
        before, self._seen = self._seen, texts
        if texts != before or texts == self._read:
            return
        saved = [file for file in texts if texts[file] != self._read[file]]
        self._read = texts
        try:
            options = resolve(self._explicit, texts)
            try:
                self._apply(options, saved[-1])
            except OptionError as error:
                error.args = (message(error, options.files),)
                raise
        except LivemosaicError as error:
            problem = str(error)
        except Exception as error:  # the thread lives on: the next save may be a better one
            _log.debug("the settings file", exc_info=True)
            problem = problem_of(error)
        else:
            return
        if not any(problem.startswith(f"{file}: ") for file in texts):
            problem = f"{saved[-1]}: {problem}"
        self._control.warn(f"{problem}; the current settings stay in effect")

    def _text(self, file: Path) -> bytes:
        """The content of a file now; a pipe can be read only once, at the start."""
        mode = file.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder is an error
            return read_settings(file)
        return self._read[file]

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.poll()

    def _apply(self, options: RunOptions, saved: Path) -> None:
        """Change what may change while it runs, and report it; nothing if a value is wrong."""
        old, new, start = map(values_of, (self._applied, options, self._start))
        changed = {
            known.name: known.live for known in OPTIONS if new[known.name] != old[known.name]
        }
        shown = {name: new[name] for name, live in changed.items() if live and name in _MOSAIC}
        changes = {_MOSAIC[name]: value for name, value in shown.items() if name not in _GRID}
        if _GRID & shown.keys():
            shown = {name: value for name, value in shown.items() if name not in _GRID}
            changes["tile_px"] = self._tile_px(options.mosaic, changes.get("fine"))
            by_columns = options.mosaic.columns and not options.mosaic.tile_px
            name = "columns" if by_columns else "tile"
            shown[name] = options.mosaic.columns if by_columns else changes["tile_px"]
        for name in sorted(_SWITCHES & changed.keys()):
            shown[name] = changes[name] = new[name]
        if "gallery" in changed:
            shown["gallery"] = changes["gallery"] = options.gallery
            self._open_gallery(options.gallery)
        if "outside" in changed:
            read_outside(options.outside)
        if "max_latency" in changed:
            shown["max_latency"] = options.max_latency
            changes["max_latency_s"] = options.max_latency / 1e3
        if changes:
            self._control.change(**changes)
        self._applied = options
        texts = [", ".join(f"{name} = {text_of(shown[name])}" for name in sorted(shown))]
        later = [name for name, live in changed.items() if not live and new[name] != start[name]]
        if later:
            texts.append(f"at the next start: {', '.join(sorted(later))}")
        if any(texts):
            text = f"{saved.name}: {'; '.join(filter(None, texts))}"
            _log.info("%s", text)
            self._control.notify(text)

    def _tile_px(self, wanted: MosaicSettings, fine: str | None) -> TileSize:
        """The size of tiles for an output that keeps its size; `fine` is None if it stays, as a key
        may have changed it."""
        # Tile and columns together are the output's size, too, which waits for the next start.
        columns = None if wanted.tile_px else wanted.columns
        settings = self._control.state.settings  # a control's settings are `for_grid`
        return fixed_grid(settings, tile_px=wanted.tile_px, columns=columns, fine=fine).tile_px
