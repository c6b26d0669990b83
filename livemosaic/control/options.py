"""The options of a run, and where their values come from.

Command-line options override the file of `--config`, which overrides the user's own settings file,
which overrides the profile.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from ..errors import OptionError, UsageError, did_you_mean, shown
from ..gallery.recipe import Fit, Focus, Recipe
from ..mosaic.settings import PROFILES, MosaicSettings, override
from ..option import TEXTS, Kind, Texts, option, options_of, read_size, same_option, text_of
from ..parse import HIGHEST_RATE, LOWEST_RATE, listen_address, rate, reconnect_attempts, seconds
from ..sources.base import DEFAULT_CAPTURE, CaptureMode
from .state import AreaName, LiveState, OnClose

MAX_LATENCY_MS = 100.0  # the default

_MAX_LENGTH = 200  # characters of a text of the user in a message
_MAX_BYTES = 1_000_000  # of a settings file


def _attempts(value: Any) -> str:
    reconnect_attempts(str(value))
    return str(value)


def _capture(value: Any) -> CaptureMode:
    if not isinstance(value, str):
        width, height, frames = value
        return *read_size((width, height)), rate(str(frames))
    size, at, frames = value.partition("@")
    return *read_size(size), rate(frames) if at else DEFAULT_CAPTURE[2]


def _time(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return seconds(str(value))


def _address(value: Any) -> str:
    if isinstance(value, bool):
        raise TypeError
    listen_address(str(value))  # a settings file may have a number
    return str(value)


def _address_kind(port: int) -> Kind:
    words = "a port from 0 to 65535, or HOST:PORT"
    return Kind(words, "ADDRESS", _address, f"{port} or 0.0.0.0:{port}")


_TIME = Kind("a time", "TIME", _time, "90, 1:30 or 0:47:10.5")
_CAPTURE = Kind("WIDTHxHEIGHT@RATE", "WxH@RATE", _capture, "640x480@30")
_ATTEMPTS = Kind("never, always, or a number of attempts", "N", _attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Everything that was chosen about a run. Input and outputs are as on the command line."""

    input: str = field(default="", repr=False)  # addresses may contain secrets
    outputs: tuple[str, ...] = field(default=(), repr=False)
    explicit: frozenset[str] = field(default=frozenset(), compare=False)  # names of typed options
    watches_files: bool = field(default=False, compare=False)  # settings files were read
    files: Mapping[str, Path] = field(default_factory=dict, compare=False)  # that set options
    # fmt: off
    gallery: Texts = option("photos", """photos or emoji (included), a gallery file, or photos: a
        folder, an image file or a quoted glob, from which a gallery is built once and kept; give
        it several times to use several together""",
        metavar="G", live=True, is_path=True, kind=TEXTS, several=True)
    profile: str = option("default", """a named set of mosaic options; reference is the published
        algorithm with its parameters""", choices=tuple(PROFILES), live=True)
    mosaic: MosaicSettings = MosaicSettings()

    fit: Fit = same_option(Recipe, "fit")
    crops: int | None = same_option(Recipe, "crops")
    no_mirror: bool = same_option(Recipe, "no_mirror")
    frames_of_videos: int = same_option(Recipe, "frames_of_videos")
    focus: Focus = same_option(Recipe, "focus")

    watch: Texts | None = option(None, """folder whose photos join the gallery, also those that
        appear, change or go while it runs; give it several times to watch several""",
        metavar="FOLDER", group="live", is_path=True, kind=TEXTS, several=True)
    guests: Path | None = option(None, """let guests upload photos from their phones; approved ones
        are kept in this folder, and join as those of --watch (needs --web)""", metavar="FOLDER",
        group="live", is_path=True)
    auto_approve: bool = option(False, """photos of --guests join at once; otherwise they wait until
        you approve them on the control page""", group="live")

    capture: CaptureMode = option(DEFAULT_CAPTURE, """size and frames/s to ask a webcam for; of a
        screen, only the frames/s""", kind=_CAPTURE, group="input")
    reconnect: str | None = option(None, """how often to try to reopen a lost live input: never,
        always, or N times in a row (default: always, except at the start)""", kind=_ATTEMPTS,
        group="input")
    on_demand: bool = option(False, """close the webcam, so that its light goes off, while no
        program reads the virtual camera (Linux)""", group="input")
    realtime: bool = option(False, "play a file at its own pace, as if it were live", group="input")
    start: float | None = option(None, "begin at this time of the input, such as 1:30", kind=_TIME,
        group="input", filed=False)
    end: float | None = option(None, "stop at this time of the input", kind=_TIME, group="input",
        filed=False)
    duration: float | None = option(None, "stop after this many seconds of the input",
        low=0.001, metavar="S", group="input")  # less than any frame lasts
    max_latency: float = option(MAX_LATENCY_MS, """latency limit for live inputs, from
        capture to output, in milliseconds; livemosaic does less work per frame to keep it""",
        low=10, high=60_000, metavar="MS", group="input", live=True)

    area: AreaName = same_option(LiveState, "area")
    outside: str = same_option(LiveState, "outside")
    mirror: bool = same_option(LiveState, "mirror")
    privacy: bool = same_option(LiveState, "privacy")
    away: Path | None = option(None, """picture to show in privacy mode, instead of tiles for the
        coarse one""", group="live", is_path=True)
    freeze: bool = same_option(LiveState, "freeze")
    spotlight: float = same_option(LiveState, "spotlight")
    fullscreen: bool = same_option(LiveState, "fullscreen")
    display: int | None = option(None, """monitor that shows the window, numbered from 1; another
        number lists them""", low=1, high=99, group="live")
    figures: bool = same_option(LiveState, "figures")
    qr: bool = same_option(LiveState, "qr")
    on_close: OnClose = same_option(LiveState, "on_close")

    fps: Fraction | None = option(None, """constant output rate in frames/s, and the rate at which a
        numbered sequence is read (default: the times of the input; for a sequence 25)""",
        low=LOWEST_RATE, high=HIGHEST_RATE, group="output")
    codec: str | None = option(None, """video encoder; auto: one of this machine's hardware, if
        it works and is as good, else the default (default: by the container)""", group="output")
    preset: str | None = option(None, """speed preset of the encoder; hardware takes those of x264,
        too""", group="output")
    crf: float | None = option(None, """constant quality of the encoder, lower is better; for
        hardware on the scale of the software encoder""", low=0, metavar="Q", group="output")
    alpha: bool = option(False, """keep transparent parts in files that can: .png, .webp, .webm, and
        .mov or .mkv by prores_ks or ffv1 (default: they become grey)""", group="output")
    hdr: Literal["bt709", "keep"] = option("bt709", """HDR and wide colours: brought to BT.709, or
        kept in files of 10 bits by libx265 (the default then), libsvtav1 or prores_ks""",
        group="output")
    format: Literal["matroska", "y4m"] | None = option(None,
        "container on standard output (default: matroska)", group="output")
    preview: float | None = option(None, """write only the picture at this time of the input, in the
        film's look""", kind=_TIME, group="output", filed=False)
    map: str | None = option(None, """also write a page (html) that names the photo in each cell of
        a picture""", metavar="FILE", group="output", filed=False, is_path=True)
    map_paths: bool = option(False, """the page of --map shows the photos' folders, too, not only
        their names""", group="output", filed=False)
    overwrite: bool = option(False, "replace existing files", short="-y", group="output",
        filed=False)

    resume: bool = option(False, """make a film in segments, by a process for each processor; a run
        that was interrupted or killed goes on when you give the same command again""",
        group="output", filed=False)
    cluster: str | None = option(None, """the same with Dask: local or local:N for N processes, or
        the address of its scheduler, tcp://HOST:PORT, for many machines (needs
        livemosaic[cluster])""", metavar="CLUSTER", group="output", filed=False)

    web: str | None = option(None, """serve a control page at this port, 0 for a free one, and the
        same by HTTP and JSON; only for this computer, unless you name a host, such as
        0.0.0.0:8080 for your whole network""", group="program", kind=_address_kind(8080),
        metavar="[HOST:]PORT")
    osc: str | None = option(None, """take changes and actions by OSC at this UDP port, 0 for a
        free one; only from this computer, unless you name a host: with 0.0.0.0:9000 every device
        of your network can change the picture""", group="program", kind=_address_kind(9000),
        metavar="[HOST:]PORT")
    config: Path | None = option(None, """settings file (TOML); while a live run goes on, changes
        that you save in it are applied""", group="program", filed=False, is_path=True)
    no_config: bool = option(False, "do not read your own settings file", group="program",
        filed=False)
    json: bool = option(False, "print statistics as JSON when finished", group="program",
        filed=False)
    quiet: bool = option(False, "print errors only", group="program", filed=False)
    progress: Literal["auto", "always", "never"] = option("auto", """when to show the progress bar;
        auto shows it on a terminal, and prints a line each minute elsewhere""", group="program",
        filed=False)
    # fmt: on

    @property
    def recipe(self) -> Recipe:
        """How a gallery is made of a folder of photos."""
        return Recipe(
            fit=self.fit,
            crops=self.crops,
            no_mirror=self.no_mirror,
            frames_of_videos=self.frames_of_videos,
            focus=self.focus,
        )


