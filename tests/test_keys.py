"""The table of keys: each has its help and does what that describes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from livemosaic.control.options import profile_settings, resolve
from livemosaic.control.state import LIVE_OPTIONS, Control, LiveState, LiveStats
from livemosaic.errors import UsageError
from livemosaic.mosaic.grid import plan_grid
from livemosaic.mosaic.settings import PROFILES, MosaicSettings
from livemosaic.tile_size import TileSize
from livemosaic.window.keys import KEYS, Keyboard, View, key_name, press, tile_sizes

START = LiveState(MosaicSettings(overlay=0.5))


@pytest.fixture
def control() -> Control:
    return Control(START, galleries=("photos", "emoji", "my own"))


@pytest.fixture
def view() -> View:
    return View(2560, 1440)


class Clock:
    """A time that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_key_has_one_meaning_and_its_help() -> None:
    names = [name for key in KEYS for name in key.names]
    assert len(set(names)) == len(names)
    for key in KEYS:
        assert key.help
        assert key.shown[0] in key.names or key.shown in key.names


# ---- what they do ------------------------------------------------------------------------


def test_a_switch_says_why_there_is_no_picture(control: Control, view: View) -> None:
    assert press("Space", control, view) == "frozen"
    control.live_stats = lambda: LiveStats(source="waiting for a reader")
    assert press("Space", control, view) == "not frozen; waiting for a reader"
    assert press("f", control, view) == ""


def test_the_qr_code_is_for_guests(control: Control, view: View) -> None:
    assert "--guests" in press("u", control, view)
    assert not control.state.qr
    control.guests_url = "http://192.0.2.1:8080/upload?token=0123456789abcdef"
    assert press("u", control, view) == ""
    assert control.state.qr
    press("u", control, view)
    assert control.state == START


@pytest.mark.parametrize("name", ["q", "Esc"])
def test_quit(control: Control, view: View, name: str) -> None:
    quits: list[str] = []
    control.on_quit = lambda: quits.append(name)
    press(name, control, view)
    assert quits == [name]


@pytest.mark.parametrize(
    ("names", "overlay", "message"),
    [
        ("+", 0.6, "overlay 60%"),
        ("=", 0.6, "overlay 60%"),
        ("-", 0.4, "overlay 40%"),
        ("++++++++", 1.0, "overlay 100%"),
        ("--------", 0.0, "overlay 0%"),
        ("--------+", 0.1, "overlay 10%"),
    ],
)
def test_overlay(control: Control, view: View, names: str, overlay: float, message: str) -> None:
    for name in names:
        last = press(name, control, view)
    assert control.state.settings.overlay == overlay
    assert last == message


def test_overlay_while_it_cannot_be_seen(control: Control, view: View) -> None:
    press("p", control, view)
    assert "privacy mode (p)" in press("Up", control, view)
    assert control.state.settings.overlay == 0.6


def test_tile_size(control: Control, view: View) -> None:
    """Every size divides the picture, whose own size stays."""
    sizes: list[TileSize | None] = []
    while "largest" not in press("]", control, view):
        sizes.append(control.state.settings.tile_px)
        grid = plan_grid(640, 360, replace(control.state.settings, tile_px=sizes[-1]))
        assert (grid.width, grid.height) == (grid.canvas_width, grid.canvas_height) == (2560, 1440)
    assert sizes == [40, 80, 160]
    message = ""
    while "smallest" not in message:
        message = press("[", control, view)
    assert control.state.settings.tile_px == 8


@pytest.mark.parametrize("settings", [{"columns": 100, "scale": 2.0}, {"tile_px": 25 * 2}])
def test_tile_size_from_another(view: View, settings: dict[str, int]) -> None:
    """The next size is next to the current one, whichever options set the grid."""
    start = MosaicSettings(**settings)  # type: ignore[arg-type]
    control = Control(LiveState(start))
    now = plan_grid(2560, 1440, replace(start, scale=None, size=(2560, 1440)))
    press("Right", control, view)
    larger = control.state.settings.tile_px
    control.change(settings=start)
    press("Left", control, view)
    smaller = control.state.settings.tile_px
    assert isinstance(larger, int)
    assert isinstance(smaller, int)
    assert smaller < now.tile_width < larger
    assert control.state.settings == replace(
        start, tile_px=smaller, columns=None, scale=None, size=(2560, 1440)
    )


@pytest.mark.parametrize("size", [(2560, 1440), (1280, 720), (1278, 718), (2, 2), (642, 4000)])
def test_tile_sizes(size: tuple[int, int]) -> None:
    sizes = tile_sizes(*size)
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 4 or min(size) < 200
    for px in sizes:
        plan_grid(*size, MosaicSettings(tile_px=px, size=size))


def test_a_picture_that_is_too_small_for_another_tile(control: Control) -> None:
    for name in "[]":
        assert press(name, control, View(16, 16)).startswith("tiles of 32 pixels are the")
    assert control.state == START


@pytest.mark.parametrize(
    ("names", "calm"), [(".", 0.6), (",", 0.4), (">" * 9, 1.0), ("<" * 9, 0.0), (",,.", 0.4)]
)
def test_calm(control: Control, view: View, names: str, calm: float) -> None:
    for name in names:
        message = press(name, control, view)
    assert control.state.settings.calm == calm
    assert message == f"calm {calm:.0%}"
    press("m", control, view)
    assert "match clusters" in press(".", control, view)


def test_tint_goes_round(control: Control, view: View) -> None:
    message = [press("t", control, view) for _ in range(7)]
    assert message == [f"tint {tint}%" for tint in (100, 0, 20, 40, 60, 80, 100)]
    control.change(tint=0.75)
    press("t", control, view)
    assert control.state.settings.tint == 0.95


def test_match_goes_round(control: Control, view: View) -> None:
    choices = LIVE_OPTIONS["match"].choices
    met = []
    for _ in choices:
        message = press("m", control, view)
        assert control.state.settings.match in message
        met.append(control.state.settings.match)
    assert sorted(met) == sorted(choices)


def test_gallery(control: Control, view: View) -> None:
    assert press("2", control, view) == "gallery emoji"
    assert control.state.gallery == "emoji"
    assert press("3", control, view) == "gallery my own"
    assert press("4", control, view) == "no gallery 4; choose 1 photos, 2 emoji, 3 my own"
    assert control.state.gallery == "my own"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("x", "mirror"),
        ("Space", "freeze"),
        ("p", "privacy"),
        ("r", "recording"),
        ("h", "figures"),
        ("f", "fullscreen"),
    ],
)
def test_on_and_off(control: Control, view: View, name: str, field: str) -> None:
    on = press(name, control, view)
    changes: dict[str, Any] = {field: True}
    assert control.state == replace(START, **changes)
    off = press(name, control, view)
    assert control.state == START
    assert on != off or field in ("recording", "figures", "fullscreen")


def test_esc_leaves_the_full_screen_first(control: Control, view: View) -> None:
    quits: list[str] = []
    control.on_quit = lambda: quits.append("quit")
    control.change(fullscreen=True)
    press("Esc", control, view)
    assert (control.state.fullscreen, quits) == (False, [])
    press("Esc", control, view)
    assert quits == ["quit"]


def test_profiles_go_round() -> None:
    options = resolve({"tint": 0.3, "columns": 20, "profile": "photos-first"})
    settings = options.mosaic
    control = Control(
        LiveState(settings), profiles=profile_settings(options), profile=options.profile
    )
    view = View(2560, 1440)
    shown = {}
    for _ in PROFILES:
        message = press("n", control, view)
        shown[message.removeprefix("profile ")] = control.state.settings
    assert list(shown) == ["picture-first", "default", "reference", "photos-first"]
    # What was typed counts more than any profile, and the output's size stays.
    for name, chosen in shown.items():
        expected = resolve({"tint": 0.3, "columns": 20, "profile": name}).mosaic
        assert (chosen.variety, chosen.overlay) == (expected.variety, expected.overlay)
        assert (chosen.match, chosen.palette) == (expected.match, expected.palette)
        assert (chosen.tint, chosen.columns, chosen.scale) == (0.3, 20, None)
    assert control.state.settings == settings
    assert press("n", Control(), view) == "no other profile"


def test_snapshot(control: Control, view: View) -> None:
    press("s", control, view)
    assert control.take_snapshot_request()
    assert not control.take_snapshot_request()


def test_snap(control: Control, view: View) -> None:
    assert press("c", control, view) == ""
    assert press("c", control, view, is_repeated=True) == ""
    taken: list[bool] = []

    def refuse() -> None:
        taken.append(True)
        raise UsageError("snap: not now; later")

    control.on_snap = refuse
    assert press("c", control, view) == "snap: not now; later"
    assert press("c", control, view, is_repeated=True) == ""
    assert taken == [True]


@pytest.mark.parametrize(
    ("name", "field"),
    [("?", "help"), ("F1", "help"), ("o", "original")],
)
def test_what_the_window_shows(control: Control, view: View, name: str, field: str) -> None:
    before = getattr(view, field)
    press(name, control, view)
    assert getattr(view, field) is not before
    press(name, control, view)
    assert view == View(2560, 1440)
    assert control.state == START


def test_a_key_without_a_meaning(control: Control, view: View) -> None:
    for name in ("", "y", "0", "Tab"):
        assert press(name, control, view) == ""
    assert (control.state, view) == (START, View(2560, 1440))


def test_a_change_that_cannot_be_made_is_said() -> None:
    start = LiveState(MosaicSettings(columns=5000))
    control = Control(start)
    assert press("]", control, View(64, 48)).startswith("columns 5000: must be from 1 to 16")
    assert control.state == start


# ---- codes and the keyboard --------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (ord("q"), "q"),
        (ord("Q"), "q"),
        (27, "Esc"),
        (32, "Space"),
        (ord("?"), "?"),
        (ord("+"), "+"),
        (0xFF52, "Up"),  # X11
        (0x260000, "Up"),  # Windows
        (0xF700, "Up"),  # macOS
        (0x10FF52, "Up"),  # GTK with Num Lock
        (0x100000 + ord("h"), "h"),
        (0xFFAB, "+"),
        (0xFFB1, "1"),
        (0xFFC8, "F11"),
        (0xFFE1, ""),  # Shift alone
        (-1, ""),
        (13, ""),
    ],
)
def test_key_name(code: int, name: str) -> None:
    assert key_name(code) == name


def test_every_key_can_be_pressed() -> None:
    reachable = {key_name(code) for code in [*range(0x10000), 0x250000, 0x260000]}
    assert {name for key in KEYS for name in key.names} <= reachable


def test_a_key_that_is_held_down(control: Control, view: View) -> None:
    """It steps on and on, or is taken once; never on and off many times a second."""
    clock = Clock()
    keyboard = Keyboard(control, view, clock=clock)
    for code in (ord("-"), ord("x")):
        for _ in range(4):
            keyboard.take(code)
            clock.now += 0.03
    assert control.state.settings.overlay == 0.1
    assert control.state.mirror
    clock.now += 1
    assert keyboard.take(ord("x")) == "not mirrored"
