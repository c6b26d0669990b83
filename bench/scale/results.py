"""What was measured, a JSON file for each command, and the galleries that it was measured with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import machine

SIZES = (3_000, 30_000, 300_000, 1_000_000)

Row = dict[str, Any]


def gallery_path(folder: Path, tiles: int, per_photo: int = 1) -> Path:
    """Where `make` puts a gallery of so many tiles."""
    of = f"-{per_photo}-per-photo" if per_photo > 1 else ""
    return folder / f"{tiles}{of}.gallery"


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The sizes of the galleries, and how many of their tiles a photo has."""
    parser.add_argument("--tiles", type=int, nargs="+", default=SIZES)
    parser.add_argument("--per-photo", type=int, default=1, help="tiles of a photo")


def galleries(args: argparse.Namespace) -> dict[int, Path]:
    """The galleries that `add_sizes` asked for, which must be there."""
    paths = {tiles: gallery_path(args.work, tiles, args.per_photo) for tiles in args.tiles}
    for tiles, path in paths.items():
        if not path.exists():
            raise SystemExit(f"no {path}; make it with: python -m bench.scale make --tiles {tiles}")
    return paths


def save(folder: Path, command: str, rows: Sequence[Row]) -> None:
    """Keep rows, each with `tiles` or `workers`, for `plot`, and print them."""
    print(machine())
    for row in rows:
        print(json.dumps(row))
    path = folder / f"{command}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=1) + "\n")


def load(folder: Path, command: str) -> list[Row]:
    """The rows of a command, none if it did not run."""
    path = folder / f"{command}.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []
