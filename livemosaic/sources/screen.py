"""The screen, or a part of it, as a live source."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..blocking import start_call
from ..errors import RefusedError, SourceError, UsageError
from ..media.frame import Frame, StreamInfo
from .base import DEFAULT_CAPTURE, Source, SourceOptions
from .bgr import BT601, bgr_planes
from .continuity import StreamContinuity

_logger = logging.getLogger("livemosaic")

_SPEC = re.compile(
    r"screen(?::(?:(?P<number>\d{1,3})|(?P<width>\d{1,5})x(?P<height>\d{1,5})"
    r"\+(?P<left>-?\d{1,5})\+(?P<top>-?\d{1,5})))?"
)
_RESTART_S = 0.5  # of an X server
_OPEN_S = 5.0  # an X server far away that does not answer would block for minutes
_LOOK_S = 2.0  # how often to look whether the screens have changed
_TRIES, _TRY_S = 3, 0.3  # while they change, the system may give no answer

_X11_OR_OBS = (
    "log in to an X11 session, or share the screen by OBS's virtual camera and name that: "
    "webcam:OBS"
)
_MACOS = (
    "this program may not see the screen; allow your terminal in System Settings > Privacy & "
    "Security > Screen & System Audio Recording, then start the terminal again"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A screen, or a part of one, in pixels of all screens together."""

    width: int
    height: int
    left: int
    top: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"

    def contains(self, other: Place) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.left + other.width <= self.left + self.width
            and other.top + other.height <= self.top + self.height
        )


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen."""

    number: int  # from 1
    name: str  # for people; empty where the system does not tell it
    place: Place
    primary: bool

    @property
    def spec(self) -> str:
        """The input that names this screen."""
        return f"screen:{self.number}"


class ScreenSource(Source):
    """Pictures of the screen with the mouse pointer, where the system gives that; endless.

    Picture n comes n / rate seconds after the first. If taking one lasts longer than that, those
    meanwhile are dropped. If a screen gets another size, its pictures are fitted into the first
    size.

    Parameters
    ----------
    spec : `screen` for the main one; `screen:N`; or `screen:WxH+X+Y` for a part of all of them
    rate : pictures/s
    open_screens : gives an `mss.MSS`
    """

    def __init__(
        self,
        spec: str = "screen",
        *,
        rate: Fraction = DEFAULT_CAPTURE[2],
        open_screens: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = spec
        self._match = _parsed(spec)
        self._open = open_screens or _open
        self._clock = clock
        self._dropped = 0
        self._interrupted = threading.Event()
        self._screens: Any = None
        try:
            self._look()
            first = self._frame(0, 1 / rate)
        except BaseException:
            self.close()
            raise
        self.info = self._described(first, rate)
        self._continuity = StreamContinuity(self.info, name=spec)
        _logger.info("%s: %s at %g pictures/s", spec, self._place, float(rate))

    @property
    def place(self) -> Place:
        """What it shows now."""
        return self._place

    @property
    def dropped(self) -> int:
        return self._dropped

    def __iter__(self) -> Iterator[Frame]:
        rate = self.info.rate
        began_s = looked_s = self._clock()
        number = 0
        while not self._interrupted.is_set():
            if self._clock() - looked_s > _LOOK_S:
                looked_s = self._clock()
                try:
                    self._look_again(tries=1)
                except RefusedError:
                    raise
                except SourceError:
                    pass  # as long as there are pictures, it goes on
            for item in self._continuity(self._frame(number, 1 / rate)):
                assert isinstance(item, Frame)
                yield item
            # By the clock since the beginning: waits from picture to picture would drift.
            due = int((self._clock() - began_s) * rate) + 1
            self._dropped += max(0, due - number - 1)
            number = max(number + 1, due)
            self._interrupted.wait(max(0.0, began_s + float(number / rate) - self._clock()))

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        if self._screens is not None:
            with contextlib.suppress(Exception):  # the X server may have gone
                self._screens.close()

    # ---- looking -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Connect to the screens as they are now, and find the place."""
        screens = self._open(self.name)
        try:
            self._place = _find(self._match, self.name, _listed(screens), _all(screens))
        except BaseException:
            screens.close()
            raise
        self.close()
        self._screens = screens

    def _look_again(self, *, tries: int) -> None:
        before = self._place
        for left in reversed(range(tries)):
            try:
                self._look()
                break
            except RefusedError:
                raise
            except SourceError:
                if not left:
                    raise
                self._interrupted.wait(_TRY_S)
        if (self._place.width, self._place.height) != (before.width, before.height):
            first = self._frame(0, 1 / self.info.rate)
            self._continuity.restart(self._described(first, self.info.rate))

    def _described(self, first: Frame, rate: Fraction) -> StreamInfo:
        return StreamInfo(
            first.width, first.height, rate=rate, time_base=1 / rate, colour=BT601, live=True
        )

    def _frame(self, number: int, time_base: Fraction) -> Frame:
        captured_s = self._clock()  # before the picture is taken: it shows nothing later
        try:
            shot = self._grab()
        except Exception:
            # The screens have changed, or their server has gone (for which mss has no class of
            # errors): this finds it out.
            self._look_again(tries=_TRIES)
            captured_s = self._clock()
            try:
                shot = self._grab()
            except Exception:
                raise _unseen(self.name) from None
        planes = bgr_planes(np.asarray(shot))
        return Frame(
            *planes, BT601, pts=number, time_base=time_base, duration=1, captured_s=captured_s
        )

    def _grab(self) -> Any:
        return self._screens.grab(asdict(self._place))


