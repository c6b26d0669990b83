"""Options of the command line without an effect: a warning if harmless, else an error.

Values of settings files and profiles are for many runs: they never cause a warning. Sizes that
contradict each other are an error of `plan_grid`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import OptionError
from ..mosaic.match import MATCHERS, unused_by
from ..option import text_of
from .options import RunOptions


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The facts of a run that decide which options have an effect."""

    kind: str  # of the input, see `sources.input_kind`
    window: bool = True  # one of the outputs is a window
    still: bool = False  # the input is a single picture, which is shown once
    live: bool = False  # the input cannot wait
    paced: bool = False  # the input is live, or a file that is played as if it were
    interactive: bool = False  # keys or a settings file may change the mosaic while it runs
    alpha: bool = True  # the input may be transparent
    hdr: bool = True  # the input may be HDR that is kept
    encodes: bool = True  # one of the outputs has a video encoder
    builds_gallery: bool = False  # of a folder of photos


WINDOW_OPTIONS = ("fullscreen", "figures", "qr", "on_close")
NO_WINDOW = "there is no window"

# Options, when they have no effect, and why. While a key may change the match, all may have one.
_Rule = tuple[str, Callable[[RunOptions, Circumstances], bool], str]
# fmt: off
_RULES: tuple[_Rule, ...] = (
    (" ".join(("display", *WINDOW_OPTIONS)),
     lambda options, run: not run.window,
     NO_WINDOW),
    ("overlay_luma",
     lambda options, run: options.mosaic.overlay == 0 and not run.interactive,
     "the overlay is 0"),
    ("calm activity fps start end duration realtime preview",
     lambda options, run: run.still,
     "a single picture does not move"),
    ("web osc",
     lambda options, run: run.still or options.preview is not None,
     "a single picture is made at once"),
    ("watch",
     lambda options, run: not run.paced,
     "photos join while a live input is shown; build a gallery of the folder instead"),
    ("guests auto_approve spotlight",
     lambda options, run: not run.paced,
     "photos join while a live input is shown"),
    ("auto_approve qr",
     lambda options, run: options.guests is None,
     "there are no --guests"),
    ("fit crops no_mirror frames_of_videos focus",
     lambda options, run: not run.builds_gallery,
     "it is for a gallery that this run makes of your own photos, as with --gallery FOLDER"),
    ("outside",
     lambda options, run: options.area == "everything" and not run.interactive,
     "the mosaic is everywhere; choose an --area"),
    ("fine",
     lambda options, run: options.mosaic.fine == "faces" and options.privacy
     and not run.interactive,
     "privacy mode shows no faces"),
    ("area outside",
     lambda options, run: options.privacy and not run.interactive,
     "privacy mode is everywhere"),
    ("capture",
     lambda options, run: run.kind not in ("camera.webcam", "screen"),
     "the input is no webcam or screen"),
    ("reconnect",
     lambda options, run: not run.kind.startswith(("camera.", "network.")) or not run.live,
     "the input is no webcam or live stream"),
    ("realtime",
     lambda options, run: run.live,
     "the input is live anyway"),
    ("start end",
     lambda options, run: run.live,
     "the input is live"),
    ("duration realtime",
     lambda options, run: options.preview is not None,
     "a preview is one picture"),
    ("max_latency",
     lambda options, run: not run.paced,
     "the input is not live, and not played in real time"),
    ("map_paths",
     lambda options, run: options.map is None,
     "there is no --map"),
    ("alpha",
     lambda options, run: not run.alpha,
     "the input has no transparency"),
    ("hdr",
     lambda options, run: options.hdr == "keep" and not run.hdr,
     "the input is not HDR, or no output keeps it; .mp4, .mkv and .mov do"),
    ("codec preset crf",
     lambda options, run: not run.encodes,
     "no output has a video encoder"),
)
# fmt: on


def ignored_options(options: RunOptions, run: Circumstances) -> dict[str, str]:
    """The explicit options without an effect, by name, and why each has none."""
    ignored: dict[str, str] = {}
    if not run.interactive:
        match = options.mosaic.match
        for name in sorted(options.explicit & unused_by(match)):
            ignored[name] = f"match {match} does not use it"
    for names, is_ignored, why in _RULES:
        if is_ignored(options, run):
            for name in names.split():
                if name in options.explicit:
                    ignored.setdefault(name, why)
    return ignored


def refuse_contradictions(options: RunOptions) -> None:
    """Raise `OptionError` for explicit options that contradict others, or the outputs."""
    match, least = options.mosaic.match, options.mosaic.min_uses
    if "min_uses" in options.explicit and least and "min_uses" not in MATCHERS[match].uses:
        problem = f"match {match} takes photos in turn, and cannot promise that; use match layout"
        raise OptionError("min_uses", least, problem)
    if "format" in options.explicit and "-" not in options.outputs:
        problem = "only standard output (-) takes it; the ending of a file chooses its container"
        raise OptionError("format", options.format, problem)
    if "guests" in options.explicit and options.web is None:
        problem = "guests upload photos to the control page; add --web, such as --web 0.0.0.0:8080"
        raise OptionError("guests", options.guests, problem)
    start = options.start or 0.0
    for name in ("end", "preview"):
        at_s = getattr(options, name)
        if at_s is not None and (at_s < start or (name == "end" and at_s == start)):
            problem = f"it is not after the start ({text_of(start)} s); choose a later time"
            raise OptionError(name, at_s, problem)