OPTIONS = options_of(RunOptions)
_MOSAIC = options_of(MosaicSettings)
_BY_NAME = {known.name: known for known in OPTIONS}
_FIELD = re.compile(rf"\b({'|'.join(name for name in _BY_NAME if '_' in name)})\b")
_FILED = {name: known for name, known in _BY_NAME.items() if known.filed}


def explicit_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the options that were typed, by name; `OptionError`.

    Other names among the arguments, and options that are None, are left out.
    """
    return {
        name: known.read(arguments[name])
        for name, known in _BY_NAME.items()
        if arguments.get(name) is not None
    }


# ---- settings files ----------------------------------------------------------------------


def user_settings_file() -> Path:
    """The settings file of the user's own, whether it is there or not."""
    import platformdirs

    return platformdirs.user_config_path("livemosaic", appauthor=False) / "config.toml"


def read_settings(file: Path) -> bytes:
    """The content of a settings file, or as much as shows that it is too long; `OSError`.

    It may be a pipe, such as the shell's `<(...)`.
    """
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES + 1)


def read_settings_file(file: Path) -> bytes:
    """As `read_settings`; `UsageError` if it cannot be read."""
    try:
        return read_settings(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}; check the name") from None


def _filed_options(file: Path, text: bytes) -> dict[str, Any]:
    """The checked values of the `[run]` table of a settings file."""
    if len(text) > _MAX_BYTES:
        raise UsageError(f"{file}: it has more than 1 MB, too much for settings; name another file")
    try:
        # Editors of Windows begin a text with a byte order mark.
        document = tomllib.loads(text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not valid TOML: {error}; correct it there") from None
    except (ValueError, RecursionError) as error:  # limits of Python's, not of TOML's
        deep = isinstance(error, RecursionError)
        problem = "it is nested too deeply" if deep else "a number is too long"
        raise UsageError(f"{file}: {problem}; correct it there") from None
    table = document.pop("run", {})
    if document or not isinstance(table, dict):
        names = _short(", ".join(document)) or "run is not a table"
        raise UsageError(f"{file}: unknown: {names}; put the options into a table, under [run]")
    if unknown := [name for name in table if name not in _FILED]:
        near = (did_you_mean(name.replace("-", "_"), _FILED) for name in unknown[:3])
        hint = " ".join(filter(None, near)) or "livemosaic run --help lists them, with - for _"
        raise UsageError(f"{file}: unknown: {_short(', '.join(unknown))}; {hint}")
    try:
        return {name: _FILED[name].read(value) for name, value in table.items()}
    except OptionError as error:
        raise UsageError(message(error, dict.fromkeys(_FILED, file))) from None


# ---- together ----------------------------------------------------------------------------


def resolve(
    explicit: Mapping[str, Any],
    texts: Mapping[Path, bytes] | None = None,
    *,
    input: str = "",
    outputs: Sequence[str] = (),
) -> RunOptions:
    """Bring the options of a run together; `UsageError` for a mistake in a settings file.

    Parameters
    ----------
    explicit : the values that were typed, by name; see `explicit_options`
    texts : the contents of settings files; those of a later one override those of an earlier
    """
    filed = {file: _filed_options(file, text) for file, text in (texts or {}).items()}
    layers = [*filed.values(), explicit]
    profile = next((layer["profile"] for layer in layers[::-1] if "profile" in layer), "default")
    values: dict[str, Any] = {known.name: known.default for known in OPTIONS}
    values["round_up"] = False  # only profiles set it
    for layer in (PROFILES[profile], *layers):
        override(values, layer)
    if values["size"] is not None or values["columns"] is not None:
        values["round_up"] = False
    names = (*(known.name for known in _MOSAIC), "round_up")
    mosaic = {name: values.pop(name) for name in names}
    files = {name: file for file, its in filed.items() for name in its if name not in explicit}
    try:
        settings = MosaicSettings.of_values(mosaic)
    except OptionError as error:  # values that do not go together
        if {it.field: it.name for it in _MOSAIC}.get(error.option, error.option) in files:
            raise UsageError(message(error, files)) from None
        raise
    return RunOptions(
        input=input,
        outputs=tuple(outputs),
        explicit=frozenset(explicit),
        watches_files=bool(filed),
        files=files,
        mosaic=settings,
        **values,
    )


def profile_settings(options: RunOptions) -> dict[str, dict[str, Any]]:
    """The fields of the settings that each profile changes in a run, by the profile's name.

    What was typed, or stands in a settings file, overrides the profile as at the start. The
    output's size stays.
    """
    known = {it.name: it for it in options_of(MosaicSettings) if it.live}
    own = options.explicit | options.files.keys()
    names = {name for values in PROFILES.values() for name in values if name in known}
    changed = sorted(names - own - {"tile", "columns"})
    return {
        profile: {known[name].field: values.get(name, known[name].default) for name in changed}
        for profile, values in PROFILES.items()
    }


def values_of(options: RunOptions) -> dict[str, Any]:
    """The values of all options by name."""
    return {
        known.name: getattr(options.mosaic if known in _MOSAIC else options, known.field)
        for known in OPTIONS
    }


def message(error: OptionError, files: Mapping[str, Path] | None = None) -> str:
    """The message for a wrong value, as the user wrote it: in one of the files, or typed."""
    known = next((known for known in OPTIONS if known.field == error.option), None)
    name = known.name if known else error.option
    flag = known.flag if known else "--" + error.option.replace("_", "-")
    value = text_of(error.value) if isinstance(error.value, tuple) else error.value
    if files and name in files:
        return f"{files[name]}: {name} = {shown(value)}: {error.problem}"
    problem = _FIELD.sub(lambda it: _BY_NAME[it[0]].flag, error.problem)
    if known is not None and known.is_switch and value is True:
        return f"{flag}: {problem}"
    return f"{flag} {_short(text_of(value))}: {problem}"


def _short(text: str) -> str:
    """The text, or its beginning if it would fill a screen."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
