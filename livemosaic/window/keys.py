"""The keys of the window: one table with each key's help and action.

A new key needs an action and a line in `KEYS`. The window's help and the documentation follow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ..control.actions import ACTIONS, switch
from ..control.state import LIVE_OPTIONS, Control
from ..errors import problem_of
from ..mosaic.grid import plan_grid
from ..mosaic.match import MATCHERS
from ..mosaic.settings import MosaicSettings, can_halve
from ..option import text_of
from ..tile_size import TileSize, shape, sides, tile_size

_TINT_STEP = 0.2

# A pressed key repeats every 0.03 s or so. A key that does not repeat ignores codes that follow its
# last one sooner than this.
_REPEAT_S = 0.06

# Sides of a tile in output pixels to choose from: those that divide the picture, so that no tile is
# cut at its edge; where those are too few, common sizes, and of tiles that are not square about as
# many.
_MIN_TILE_PX, _MAX_TILE_PX = 8, 160
_ENOUGH_SIZES = 4
_COMMON_SIZES = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160)
_COMMON_STEP = 1.2


@dataclass(slots=True)
class View:
    """The state of one window: the parts that it shows over and beside the picture."""

    width: int  # of the mosaic in pixels
    height: int
    help: bool = False  # the keys
    original: bool = False  # the original in a corner


# Gets the name of the key; returns a message, if there is one.
Action = Callable[[Control, View, str], str | None]


@dataclass(frozen=True, slots=True)
class Key:
    """One action, and the keys for it."""

    names: tuple[str, ...]  # as `key_name` returns them
    shown: str  # the keys in the help and the documentation
    help: str  # the action, in a few words
    action: Action
    repeats: bool = False  # while the key is down


class Keyboard:
    """Runs the actions of the keys that a window receives."""

    def __init__(
        self, control: Control, view: View, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._control, self._view, self._clock = control, view, clock
        self._last, self._last_s = "", -math.inf

    def take(self, code: int) -> str:
        """Run the action of a key code, and return its message."""
        name, now_s = key_name(code), self._clock()
        is_repeated = name == self._last and now_s - self._last_s < _REPEAT_S
        self._last, self._last_s = name, now_s
        return press(name, self._control, self._view, is_repeated=is_repeated)


def press(name: str, control: Control, view: View, *, is_repeated: bool = False) -> str:
    """Run the action of a key by its name, see `key_name`; an unknown one does nothing.

    Returns
    -------
    a message, also about a change that is not possible; empty if there is none
    """
    for key in KEYS:
        if name in key.names and (key.repeats or not is_repeated):
            try:
                return key.action(control, view, name) or ""
            except Exception as error:  # a key costs no more than itself
                return problem_of(error)
    return ""


def tile_sizes(width: int, height: int, tile: TileSize = 1) -> list[TileSize]:
    """Useful sizes of tiles of a shape, that of `tile`, for a picture of a size, ascending."""
    across, down = shape(tile)
    even = 2 if across % 2 or down % 2 else 1
    across, down = even * across, even * down
    most = min(_MAX_TILE_PX, width // 4) // across, min(_MAX_TILE_PX, height // 4) // down
    all_sizes = [(n * across, n * down) for n in range(1, min(most) + 1)]
    all_sizes = [size for size in all_sizes if min(size) >= _MIN_TILE_PX]
    sizes = [(w, h) for w, h in all_sizes if width % w == 0 and height % h == 0]
    if len(sizes) < _ENOUGH_SIZES and across == down:
        sizes = [(px, px) for px in _COMMON_SIZES if (px, px) in all_sizes]
    elif len(sizes) < _ENOUGH_SIZES:
        sizes = []
        for size in all_sizes:
            if not sizes or size[0] >= sizes[-1][0] * _COMMON_STEP:
                sizes.append(size)
    return [tile_size(*size) for size in sizes]


# ---- actions -----------------------------------------------------------------------------


def _step(control: Control, field: str, by: float) -> str:
    """Change a number from 0 to 1 of the settings."""
    value = round(min(1.0, max(0.0, getattr(control.state.settings, field) + by)), 2)
    control.change(**{field: value})
    return f"{field} {value:.0%}"


def _step_overlay(control: Control, view: View, name: str, *, by: float) -> str:
    hint = "; privacy mode (p) shows none of it" if control.state.privacy else ""
    return _step(control, "overlay", by) + hint


def _step_tile(control: Control, view: View, name: str, *, larger: bool) -> str:
    settings = control.state.settings
    size = (view.width, view.height)
    now = plan_grid(*size, replace(settings, scale=None, size=size)).tile_px
    sizes, width = tile_sizes(*size, now), sides(now)[0]
    if settings.fine != "none":
        sizes = [tile for tile in sizes if can_halve(tile)]
    if larger:
        others = [tile for tile in sizes if sides(tile)[0] > width]
    else:
        others = [tile for tile in sizes if sides(tile)[0] < width][::-1]
    if not others:
        return f"tiles of {text_of(now)} pixels are the {'largest' if larger else 'smallest'}"
    # The output's size stays: files and virtual cameras cannot change theirs.
    grid = plan_grid(*size, MosaicSettings(tile_px=others[0], size=size))
    control.change(settings=settings.for_grid(grid))
    return f"tiles of {text_of(others[0])} pixels"


def _step_calm(control: Control, view: View, name: str, *, by: float) -> str:
    match = control.state.settings.match
    has_effect = "calm" in MATCHERS[match].uses
    hint = "" if has_effect else f"; has no effect with match {match} (m)"
    return _step(control, "calm", by) + hint


def _next_tint(control: Control, view: View, name: str) -> str:
    return _step(control, "tint", -1.0 if control.state.settings.tint >= 1.0 else _TINT_STEP)


def _next(control: Control, field: str, now: str) -> str:
    """Change an option to the choice after the current one, and return it."""
    choices = LIVE_OPTIONS[field].choices
    choice: str = choices[(choices.index(now) + 1) % len(choices)]
    control.change(**{field: choice})
    return choice


def _next_match(control: Control, view: View, name: str) -> str:
    return f"match {_next(control, 'match', control.state.settings.match)}"


def _next_fine(control: Control, view: View, name: str) -> str:
    before = control.state.settings
    fine = _next(control, "fine", before.fine)
    tile = control.state.settings.tile_px
    if tile is None or tile == before.tile_px:
        return f"finer cells: {fine}"
    return f"finer cells: {fine}, tiles of {text_of(tile)} pixels"


def _next_area(control: Control, view: View, name: str) -> str:
    area = _next(control, "area", control.state.area)
    hint = "; privacy mode (p) is everywhere" if control.state.privacy else ""
    return f"area {area}{hint}"


def _choose_gallery(control: Control, view: View, name: str) -> str:
    place = int(name) - 1
    if place >= len(control.galleries):
        known = ", ".join(
            f"{n} {text_of(gallery)}" for n, gallery in enumerate(control.galleries, 1)
        )
        return f"no gallery {name}; choose {known}"
    control.change(gallery=control.galleries[place])
    return f"gallery {text_of(control.galleries[place])}"


def _act(control: Control, view: View, name: str, *, action: str) -> str:
    """Run one of the actions that the control page and others have, too."""
    ACTIONS[action].do(control)
    return control.take_message()


def _toggle(control: Control, view: View, name: str, *, field: str) -> str:
    return switch(control, field)


def _toggle_qr(control: Control, view: View, name: str) -> str:
    if not control.guests_url:
        return "there are no guests, so no QR code; start with --web and --guests FOLDER"
    control.change(qr=not control.state.qr)
    return ""


def _toggle_view(control: Control, view: View, name: str, *, field: str) -> None:
    setattr(view, field, not getattr(view, field))


def _toggle_original(control: Control, view: View, name: str) -> str:
    view.original = not view.original
    hidden = view.original and control.state.privacy
    return "privacy mode (p) hides the original" if hidden else ""


def _next_profile(control: Control, view: View, name: str) -> str:
    profile = control.next_profile()
    return f"profile {profile}" if profile else "no other profile"


def _leave(control: Control, view: View, name: str) -> None:
    """Quit; Esc leaves the full screen before that."""
    if name == "Esc" and control.state.fullscreen:
        control.change(fullscreen=False)
    else:
        ACTIONS["quit"].do(control)


KEYS: tuple[Key, ...] = (
    Key(("+", "=", "Up"), "+", "more of the original", partial(_step_overlay, by=0.1), True),
    Key(("-", "_", "Down"), "-", "less of the original", partial(_step_overlay, by=-0.1), True),
    Key(("]", "Right"), "]", "larger tiles", partial(_step_tile, larger=True), True),
    Key(("[", "Left"), "[", "smaller tiles", partial(_step_tile, larger=False), True),
    Key((".", ">"), ".", "calmer", partial(_step_calm, by=0.1), True),
    Key((",", "<"), ",", "livelier", partial(_step_calm, by=-0.1), True),
    Key(("t",), "t", "more tint, from 100 % back to none", _next_tint),
    Key(("m",), "m", "next match", _next_match),
    Key(("n",), "n", "next profile", _next_profile),
    Key(tuple("123456789"), "1 ... 9", "gallery: 1 is that of the start", _choose_gallery),
    Key(("d",), "d", "finer cells: none, at faces, or where there is detail", _next_fine),
    Key(("b",), "b", "mosaic everywhere, behind the person, or only on it", _next_area),
    Key(("x",), "x", "mirror", partial(_toggle, field="mirror")),
    Key(("Space",), "Space", "freeze", partial(_act, action="freeze")),
    Key(("p",), "p", "privacy mode: hides faces", partial(_act, action="privacy")),
    Key(("s",), "s", "snapshot", partial(_act, action="snapshot")),
    Key(("c",), "c", "snap me in: a photo of you joins", partial(_act, action="snap")),
    Key(("e",), "e", "poster of this moment, with its map", partial(_act, action="poster")),
    Key(("r",), "r", "start or stop a recording", partial(_act, action="record")),
    Key(("o",), "o", "original in a corner", _toggle_original),
    Key(("u",), "u", "QR code for guests, who upload photos", _toggle_qr),
    Key(("h",), "h", "statistics", partial(_toggle, field="figures")),
    Key(("f", "F11"), "f", "full screen", partial(_toggle, field="fullscreen")),
    Key(("?", "F1"), "?", "this list", partial(_toggle_view, field="help")),
    Key(("q", "Esc"), "q", "quit (Esc leaves the full screen first)", _leave),
)


# ---- codes of cv2.waitKeyEx --------------------------------------------------------------

# OpenCV's window systems differ: X11 keysyms (Qt, GTK), Windows' virtual keys shifted by 16 bits,
# the private characters of macOS.
_CODES = {
    27: "Esc",
    32: "Space",
    **{0xFF51: "Left", 0xFF52: "Up", 0xFF53: "Right", 0xFF54: "Down"},
    **{0xFF96: "Left", 0xFF97: "Up", 0xFF98: "Right", 0xFF99: "Down"},  # the number pad's
    **{0xFFAB: "+", 0xFFAD: "-", 0xFFBE: "F1", 0xFFC8: "F11"},
    **{0xFFB0 + digit: str(digit) for digit in range(10)},
    **{0x250000: "Left", 0x260000: "Up", 0x270000: "Right", 0x280000: "Down"},
    **{0x700000: "F1", 0x7A0000: "F11"},
    **{0xF702: "Left", 0xF700: "Up", 0xF703: "Right", 0xF701: "Down"},
    **{0xF704: "F1", 0xF70E: "F11"},
}
_X11_MODIFIERS = 0xFF0000  # GTK adds those that are active, Num Lock too


def key_name(code: int) -> str:
    """A key's name for a code of `cv2.waitKeyEx`: a small letter, a sign or a word."""
    name = _CODES.get(code) or _CODES.get(code & ~_X11_MODIFIERS)
    if name is None and 32 < code & ~_X11_MODIFIERS < 127:
        name = chr(code & ~_X11_MODIFIERS).lower()
    return name or ""
