"""The live state: keys, settings file, control page and OSC change it by `Control`; the pipeline
reads it."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..argument import take
from ..errors import OptionError, UsageError, did_you_mean
from ..mosaic.settings import MosaicSettings, halvable
from ..option import TEXTS, Kind, Option, Texts, check, option, options_of

if TYPE_CHECKING:
    from ..media.colour import U8

_log = logging.getLogger("livemosaic")

OnClose = Literal["continue", "end"]
# Gets a message for the user; an empty text after a change of the state.
Listener = Callable[[str], None]
AreaName = Literal["everything", "background", "person"]
OUTSIDE_WORDS = ("original", "blur")


def _outside(value: Any) -> str:
    value = os.fspath(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    if value.startswith("#"):
        colour_of(value)
    return value


def colour_of(text: str) -> tuple[int, int, int]:
    """The red, green and blue of a colour such as #20a060; `ValueError`."""
    if re.fullmatch("#[0-9a-fA-F]{6}", text) is None:
        raise ValueError
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def named_picture(name: str, path: str, *, advice: str = "name a picture") -> U8:
    """The picture that an option names; `OptionError` if it cannot be read."""
    from ..media.image_reader import BadImage, read_picture

    try:
        return read_picture(path)
    except BadImage as error:
        raise OptionError(name, path, f"cannot be read: {error}; {advice}") from None


def is_picture_file(outside: str) -> bool:
    """Whether the option `outside` names a picture file."""
    return outside not in OUTSIDE_WORDS and not outside.startswith("#")


def read_outside(outside: str) -> dict[str, U8]:
    """The picture of a picture file by its name, else nothing; `OptionError` if it cannot be
    read."""
    if not is_picture_file(outside):
        return {}
    words = f"{', '.join(OUTSIDE_WORDS)}, a colour such as #20a060, or a picture file"
    advice = did_you_mean(outside, OUTSIDE_WORDS) or f"write {words}"
    return {outside: named_picture("outside", outside, advice=advice)}


_OUTSIDE = Kind("original, blur, a colour or a picture file", "WHAT", _outside, "#20a060")


@dataclass(frozen=True, slots=True)
class LiveState:
    """The state that applies from the next frame on.

    Attributes
    ----------
    settings : of the mosaic
    gallery, area, outside, mirror, freeze, privacy, spotlight, recording, max_latency_s : see
        `LIVE_OPTIONS`
    fullscreen, figures, on_close : of the window, see `LIVE_OPTIONS`
    """

    settings: MosaicSettings = MosaicSettings()
    # fmt: off
    gallery: Texts = option("photos", """photos or emoji, a gallery file, or photos: a folder, an
        image file or a glob; or a list of them""", live=True, kind=TEXTS)
    area: AreaName = option("everything", """where the mosaic is: everywhere, behind the person in
        front of the camera, or only on the person""", live=True, group="live")
    outside: str = option("original", """what is shown elsewhere: original, blur, a colour such as
        #20a060, or a picture file""", live=True, group="live", kind=_OUTSIDE, is_path=True)
    mirror: bool = option(False, "turn the picture left to right, as in a mirror", live=True,
        group="live")
    privacy: bool = option(False, """privacy mode: show only tiles, for a picture of 16 pixels in
        width, so that no person can be recognised""", live=True, group="live")
    freeze: bool = option(False, "keep the last picture, at the start the first one", live=True,
        group="live")
    spotlight: float = option(5.0, """how long each photo that joins while it runs is surely shown,
        in its own colours and at first larger, in seconds; 0: only where it fits""",
        low=0, high=3600, metavar="S", live=True, group="live")
    fullscreen: bool = option(False, "show the window in full screen", live=True, group="live")
    figures: bool = option(False, "show statistics in the window", live=True, group="live")
    qr: bool = option(False, """show a QR code in the window, with which guests upload photos;
        needs --guests""", live=True, group="live")
    on_close: OnClose = option("continue", """what closing the window does while another output or
        a recording goes on: continue without the picture, or end the run""", live=True,
        group="live")
    recording: bool = option(False, "record into a file in the current folder", live=True)
    max_latency_s: float | None = option(None, """latency limit for live inputs in seconds (default:
        that of the start)""", low=0.01, high=60, live=True)
    # fmt: on

    def __post_init__(self) -> None:
        take("settings", self.settings, MosaicSettings, "MosaicSettings")
        check(self)
        object.__setattr__(self, "outside", _outside(self.outside))  # it may be a Path


# Every option that may change while a pipeline runs, by the name of its field.
LIVE_OPTIONS: Mapping[str, Option] = {
    known.field: known for known in options_of(LiveState) if known.live
}


