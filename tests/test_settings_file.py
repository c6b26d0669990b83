"""The settings file while it runs: real files, saved in all the ways that editors save."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.control.options import OPTIONS, explicit_options, read_settings_file, resolve
from livemosaic.control.settings_file import SettingsFileWatcher
from livemosaic.control.state import Control, LiveState
from livemosaic.errors import GalleryError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.option import Option, Texts, text_of
from livemosaic.sources.pattern import PatternSource

from .fakes import TIMEOUT_S
from .program import Run, finish, needs_jit, pictures, spawn
from .test_options import another_value

pytestmark = pytest.mark.alone

SIZE = (640, 480)


def save_in_place(file: Path, text: str) -> None:
    file.write_text(text)


def save_by_renaming(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def save_again(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def save_behind_a_link(file: Path, text: str) -> None:
    new = file.with_name("target.toml")
    new.write_text(text)
    file.unlink()
    file.symlink_to(new)


SAVES = [save_in_place, save_by_renaming, save_again, save_behind_a_link]


class Watched:
    """A watcher of a file, and of others that override it less, without its thread."""

    def __init__(self, file: Path, text: str = "", own: Path | None = None, **typed: str) -> None:
        self.file = file
        file.write_text(text)
        explicit = explicit_options(typed)
        texts = {each: read_settings_file(each) for each in (own, file) if each}
        options = resolve(explicit, texts)
        settings = replace(options.mosaic, tile_px=16, columns=None, size=SIZE, for_screen=True)
        self.control = Control(LiveState(settings, options.gallery))
        self.opened: list[Texts] = []
        self.watcher = SettingsFileWatcher(
            texts,
            options=options,
            control=self.control,
            open_gallery=self._open,
        )
        self.poll()

    def _open(self, name: Texts) -> None:
        self.opened.append(name)
        if name == "nowhere":
            raise GalleryError("no gallery 'nowhere': check the name")
        if name == "broken":
            raise ZeroDivisionError("an unforeseen\nproblem")

    @property
    def settings(self) -> MosaicSettings:
        return self.control.state.settings

    def poll(self) -> str:
        """Poll until nothing more can happen; the message."""
        for _ in range(3):
            self.watcher.poll()
        return self.control.take_message()

    def save(self, *lines: str) -> str:
        """Save a `[run]` table; the message."""
        self.file.write_text("\n".join(["[run]", *lines]))
        return self.poll()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.live], ids=lambda option: option.name
)
def test_every_live_option_is_applied(option: Option, file: Path) -> None:
    watched = Watched(file)
    before = watched.control.state
    texts = {"tile": "32", "columns": "20", "outside": "'blur'"}
    value = texts.get(option.name) or another_value(option)
    message = watched.save(f"{option.name} = {value}")
    assert watched.control.state != before
    assert f"{option.name} = " in message or option.name == "profile"


def test_your_own_file_is_watched_too(file: Path) -> None:
    own = file.with_name("config.toml")
    own.write_text("[run]\noverlay = 0.1\nseed = 1\n")
    watched = Watched(file, "[run]\nseed = 2\n", own=own)
    assert (watched.settings.overlay, watched.settings.seed) == (0.1, 2)
    own.write_text("[run]\noverlay = 0.3\nseed = 3\n")
    assert watched.poll() == "config.toml: overlay = 0.3"
    assert (watched.settings.overlay, watched.settings.seed) == (0.3, 2)
    own.write_text("[run]\noverlay = 3\n")
    assert watched.poll().startswith(f"{own}: overlay = 3: ")
    own.write_text("[run]\nsize = '33x34'\n")
    assert watched.poll().startswith(f"{own}: size = '33x34': ")
    assert watched.save("seed = 4", "size = '35x34'").startswith(f"{file}: size = '35x34': ")


@pytest.mark.parametrize("save", SAVES)
def test_what_is_saved_is_applied(save: Callable[[Path, str], None], file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    assert watched.control.state.settings.overlay == 0.25
    for overlay, seed in ((0.75, 3), (0.0, 4), (1.0, 5)):
        save(file, f"[run]\noverlay = {overlay}\nseed = {seed}\n")
        message = watched.poll()
        assert (watched.settings.overlay, watched.settings.seed) == (overlay, seed)
        assert message == f"settings.toml: overlay = {overlay:g}, seed = {seed}"


def test_what_is_taken_out_is_the_default_again(file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    assert watched.save() == "settings.toml: overlay = 0.2"
    assert watched.settings.overlay == 0.2


def test_what_changes_nothing_is_not_mentioned(file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    before = watched.control.state
    assert watched.save("overlay = 0.25  # as it was") == ""
    assert watched.control.state is before


def test_a_text_that_is_being_written_is_waited_for(file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    for part in ("", "[ru", "[run]\nover", "[run]\noverlay = 0.7"):
        file.write_text(part)
        watched.watcher.poll()
    assert watched.settings.overlay == 0.25
    assert watched.control.take_message() == ""
    file.write_text("[run]\noverlay = 0.75\n")
    watched.watcher.poll()
    assert watched.settings.overlay == 0.25
    watched.watcher.poll()
    assert watched.settings.overlay == 0.75


def test_a_file_that_is_away_is_no_mistake(file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    file.unlink()
    assert watched.poll() == ""
    assert watched.settings.overlay == 0.25
    assert watched.save("overlay = 0.75") == "settings.toml: overlay = 0.75"


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_stays_away_is_reported_once(file: Path, folder: bool) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    file.unlink()
    if folder:
        file.mkdir()
    messages = [watched.poll() for _ in range(10)]
    (message,) = filter(None, messages)
    assert message.startswith(f"{file}: cannot be read: ")
    assert watched.settings.overlay == 0.25
    if folder:
        file.rmdir()
    assert watched.save("overlay = 0.75") == "settings.toml: overlay = 0.75"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_pipe_is_not_read_again(file: Path) -> None:
    """A second read of `--config <(...)` would find it empty, or wait forever."""
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    file.unlink()
    os.mkfifo(file)
    assert watched.poll() == ""
    assert watched.settings.overlay == 0.25


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero")
def test_a_file_without_an_end() -> None:
    """No more of it is read than settings can have."""
    file = Path("/dev/zero")
    with pytest.raises(UsageError, match=r"/dev/zero: it has more than 1 MB"):
        resolve({}, {file: read_settings_file(file)})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("overlay = 2", "overlay = 2: must be a number from 0 to 1"),
        ("overlay = ", "not valid TOML"),
        ("overlays = 0.5", "unknown: overlays"),
        ("tile = 33", "tile = 33: must be an even number"),
        ("size = '0x0'", "size = '0x0': must be WIDTHxHEIGHT"),
        ("columns = 500", "columns = 500: must be from 1 to 160 for an output 640 pixels wide"),
        ("gallery = 'nowhere'", "no gallery 'nowhere'"),
        ("outside = 'nothere.png'", "outside = 'nothere.png': cannot be read: "),
        ("gallery = 'broken'", "internal error: ZeroDivisionError: an unforeseen problem"),
        ("columns = " + "1" * 5000, "a number is too long"),
        ("#" * 1_000_000, "it has more than 1 MB"),
        ("tile = " + "[" * 20_000, "it is nested too deeply"),
        ("overlay = '1e999999999'", "overlay = '1e999999999': must be a number from 0 to 1"),
    ],
    ids=lambda text: text[:30],
)
def test_a_mistake_is_said_and_changes_nothing(
    line: str, expected: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(file)
    before = watched.control.state
    message = watched.save("seed = 9", line)
    assert message.startswith(f"{file}: ")
    assert expected in message
    assert message.endswith("; the current settings stay in effect")
    assert "\n" not in message
    assert watched.control.state is before
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, message)]
    assert watched.poll() == ""  # once is enough
    assert watched.save("seed = 9") == "settings.toml: seed = 9"
    assert watched.settings.seed == 9


def test_the_command_line_goes_before_the_file(file: Path) -> None:
    watched = Watched(file, overlay="0.1")
    assert watched.save("overlay = 0.9") == ""
    assert watched.settings.overlay == 0.1


def test_what_a_key_changed_stays(file: Path) -> None:
    watched = Watched(file, "[run]\noverlay = 0.25\n")
    watched.control.change(overlay=0.9)
    watched.save("overlay = 0.25", "seed = 1")
    assert watched.settings.overlay == 0.9
    watched.save("overlay = 0.3", "seed = 1")
    assert watched.settings.overlay == 0.3


def test_the_output_keeps_its_size(file: Path) -> None:
    watched = Watched(file, "[run]\ncolumns = 20\n")
    assert watched.save("columns = 10") == "settings.toml: columns = 10"
    assert (watched.settings.tile_px, watched.settings.size) == (64, SIZE)
    assert watched.save("tile = 16") == "settings.toml: tile = 16"
    assert (watched.settings.tile_px, watched.settings.columns) == (16, None)
    assert watched.save() == "settings.toml: tile = 24"  # what is live has smaller ones
    assert watched.settings.tile_px == 24
    assert watched.save("tile = '48x32'") == "settings.toml: tile = 48x32"
    assert text_of(watched.settings.tile_px) == "48x32"
    assert watched.settings.size == SIZE
    assert watched.save("tile = [18, 32]") == "settings.toml: tile = 18x32"
    assert "the nearest is 84x42" in watched.save("tile = '90x30'")
    assert text_of(watched.settings.tile_px) == "18x32"


def test_finer_cells_beside_columns(file: Path) -> None:
    """As at the start, the tiles of so many columns can split in four."""
    watched = Watched(file)
    assert "fine = faces" in watched.save("fine = 'faces'", "columns = 25")  # of 26 pixels else
    assert (watched.settings.fine, watched.settings.tile_px) == ("faces", 24)
    watched = Watched(file, "[run]\ncolumns = 10")
    watched.save("columns = 25")
    assert watched.settings.tile_px == 26
    assert "fine = faces" in watched.save("fine = 'faces'", "columns = 25")
    assert (watched.settings.fine, watched.settings.tile_px) == ("faces", 24)


def test_columns_while_a_key_has_made_cells_finer(file: Path) -> None:
    watched = Watched(file)
    watched.control.change(fine="faces")
    assert watched.save("columns = 30") == "settings.toml: columns = 30"
    assert (watched.settings.fine, watched.settings.tile_px) == ("faces", 20)
    assert "fine = detail" in watched.save("columns = 30", "fine = 'detail'")
    assert "tile = 30" in watched.save("tile = 30")
    assert (watched.settings.fine, watched.settings.tile_px) == ("none", 30)


def test_tile_and_columns_together_are_a_tile_for_now(file: Path) -> None:
    watched = Watched(file, "[run]\ntile = 16\ncolumns = 40\n")
    assert watched.save("tile = 32", "columns = 40", "overlay = 0.5").startswith(
        "settings.toml: overlay = 0.5, tile = 32"
    )
    assert (watched.settings.tile_px, watched.settings.size) == (32, SIZE)


def test_what_has_to_wait_is_said_once(file: Path) -> None:
    watched = Watched(file, "[run]\nfps = 20\n")
    before = watched.control.state
    message = watched.save("fps = 25", "size = '320x240'", "crf = 30")
    assert message == "settings.toml: at the next start: crf, fps, size"
    assert watched.control.state is before
    message = watched.save("fps = 25", "size = '320x240'", "crf = 30", "seed = 2")
    assert message == "settings.toml: seed = 2"
    message = watched.save("fps = 20", "size = '320x240'", "crf = 30", "seed = 3")
    assert message == "settings.toml: seed = 3"  # fps is what it was at the start


def test_a_profile_is_told_by_what_it_sets(file: Path) -> None:
    watched = Watched(file)
    message = watched.save("profile = 'reference'")
    assert message == (
        "settings.toml: match = clusters, overlay = 0.5, tile = 32, tint = 0; "
        "at the next start: scale"
    )
    assert (watched.settings.tile_px, watched.settings.size) == (32, SIZE)
    assert watched.settings.match == "clusters"


def test_a_gallery_is_tried_before_it_is_wanted(file: Path) -> None:
    watched = Watched(file)
    assert watched.save("gallery = 'emoji'") == "settings.toml: gallery = emoji"
    assert watched.control.state.gallery == "emoji"
    assert watched.opened == ["emoji"]


def test_the_latency_promise(file: Path) -> None:
    watched = Watched(file)
    assert watched.control.state.max_latency_s is None
    assert watched.save("max_latency = 50") == "settings.toml: max_latency = 50"
    assert watched.control.state.max_latency_s == 0.05


def test_its_thread_ends_with_it(file: Path) -> None:
    watched = Watched(file)
    with watched.watcher:
        save_by_renaming(file, "[run]\noverlay = 0.75\n")
        deadline = time.monotonic() + TIMEOUT_S
        while watched.settings.overlay != 0.75 and time.monotonic() < deadline:
            time.sleep(0.01)
        names = [thread.name for thread in threading.enumerate()]
        assert "livemosaic config" in names
    assert watched.settings.overlay == 0.75
    assert "livemosaic config" not in [thread.name for thread in threading.enumerate()]


# ---- the program -------------------------------------------------------------------------

SPEC = "pattern:64x48@25"


@pytest.mark.slow
@needs_jit
def test_in_the_program(file: Path, tmp_path: Path, gallery: Gallery) -> None:
    """Only tiles at first, only the original at the end; other tiles, the size as it was."""
    save_in_place(file, "[run]\noverlay = 0\ntile = 8\ncodec = 'ffv1'\n")
    output = tmp_path / "x.mkv"
    words = ["--gallery", gallery.path, "--size", "128x96", "--tint", "0", "--json"]
    # The kernels for the tiles to come are compiled before: that takes longer than the rest.
    assert finish(spawn("run", SPEC, "null", *words, "--tile", "16", "--duration", "1")).code == 0
    running = Run("run", SPEC, output, *words, "--config", file, "--progress", "always")
    try:
        running.wait_for(rb"[1-9]\d* frames? \[")
        save_in_place(file, "[run]\noverlay = 3\n")
        running.wait_for(rb"warning: \S+: overlay = 3: must be .* stay in effect\n")
        save_by_renaming(file, "[run]\noverlay = 1\ncolumns = 8\nfps = 5\n")
        running.wait_for(
            rb"settings.toml: columns = 8, overlay = 1; at the next start: codec, fps\n"
        )
        shown: Any = running.wait_for(rb"(\d+) frames? \[[^\n\r]*[\r\n][^\n\r]*$")
        running.wait_for(rb"%d frames? \[" % (int(shown[1]) + 10))
        running.interrupt(signal.SIGINT)
        outcome = running.end()
    finally:
        running.process.kill()
        running.process.communicate()
    assert outcome.code == 130, outcome.err
    report = json.loads(outcome.out)
    assert report["grid"] == {"rows": 6, "columns": 8, "tile_px": 16, "width": 128, "height": 96}
    frames = pictures(output)
    first, last = (_distance_from_the_original(frames[n], n) for n in (0, -1))
    assert first > 20
    assert last < 8
    assert frames[0].shape == frames[-1].shape == (96, 128, 3)


def _distance_from_the_original(picture: Any, number: int) -> float:
    """Mean difference to the pattern, at its resolution, without the disc that moves."""
    original = PatternSource(SPEC).frame(number).to_bgr()[:, :, ::-1]
    small = picture.reshape(48, 2, 64, 2, 3).mean((1, 3))
    outside = np.r_[0:12, 36:48]
    return float(np.abs(small - original.astype(float))[outside].mean())
