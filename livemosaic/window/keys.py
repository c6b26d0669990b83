"""The keys of the window: what each is for, in words, and what it does."""

from __future__ import annotations

import math
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass

from ..control.state import Control
from ..errors import UsageError
from ..mosaic.grid import plan_grid
from ..mosaic.settings import MosaicSettings

__all__ = ["KEYS", "Key", "Keyboard", "View", "key_name", "press", "tile_sizes"]

_OVERLAY_STEP = 0.1
_CALM_STEP = 0.1
_TINT_STEP = 0.2

# A key that is held down comes again, every 0.03 s or so. For one that turns something on and off,
# what comes so soon after the last time means nothing.
_REPEAT_S = 0.06

# Sides of a tile in output pixels to choose from: of those that divide the picture, so that none is
# cut at its edge, if they are enough to choose from; else of sizes that are a third apart.
_MIN_TILE_PX, _MAX_TILE_PX = 8, 160
_ENOUGH_SIZES = 4
_COMMON_SIZES = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160)


@dataclass(slots=True)
class View:
    """What one window shows beside the picture.

    Attributes
    ----------
    width, height : of the mosaic in pixels
    hud : figures are shown
    help : the keys are shown
    original : the input is shown in a corner
    full_screen : the window has no frame and fills the screen
    """

    width: int
    height: int
    hud: bool = True
    help: bool = False
    original: bool = False
    full_screen: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be done.

    Attributes
    ----------
    names : of the keys that do it, as `key_name` says them
    shown : the same for a person
    help : what it does, in a few words
    act : does it; given the control, the view and the key's name; returns what to say, if anything
    """

    names: tuple[str, ...]
    shown: str
    help: str
    act: Callable[[Control, View, str], str]


def press(name: str, control: Control, view: View) -> str:
    """Do what a key is for.

    Parameters
    ----------
    name : of the key, as `key_name` says it; nothing happens for one without a meaning

    Returns
    -------
    What to say about it, also about a change that cannot be made; empty if nothing
    """
    for key in KEYS:
        if name in key.names:
            try:
                return key.act(control, view, name)
            except UsageError as error:
                return str(error)
    return ""


class Keyboard:
    """Takes keys as they come from a window, and does what they are for.

    Parameters
    ----------
    control, view : what they act on
    clock : seconds
    """

    def __init__(
        self, control: Control, view: View, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._control, self._view, self._clock = control, view, clock
        self._last, self._last_s = "", -math.inf

    def take(self, code: int) -> str:
        """Take the code of a key; returns what to say about it, if anything."""
        name, now = key_name(code), self._clock()
        held = name == self._last and now - self._last_s < _REPEAT_S
        self._last, self._last_s = name, now
        if held and name not in _STEPS:
            return ""
        return press(name, self._control, self._view)


# ---- actions -----------------------------------------------------------------------------


def _quit(control: Control, view: View, name: str) -> str:
    control.quit()
    return ""


def _step_overlay(control: Control, by: float) -> str:
    overlay = round(min(1.0, max(0.0, control.state.settings.overlay + by)), 2)
    control.change(overlay=overlay)
    hidden = "; while all is hidden (p) there is none" if control.state.privacy else ""
    return f"overlay {overlay:.0%}{hidden}"


def _more_overlay(control: Control, view: View, name: str) -> str:
    return _step_overlay(control, _OVERLAY_STEP)


def _less_overlay(control: Control, view: View, name: str) -> str:
    return _step_overlay(control, -_OVERLAY_STEP)


def tile_sizes(width: int, height: int) -> list[int]:
    """Sides of a tile in pixels that make sense for a picture of a size, ascending."""
    most = min(_MAX_TILE_PX, height // 4, width // 4)
    even = range(_MIN_TILE_PX, most + 1, 2)
    whole = [px for px in even if width % px == 0 and height % px == 0]
    return whole if len(whole) >= _ENOUGH_SIZES else [px for px in _COMMON_SIZES if px <= most]


def _step_tile(control: Control, view: View, *, larger: bool) -> str:
    settings = control.state.settings
    size = (view.width, view.height)
    now = plan_grid(*size, tile_px=settings.tile_px, columns=settings.columns, size=size).tile_px
    sizes = tile_sizes(*size)
    others = [px for px in sizes if px > now] if larger else [px for px in sizes if px < now][::-1]
    if not others:
        return f"tiles of {now} pixels are the {'largest' if larger else 'smallest'}"
    # The size of the output stays: files and virtual cameras cannot change theirs.
    control.change(settings=settings.for_grid(plan_grid(*size, tile_px=others[0], size=size)))
    return f"tiles of {others[0]} pixels"


def _larger_tiles(control: Control, view: View, name: str) -> str:
    return _step_tile(control, view, larger=True)


def _smaller_tiles(control: Control, view: View, name: str) -> str:
    return _step_tile(control, view, larger=False)


def _step_calm(control: Control, by: float) -> str:
    calm = round(min(1.0, max(0.0, control.state.settings.calm + by)), 2)
    control.change(calm=calm)
    rotates = control.state.settings.match == "clusters"
    return f"calm {calm:.0%}{'; for the match by layout (m)' if rotates else ''}"


def _calmer(control: Control, view: View, name: str) -> str:
    return _step_calm(control, _CALM_STEP)


def _livelier(control: Control, view: View, name: str) -> str:
    return _step_calm(control, -_CALM_STEP)


def _next_tint(control: Control, view: View, name: str) -> str:
    now = control.state.settings.tint
    tint = 0.0 if now >= 1.0 else round(min(1.0, now + _TINT_STEP), 2)
    control.change(tint=tint)
    return f"tint {tint:.0%}"


def _next_match(control: Control, view: View, name: str) -> str:
    choices = typing.get_args(typing.get_type_hints(MosaicSettings)["match"])
    now = control.state.settings.match
    match = choices[(choices.index(now) + 1) % len(choices)]
    control.change(match=match)
    return f"match {match}"


def _choose_gallery(control: Control, view: View, name: str) -> str:
    place = int(name) - 1
    if place >= len(control.galleries):
        known = ", ".join(f"{n} {gallery}" for n, gallery in enumerate(control.galleries, 1))
        return f"no gallery {name}; there are {known}"
    control.change(gallery=control.galleries[place])
    return f"gallery {control.galleries[place]}"


def _mirror(control: Control, view: View, name: str) -> str:
    control.change(mirror=not control.state.mirror)
    return "mirrored" if control.state.mirror else "not mirrored"


def _freeze(control: Control, view: View, name: str) -> str:
    control.change(frozen=not control.state.frozen)
    return "frozen" if control.state.frozen else "going on"


def _toggle_privacy(control: Control, view: View, name: str) -> str:
    control.change(privacy=not control.state.privacy)
    return "hidden" if control.state.privacy else f"overlay {control.state.settings.overlay:.0%}"


def _snapshot(control: Control, view: View, name: str) -> str:
    control.request_snapshot()
    return ""  # who makes the file says its name


def _record(control: Control, view: View, name: str) -> str:
    control.change(recording=not control.state.recording)
    return ""  # who makes the file says its name


def _hud(control: Control, view: View, name: str) -> str:
    view.hud = not view.hud
    return ""


def _help(control: Control, view: View, name: str) -> str:
    view.help = not view.help
    return ""


def _original(control: Control, view: View, name: str) -> str:
    view.original = not view.original
    hidden = view.original and control.state.privacy
    return "the original, too, is hidden (p)" if hidden else ""


def _full_screen(control: Control, view: View, name: str) -> str:
    view.full_screen = not view.full_screen
    return ""


KEYS: tuple[Key, ...] = (
    Key(("+", "=", "Up"), "+", "more of the original", _more_overlay),
    Key(("-", "_", "Down"), "-", "less of the original", _less_overlay),
    Key(("]", "Right"), "]", "larger tiles", _larger_tiles),
    Key(("[", "Left"), "[", "smaller tiles", _smaller_tiles),
    Key((".", ">"), ".", "calmer", _calmer),
    Key((",", "<"), ",", "livelier", _livelier),
    Key(("t",), "t", "more tint, none after all of it", _next_tint),
    Key(("m",), "m", "next match", _next_match),
    Key(tuple("123456789"), "1 ... 9", "gallery", _choose_gallery),
    Key(("x",), "x", "mirror", _mirror),
    Key(("Space",), "Space", "freeze", _freeze),
    Key(("p",), "p", "privacy: hide everybody", _toggle_privacy),
    Key(("s",), "s", "snapshot", _snapshot),
    Key(("r",), "r", "record, on and off", _record),
    Key(("o",), "o", "original in a corner", _original),
    Key(("h",), "h", "figures", _hud),
    Key(("f", "F11"), "f", "full screen", _full_screen),
    Key(("?", "F1"), "?", "these keys", _help),
    Key(("q", "Esc"), "q", "quit", _quit),
)


# Keys that go one step further each time, and so may be held down.
_STEPS = frozenset(name for key in KEYS[:6] for name in key.names)


# ---- codes of cv2.waitKeyEx --------------------------------------------------------------

# Each of OpenCV's window systems has its own: X11 keysyms (Qt, GTK), Windows' virtual keys shifted
# by 16 bits, the private characters of macOS.
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
_X11_MODIFIERS = 0xFF0000  # GTK adds what is held down, Num Lock too


def key_name(code: int) -> str:
    """The name of the key with a code of `cv2.waitKeyEx`: a small letter, a sign or a word."""
    name = _CODES.get(code) or _CODES.get(code & ~_X11_MODIFIERS)
    if name is None and 32 < code & ~_X11_MODIFIERS < 127:
        name = chr(code & ~_X11_MODIFIERS).lower()
    return name or ""
