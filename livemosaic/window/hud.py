"""What the window shows over the picture: figures, keys, messages. Drawing only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..control.state import LiveState, LiveStats
from ..media.text import LINE, Panel, Sheet, fitted, text_width
from .keys import KEYS

__all__ = ["Gauge", "badges", "figures", "gauges", "help_panel", "message_panel", "text_px"]

# Size of the text in a window: a part of its height (of a wide window that is as wide), within what
# can be read and what is not loud.
_PX_PER_HEIGHT, _WIDE = 1 / 44, 16 / 9
_MIN_PX, _MAX_PX = 11, 26

# BGR. Light on the dark box; warnings are amber, as on a dashboard.
_WHITE = (255, 255, 255)
_GREY = (204, 200, 196)
_AMBER = (64, 190, 255)
_RED = (60, 60, 240)
_BLUE = (226, 166, 96)

# The time of a frame, that full bars stand for, when it is not known yet.
_DEFAULT_FRAME_MS = 1000 / 25


@dataclass(frozen=True, slots=True)
class Gauge:
    """One line of the HUD: a name and up to two values, or a bar and a value.

    Attributes
    ----------
    share : length of the bar, 0..1; None for no bar
    warning : in a colour that is seen
    """

    name: str
    values: tuple[str, ...] = ()
    share: float | None = None
    warning: bool = False


def text_px(width: int, height: int) -> int:
    """Size of text for a window of a size in pixels."""
    return min(max(round(min(height, width / _WIDE) * _PX_PER_HEIGHT), _MIN_PX), _MAX_PX)


def gauges(live_stats: LiveStats) -> tuple[Gauge, ...]:
    """The lines of the HUD. Equal figures give equal lines, and need not be drawn again."""
    p50, p95 = live_stats.latency_ms_p50, live_stats.latency_ms_p95
    lines = [
        Gauge("frames/s", (f"{live_stats.fps_in:.1f} in", f"{live_stats.fps_out:.1f} out")),
        Gauge("latency", (f"p50 {p50:.0f} ms", f"p95 {p95:.0f} ms")),
        Gauge("dropped", (str(live_stats.dropped),)),
        Gauge("active cells", (f"{live_stats.active_share:.0%}",)),
    ]
    frame_ms = 1000 / live_stats.fps_in if live_stats.fps_in else _DEFAULT_FRAME_MS
    for name, ms in live_stats.stages_ms.items():
        # In steps, so that a bar does not tremble.
        share = min(1.0, round(ms / frame_ms * 40) / 40)
        lines.append(Gauge(name, (f"{ms:.1f} ms",), share=share))
    if live_stats.governor:
        lines.append(Gauge(live_stats.governor, warning=True))
    if live_stats.source:
        lines.append(Gauge(live_stats.source, warning=True))
    return tuple(lines)


def figures(lines: Sequence[Gauge], *, px: int) -> Panel:
    """The HUD's box, in text of size `px`.

    Its size depends on the lines' number and on the longest name only: it stands still while the
    figures change.
    """
    gap, pad = px, round(0.8 * px)
    names = max(text_width(gauge.name, px) for gauge in lines if not gauge.warning)
    column = text_width("p95 0000 ms", px)
    width = pad + names + gap + column + gap + column + pad
    line_px = round(LINE * px)
    sheet = Sheet(width, 2 * pad + line_px * len(lines), radius=px // 2)
    for number, gauge in enumerate(lines):
        top = pad + number * line_px
        if gauge.warning:
            said = fitted(gauge.name, px, width - 2 * pad)
            sheet.text(said, pad, top, px=px, colour=_AMBER)
            continue
        sheet.text(gauge.name, pad, top, px=px, colour=_GREY)
        right = pad + names + gap + column
        if gauge.share is not None:
            length = max(1, round(gauge.share * column))
            sheet.bar(right - column, top + round(0.5 * px), length, round(0.55 * px), colour=_BLUE)
            right += gap + column
        for value in gauge.values:
            sheet.text(value, right - text_width(value, px), top, px=px, colour=_WHITE)
            right += gap + column
    return sheet.panel()


def badges(wanted: LiveState, live_stats: LiveStats) -> tuple[str, ...]:
    """What must be seen with the HUD off too; the first begins with `*` while it records."""
    said = []
    if live_stats.recording:
        said.append(f"*{live_stats.recording}")
    if wanted.privacy:
        said.append("hidden")
    if wanted.frozen:
        said.append("frozen")
    return tuple(said)


def message_panel(text: str, *, px: int, width: int) -> Panel:
    """A box with one line, at most `width` wide; a `*` at its beginning is a red dot."""
    pad = round(0.9 * px)
    dot = px if text.startswith("*") else 0
    text = fitted(text.removeprefix("*"), px, width - 2 * pad - dot)
    box = (text_width(text, px) + 2 * pad + dot, round(LINE * px) + pad)
    sheet = Sheet(*box, radius=px // 2)
    if dot:
        sheet.dot(pad + px // 4, box[1] // 2, max(2, round(0.32 * px)), colour=_RED)
    sheet.text(text, pad + dot, pad // 2, px=px, colour=_WHITE)
    return sheet.panel()


def help_panel(*, px: int, height: int) -> Panel:
    """The keys, in text of size `px`, smaller where `height` does not suffice."""
    px = max(6, min(px, int(height / (len(KEYS) * LINE + 4))))
    pad, line_px = 2 * px, round(LINE * px)
    keys = max(text_width(key.shown, px) for key in KEYS)
    words = max(text_width(key.help, px) for key in KEYS)
    gap = round(1.5 * px)
    sheet = Sheet(pad + keys + gap + words + pad, round(pad * 1.6) + line_px * len(KEYS), radius=px)
    for number, key in enumerate(KEYS):
        top = round(pad * 0.8) + number * line_px
        shift = (keys - text_width(key.shown, px)) // 2
        sheet.text(key.shown, pad + shift, top, px=px, colour=_AMBER)
        sheet.text(key.help, pad + keys + gap, top, px=px, colour=_WHITE)
    return sheet.panel()