@dataclass(frozen=True, slots=True)
class OutputStats:
    """An output of a running pipeline.

    Attributes
    ----------
    name : without credentials
    state : finished and failed outputs stay in the list
    frames, dropped : since the start
    codec : FFmpeg's name of the video encoder; None if there is none
    """

    name: str
    state: Literal["running", "finished", "failed"] = "running"
    frames: int = 0
    dropped: int = 0
    codec: str | None = None


@dataclass(frozen=True, slots=True)
class LiveStats:
    """Statistics of a running pipeline over the last seconds.

    Attributes
    ----------
    fps_in, fps_out : frames/s from the source, and into the first sink
    latency_ms_p50, latency_ms_p95, latency_ms_p99 : from capture to delivery
    dropped : dropped frames since the start
    active_share : of the cells in the last frame, 0..1
    split_share : of the largest cells in the last frame, those shown by finer ones
    stages_ms : median of each stage
    governor : how the governor keeps the latency limit; empty for full quality
    source : status of the source while it has no picture; empty otherwise
    recording : name of the current recording; empty when there is none
    governor_share : how far the governor has reduced the work, 0..1
    input : name of the source
    outputs : each output, then the current recording
    photos : of a gallery that changes, such as `933 +14`; empty for any other
    gallery : the same by the names of `--json`; None for any other
    spotlight : of such a gallery, the photos in the spotlight by the names of `--json`
    poster : how far the poster is that is being made, such as `40%`; empty when there is none
    """

    fps_in: float = 0.0
    fps_out: float = 0.0
    latency_ms_p50: float = 0.0
    latency_ms_p95: float = 0.0
    dropped: int = 0
    active_share: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    governor: str = ""
    source: str = ""
    recording: str = ""
    split_share: float = 0.0
    latency_ms_p99: float = 0.0
    governor_share: float = 0.0
    input: str = ""
    outputs: tuple[OutputStats, ...] = ()
    photos: str = ""
    gallery: Mapping[str, int] | None = None
    spotlight: Mapping[str, int] | None = None
    poster: str = ""


class Place(NamedTuple):
    """A part of the picture, in fractions of its width and height.

    Attributes
    ----------
    x, y : of the left upper corner
    width, height : of the part
    """

    x: float
    y: float
    width: float
    height: float


class Snap(NamedTuple):
    """A photo that `Control.snap` took, without a file: it lasts as long as the run.

    Attributes
    ----------
    id : of its own
    path : the name that its gallery gives it
    added_s : when it joined, in seconds since 1970
    jpeg : the photo
    """

    id: str
    path: str
    added_s: float
    jpeg: bytes