def open_input(spec: str, options: SourceOptions) -> Source:
    return ScreenSource(spec, rate=options.capture[2])


def list_screens(spec: str = "screen", *, pictures: bool = True) -> list[Screen]:
    """All screens; `SourceError`, which begins with `spec`, where this program cannot see them.
    Without `pictures` it is enough to know where they are."""
    with contextlib.closing(_open(spec, pictures=pictures)) as screens:
        return _listed(screens)


def _parsed(spec: str) -> re.Match[str]:
    match = _SPEC.fullmatch(spec)
    if match is None or match["width"] == "0" or match["height"] == "0":
        raise UsageError(
            f"{spec}: not a screen; write screen, screen:2, or screen:1280x720+0+0 for a part"
        )
    return match


def _open(spec: str, *, pictures: bool = True) -> Any:
    """Connect to the screens: an `mss.MSS`."""
    options: dict[str, Any] = {}
    if sys.platform == "linux":
        if pictures and os.environ.get("WAYLAND_DISPLAY"):
            raise RefusedError(
                f"{spec}: programs cannot see the screen in a Wayland session; {_X11_OR_OBS}"
            )
        if not os.environ.get("DISPLAY"):
            raise RefusedError(
                f"{spec}: there is no display (DISPLAY is not set); start livemosaic in a desktop "
                "session"
            )
        options["with_cursor"] = True  # elsewhere mss cannot
    elif pictures and sys.platform == "darwin" and not _macos_allows():
        raise RefusedError(f"{spec}: {_MACOS}")
    import mss

    def connect() -> Any:
        screens = mss.MSS(**options)
        _listed(screens)  # mss asks for them once, and keeps them
        return screens

    def connect_twice() -> Any:
        try:
            return connect()
        except mss.ScreenShotError:  # an X server starts anew when its last program leaves
            time.sleep(_RESTART_S)
            return connect()

    try:
        return start_call(connect_twice, name="screen").result(_OPEN_S)
    except Exception as error:
        raise _failed(spec, error) from None


def _macos_allows() -> bool:
    """Whether the user lets this program see other programs' windows. macOS asks them once."""
    graphics = ctypes.CDLL("/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics")
    return bool(graphics.CGPreflightScreenCaptureAccess()) or bool(
        graphics.CGRequestScreenCaptureAccess()
    )


def _failed(spec: str, error: Exception) -> SourceError:
    """The error for a display that cannot be opened."""
    if "Library" in (text := str(error)):
        return RefusedError(
            f"{spec}: a library is missing ({text}); install it (Debian, Ubuntu: apt install "
            "libxcb1 libxcb-randr0 libxcb-render0 libxcb-shm0 libxcb-xfixes0)"
        )
    if sys.platform != "linux":
        return _unseen(spec)
    if text.startswith("Only "):
        return RefusedError(
            f"{spec}: pictures of this display cannot be read ({text}); set it to 24 bits per pixel"
        )
    display = os.environ.get("DISPLAY", "")
    return SourceError(
        f"{spec}: the display {display!r} does not answer; check that it is running, and that it "
        "admits this user (XAUTHORITY)"
    )


def _unseen(spec: str) -> SourceError:
    """The error for a system that shows its screens to no program, or not to this one."""
    fix = _X11_OR_OBS if sys.platform == "linux" else "unlock it, and try again"
    return SourceError(f"{spec}: the system gives no picture of the screen; {fix}")


def _listed(screens: Any) -> list[Screen]:
    # The first of mss is all screens together, and the only one without the extension RandR.
    found = screens.monitors[1:] or screens.monitors
    main = screens.primary_monitor if len(screens.monitors) > 1 else found[0]
    return [
        Screen(number, str(it.get("name") or it.get("output") or ""), _place(it), it is main)
        for number, it in enumerate(found, 1)
    ]


def _all(screens: Any) -> Place:
    return _place(screens.monitors[0])


def _place(monitor: Any) -> Place:
    return Place(*(int(monitor[name]) for name in ("width", "height", "left", "top")))


def _find(match: re.Match[str], spec: str, screens: list[Screen], everything: Place) -> Place:
    if match["width"]:
        place = Place(*(int(match[name]) for name in ("width", "height", "left", "top")))
        if not everything.contains(place):
            raise RefusedError(
                f"{spec}: this reaches beyond the screens, which are {everything}; choose a part "
                "of that"
            )
        return place
    for screen in screens:
        if screen.primary if match["number"] is None else screen.number == int(match["number"]):
            return screen.place
    listing = ", ".join(f"{it.spec} ({it.place})" for it in screens)
    raise RefusedError(f"{spec}: there is no such screen; name one of {listing}")
