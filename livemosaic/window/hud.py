"""The panels over a window's picture: statistics, keys, messages. Equal panels are drawn once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..control.state import LiveState, LiveStats
from ..media.qr_code import qr_pixels
from ..media.text import LINE, Panel, PanelCanvas, fitted, text_width
from .keys import KEYS

# Size of the text: a share of the window's height (a narrow window counts as if it were as wide as
# `_WIDE`), within limits: readable, and not too large.
_PX_PER_HEIGHT, _WIDE = 1 / 44, 16 / 9
_MIN_PX, _MAX_PX = 11, 26

# BGR: light on the dark background; warnings are amber, as on a dashboard.
_WHITE = (255, 255, 255)
_GREY = (204, 200, 196)
_AMBER = (64, 190, 255)
_RED = (60, 60, 240)
BAR_COLOUR = (226, 166, 96)

# A phone reads a QR code from ten times its size away: here from three times the wall's height.
_QR_SHARE = 0.3  # of the window's height, with the quiet zone
_MIN_MODULE_PX = 2
_QR_CAPTION = "your photo on the wall"

# A full bar is the time of one frame, or this until the rate is known.
_DEFAULT_FRAME_MS = 1000 / 25


@dataclass(frozen=True, slots=True)
class Gauge:
    """One line of the statistics: a name with up to two values, or with a bar and a value."""

    name: str
    values: tuple[str, ...] = ()
    share: float | None = None  # length of the bar, 0..1; None for no bar
    warning: bool = False  # draw the name in a signal colour, over the whole line


def text_px(width: int, height: int) -> int:
    """Size of text for a window of a size in pixels."""
    return min(max(round(min(height, width / _WIDE) * _PX_PER_HEIGHT), _MIN_PX), _MAX_PX)


def gauges(stats: LiveStats) -> tuple[Gauge, ...]:
    """The lines of the statistics."""
    p50, p95 = stats.latency_ms_p50, stats.latency_ms_p95
    lines = [
        Gauge("frames/s", (f"{stats.fps_in:.1f} in", f"{stats.fps_out:.1f} out")),
        Gauge("latency", (f"p50 {p50:.0f} ms", f"p95 {p95:.0f} ms")),
        Gauge("dropped", (str(stats.dropped),)),
        Gauge("active cells", (f"{stats.active_share:.0%}",)),
    ]
    if stats.split_share:
        lines.append(Gauge("split cells", (f"{stats.split_share:.0%}",)))
    if stats.photos:
        lines.append(Gauge("photos", (stats.photos,)))
    spotlight = stats.spotlight
    if spotlight is not None and spotlight["shown"] + spotlight["waiting"]:
        waiting = f"{spotlight['waiting']} wait" if spotlight["waiting"] else ""
        lines.append(Gauge("spotlight", (str(spotlight["shown"]), waiting)))
    frame_ms = 1000 / stats.fps_in if stats.fps_in else _DEFAULT_FRAME_MS
    for name, ms in stats.stages_ms.items():
        # In steps, so that a bar does not tremble.
        share = min(1.0, round(ms / frame_ms * 40) / 40)
        lines.append(Gauge(name, (f"{ms:.1f} ms",), share=share))
    lines += [Gauge(text, warning=True) for text in (stats.governor, stats.source) if text]
    return tuple(lines)


@lru_cache(maxsize=8)
def stats_panel(lines: tuple[Gauge, ...], *, px: int) -> Panel:
    """The statistics in text of size `px`.

    The panel's size depends only on the number of lines and the longest name: it does not change
    with the values.
    """
    gap, pad = px, round(0.8 * px)
    names = max(text_width(gauge.name, px) for gauge in lines if not gauge.warning)
    column = text_width("p95 0000 ms", px)
    width = pad + names + gap + column + gap + column + pad
    line_px = round(LINE * px)
    canvas = PanelCanvas(width, 2 * pad + line_px * len(lines), radius=px // 2)
    for number, gauge in enumerate(lines):
        top = pad + number * line_px
        if gauge.warning:
            text = fitted(gauge.name, px, width - 2 * pad)
            canvas.text(text, pad, top, px=px, colour=_AMBER)
            continue
        canvas.text(gauge.name, pad, top, px=px, colour=_GREY)
        right = pad + names + gap + column
        if gauge.share is not None:
            length, height = max(1, round(gauge.share * column)), round(0.55 * px)
            bar_top = top + round(0.5 * px)
            canvas.bar(right - column, bar_top, length, height, colour=BAR_COLOUR)
            right += gap + column
        for value in gauge.values:
            canvas.text(value, right - text_width(value, px), top, px=px, colour=_WHITE)
            right += gap + column
    return canvas.panel()


def badges(state: LiveState, stats: LiveStats) -> tuple[str, ...]:
    """Short texts that a window shows without the statistics, too; `*` marks a recording."""
    recording = f"*{stats.recording}" if stats.recording else ""
    poster = f"poster {stats.poster}" if stats.poster else ""
    privacy = "privacy mode" if state.privacy else ""
    frozen = "frozen" if state.freeze else ""
    return tuple(text for text in (recording, poster, privacy, frozen) if text)


@lru_cache(maxsize=8)
def message_panel(text: str, *, px: int, width: int) -> Panel:
    """A panel with one line, at most `width` wide; a `*` at its beginning becomes a red dot."""
    pad = round(0.9 * px)
    dot = px if text.startswith("*") else 0
    text = fitted(text.removeprefix("*"), px, width - 2 * pad - dot)
    size = (text_width(text, px) + 2 * pad + dot, round(LINE * px) + pad)
    canvas = PanelCanvas(*size, radius=px // 2)
    if dot:
        canvas.dot(pad + px // 4, size[1] // 2, max(2, round(0.32 * px)), colour=_RED)
    canvas.text(text, pad + dot, pad // 2, px=px, colour=_WHITE)
    return canvas.panel()


@lru_cache(maxsize=2)
def qr_panel(address: str, *, height: int) -> Panel:
    """The QR code of an address with a caption, for a window of a height."""
    code = qr_pixels(address)
    scale = max(_MIN_MODULE_PX, round(height * _QR_SHARE / len(code)))
    code = code.repeat(scale, axis=0).repeat(scale, axis=1)
    side = len(code)
    px = side // 12
    while text_width(_QR_CAPTION, px) > side - px:
        px -= 1
    canvas = PanelCanvas(side, side + round(LINE * px) + px // 2, radius=px // 2)
    left = (side - text_width(_QR_CAPTION, px)) // 2
    canvas.text(_QR_CAPTION, left, side + px // 6, px=px, colour=_WHITE)
    panel = canvas.panel()
    panel.colour[:side], panel.alpha[:side] = code[:, :, None], 255
    return panel


@lru_cache(maxsize=8)
def help_panel(*, px: int, height: int) -> Panel:
    """The keys in text of size `px`, or smaller to fit into `height`."""
    px = max(5, min(px, int(height / (len(KEYS) * LINE + 4))))
    pad, line_px = 2 * px, round(LINE * px)
    keys = max(text_width(key.shown, px) for key in KEYS)
    words = max(text_width(key.help, px) for key in KEYS)
    gap = round(1.5 * px)
    size = (pad + keys + gap + words + pad, round(pad * 1.6) + line_px * len(KEYS))
    canvas = PanelCanvas(*size, radius=px)
    for number, key in enumerate(KEYS):
        top = round(pad * 0.8) + number * line_px
        shift = (keys - text_width(key.shown, px)) // 2
        canvas.text(key.shown, pad + shift, top, px=px, colour=_AMBER)
        canvas.text(key.help, pad + keys + gap, top, px=px, colour=_WHITE)
    return canvas.panel()