class Control:
    """The one owner of the live state, and of requests. Safe from any thread.

    Parameters
    ----------
    state : at the start
    galleries : names to choose from; `open_gallery` of the pipeline opens them
    profiles : sets of fields of the settings to choose from, by name
    profile : the name of the current one
    lasting : names of the outputs beside the window

    Attributes
    ----------
    snapshot_requested, poster_requested : whether a snapshot, or a poster, is due
    has_window : whether one of the outputs is a window; the pipeline sets it
    on_quit : ends the pipeline; the pipeline sets it
    on_snap : takes a photo, see `snap`; the pipeline sets it
    live_stats : returns the pipeline's statistics; the pipeline sets it
    find_photo : finds the places of a photo, see `photo_places`; the pipeline sets it
    snaps : returns the photos of `snap` that are no files; the pipeline sets it
    on_remove : removes a photo, see `remove_photo`; the pipeline sets it
    outside_at_start : the state's `outside` at the start
    changes : how many calls of `change` the state includes, at least
    guests_url : the address at which guests upload photos; empty if there is none

    Examples
    --------
    >>> control = Control()
    >>> control.change(overlay=0.3, mirror=True)
    >>> control.state.settings.overlay, control.state.mirror
    (0.3, True)
    """

    def __init__(
        self,
        state: LiveState | None = None,
        *,
        galleries: Sequence[Texts] = ("photos", "emoji"),
        profiles: Mapping[str, Mapping[str, Any]] | None = None,
        profile: str = "",
        lasting: Sequence[str] = (),
    ) -> None:
        take("state", state, LiveState | None, "a LiveState")
        self._state = state or LiveState()
        self.outside_at_start = self._state.outside
        self.changes = 0
        self._lock = threading.Lock()
        self.snapshot_requested = self.poster_requested = False
        self._message = ""
        self.galleries = tuple(galleries)
        self._profiles, self.profile = dict(profiles or {}), profile
        self._lasting = tuple(lasting)
        self._listeners: tuple[Listener, ...] = ()
        self.guests_url = ""
        self.has_window = True
        self.on_quit: Callable[[], None] = lambda: None
        self.on_snap: Callable[[], None] = lambda: None
        self.live_stats: Callable[[], LiveStats] = LiveStats
        self.find_photo: Callable[[str], list[Place]] = lambda path: []
        self.snaps: Callable[[], list[Snap]] = list
        self.on_remove: Callable[[str], None] = lambda photo: None

    @property
    def state(self) -> LiveState:
        """The current state, an immutable value."""
        return self._state

    def change(self, **fields: Any) -> None:
        """Change fields of `state` and of its `settings`, all at once.

        Parameters
        ----------
        fields : names and values of `LIVE_OPTIONS`, or whole `settings`; `profile` is one of
            `profiles`, whose fields come before the others. With `fine` alone, tiles that cannot
            split in four take the nearest size that can

        Raises
        ------
        UsageError
            a name or value that is not valid; the state stays as it was
        """
        profile = fields.pop("profile", None)
        if profile is not None:
            if profile not in self._profiles:
                raise OptionError("profile", profile, f"must be one of {', '.join(self._profiles)}")
            fields = {**self._profiles[profile], **fields}
        with self._lock:
            settings = fields.pop("settings", self._state.settings)
            for name in fields:
                if name not in LIVE_OPTIONS:
                    known = ", ".join(LIVE_OPTIONS)
                    raise UsageError(f"{name}: cannot change while it runs; these can: {known}")
            own = {name: value for name, value in fields.items() if name in LiveState.__slots__}
            others = {name: value for name, value in fields.items() if name not in own}
            if others.get("fine", "none") != "none" and settings.tile_px is not None:
                others.setdefault("tile_px", halvable(settings.tile_px))  # itself if it can split
            self._state = replace(self._state, settings=replace(settings, **others), **own)
            self.profile = self.profile if profile is None else profile
            self.changes += 1  # last: the state that is there now may be newer, not older
        self._tell("")

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change, with an empty text, and with each message.

        It is called on the thread of the change, and must return at once. Returns a function that
        ends this.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(it for it in self._listeners if it is not listener)

        return end

    def _tell(self, message: str) -> None:
        for listener in self._listeners:
            listener(message)

    def next_profile(self) -> str:
        """Use the next profile; return its name, empty if there is none."""
        if not self._profiles:
            return ""
        names = list(self._profiles)
        place = names.index(self.profile) + 1 if self.profile in names else 0
        self.change(profile=names[place % len(names)])
        return self.profile

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the profiles to choose from."""
        return tuple(self._profiles)

    @property
    def lasting(self) -> str:
        """The names of the outputs that go on without the window; empty if there is none."""
        recording = self.live_stats().recording
        return ", ".join([*self._lasting, *([recording] if recording else [])])

    def photo_places(self, path: str | os.PathLike[str]) -> list[Place]:
        """Where a photo, by its path in the gallery, is in the picture now; empty where it is not.

        It waits for the next picture, a second at most.
        """
        return self.find_photo(os.fspath(path))

    def remove_photo(self, photo: str | os.PathLike[str]) -> None:
        """Remove a photo, by its path or by the id of one of `snaps`, from all galleries that
        photos have joined. A file stays, and may join again.

        Raises
        ------
        GalleryError : no photo would be left
        """
        self.on_remove(os.fspath(photo))

    def request_snapshot(self) -> None:
        """Request the next picture as a file."""
        self.snapshot_requested = True

    def take_snapshot_request(self) -> bool:
        """Whether a snapshot is due; resets the request."""
        with self._lock:
            requested, self.snapshot_requested = self.snapshot_requested, False
        return requested

    def snap(self) -> None:
        """Take a photo of what the camera sees now: within a second it is in the gallery.

        Raises
        ------
        UsageError : there is no picture, or it is frozen or hidden by privacy mode
        """
        self.on_snap()

    def request_poster(self) -> None:
        """Request a poster of the next picture; `UsageError` while one is being made."""
        progress = self.live_stats().poster or ("0%" if self.poster_requested else "")
        if progress:
            raise UsageError(f"poster: one is at {progress}; wait until it is there")
        self.poster_requested = True

    def take_poster_request(self) -> bool:
        """Whether a poster is due; resets the request."""
        with self._lock:
            requested, self.poster_requested = self.poster_requested, False
        return requested

    def notify(self, message: str) -> None:
        """Leave a message for the user, which the window shows for a moment."""
        with self._lock:
            self._message = message
        self._tell(message)

    def inform(self, message: str) -> None:
        """Leave a message, and log it."""
        _log.info("%s", message)
        self.notify(message)

    def warn(self, problem: object) -> None:
        """Leave a message, and log it as a warning."""
        _log.warning("%s", problem)
        self.notify(str(problem))

    def take_message(self) -> str:
        """The message since the last call; empty if there is none."""
        with self._lock:
            message, self._message = self._message, ""
        return message

    def quit(self) -> None:
        """End the pipeline: the user wants to leave."""
        self.on_quit()
