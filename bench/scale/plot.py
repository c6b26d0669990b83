"""Draw what the other commands measured as one SVG: time, memory and cost.

A panel whose command did not run is left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from bench.common import ROOT

from .results import Row, load


class Panel(NamedTuple):
    """A diagram: columns of a command's rows over another one."""

    title: str
    command: str
    over: str  # "tiles" or "workers"
    lines: dict[str, str]  # column: name
    where: tuple[str, str] | None = None  # only rows with this value in this column


PANELS = (
    Panel("Match per cell, µs of CPU", "match", "tiles",
          {"match_us": "moving picture", "match_hurried_us": "in a hurry"}),
    Panel("Cost beside the best of all tiles, median", "match", "tiles",
          {"cost_thorough": "single picture", "cost_live": "live", "cost_hurried": "in a hurry"}),
    Panel("Time to open, s", "open", "tiles",
          {"open_s": "open", "first_picture_s": "start to first picture"}),
    Panel("Own memory, MB", "open", "tiles", {"private_mb": "after the first picture"}),
    Panel("Latency live, ms, idle", "live", "tiles",
          {"p50_ms": "p50", "p99_ms": "p99"}, ("load", "idle")),
    Panel("Latency live, ms, one core taken", "live", "tiles",
          {"p50_ms": "p50", "p99_ms": "p99"}, ("load", "busy")),
    Panel("Build, photos/s", "build", "workers", {"rate": "photos/s"}),
    Panel("Build: memory of a process, MB", "build", "workers", {"memory_mb": "highest"}),
    Panel("Film, frames/s", "film", "workers", {"fps": "frames/s"}),
)  # fmt: skip

WIDTH, HEIGHT, COLUMNS = 400, 250, 2
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 54, 26
COLOURS = ("#2166ac", "#d6604d", "#4d9221")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "scale.svg")


def main(args: argparse.Namespace) -> None:
    drawn = [(panel, rows) for panel in PANELS if (rows := rows_of(panel, args.work))]
    if not drawn:
        raise SystemExit(f"nothing measured in {args.work}; run the other commands")
    args.output.write_text(svg(drawn))
    print(f"{args.output}: {len(drawn)} diagrams")


def rows_of(panel: Panel, folder: Path) -> list[Row]:
    """The rows of a panel that have its columns, in order."""
    rows = [
        row
        for row in load(folder, panel.command)
        if panel.over in row
        and any(name in row for name in panel.lines)
        and (panel.where is None or row.get(panel.where[0]) == panel.where[1])
    ]
    return sorted(rows, key=lambda row: float(row[panel.over]))


def svg(drawn: Sequence[tuple[Panel, list[Row]]]) -> str:
    """All panels side by side."""
    rows = -(-len(drawn) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * COLUMNS}" '
        f'height="{HEIGHT * rows}" font-family="sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (panel, panel_rows) in enumerate(drawn):
        x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, panel_rows), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, rows: list[Row]) -> list[str]:
    at = [float(row[panel.over]) for row in rows]
    highest = max(float(row[name]) for row in rows for name in panel.lines if name in row)
    step = _step(highest)
    top = step * max(1, math.ceil(highest / step))

    def x(value: float) -> float:
        low, high, own = (
            (math.log(it) if panel.over == "tiles" else it) for it in (at[0], at[-1], value)
        )
        share = (own - low) / (high - low) if high > low else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for number in range(round(top / step) + 1):
        value = number * step
        parts += [
            f'<path d="M{LEFT} {y(value)}H{WIDTH - RIGHT}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:,.7g}</text>',
        ]
    for value in at:
        anchor = "end" if value == at[-1] and len(at) > 1 else "middle"
        place = f'x="{x(value)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="{anchor}"'
        parts.append(f"<text {place}>{_short(value)}</text>")
    parts.append(f'<text x="{WIDTH - RIGHT}" y="18" text-anchor="end">{panel.over}</text>')
    for number, (name, words) in enumerate(panel.lines.items()):
        points = [(x(float(row[panel.over])), y(float(row[name]))) for row in rows if name in row]
        colour = COLOURS[number]
        beside = LEFT + 8 * len(" ".join(list(panel.lines.values())[:number])) + 12 * number
        line = " ".join(f"{px},{py}" for px, py in points)
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
            *(f'<circle cx="{px}" cy="{py}" r="3" fill="{colour}"/>' for px, py in points),
            f'<text x="{beside}" y="36" fill="{colour}">{escape(words)}</text>',
        ]
    return parts


def _short(value: float) -> str:
    """A number in few characters."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _step(highest: float) -> float:
    """The distance of two lines: about four below the highest value."""
    size = 10 ** math.floor(math.log10(highest / 4)) if highest > 0 else 1.0
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor * 4.5 >= highest)
