"""What is in a gallery: figures and contact sheets, because people look before they trust."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError
from .file_format import Gallery

__all__ = ["contact_sheet_html", "contact_sheet_png", "gallery_info", "info_text"]

U8 = NDArray[np.uint8]

STRIP_TILES = 12  # of a cluster that are shown: enough to see whether they belong together
HTML_TILE_PX = 48  # 500 strips are about 4 MB
PNG_TILE_PX = 32
JPEG_QUALITY = 78


def gallery_info(gallery: Gallery) -> dict[str, Any]:
    """Figures about a gallery, ready for JSON.

    `colour_coverage` is the share of the 125 colour bins (5 levels per channel) that are the
    fullest bin of at least one tile of a kept cluster: the colours for which there is a tile that
    is mostly of this colour.
    """
    population = np.diff(gallery.members_start)
    fullest = gallery.features.argmax(axis=1)
    usable = gallery.kept[gallery.labels]
    return {
        "name": gallery.name,
        "path": str(gallery.path),
        "tiles": len(gallery),
        "tiles_kept": int(usable.sum()),
        "photos": len(gallery.sources.photos()),
        "tile_px": gallery.tile_px,
        "mirror": gallery.mirror,
        "clusters": len(population),
        "clusters_kept": int(gallery.kept.sum()),
        "clusters_dropped": int((~gallery.kept).sum()),
        "population": {
            "kept": _spread(population[gallery.kept]),
            "dropped": _spread(population[~gallery.kept]),
        },
        "colour_coverage": len(np.unique(fullest[usable])) / gallery.features.shape[1],
        "bytes": gallery.bytes,
        "options": gallery.options,
    }


def _spread(population: NDArray[np.int32]) -> dict[str, float] | None:
    if not len(population):
        return None
    return {
        "min": int(population.min()),
        "median": float(np.median(population)),
        "max": int(population.max()),
    }


def info_text(info: dict[str, Any]) -> str:
    """The figures of `gallery_info` as lines for people."""

    def spread(of: str) -> str:
        p = info["population"][of]
        return f"{p['min']} / {p['median']:g} / {p['max']}" if p else "-"

    options = ", ".join(f"{key} {value}" for key, value in info["options"].items())
    coverage = f"{info['colour_coverage']:.0%} of 125"
    rows = {
        "gallery": f"{info['name']} ({info['path']})",
        "tiles": f"{info['tiles']:,} of {info['tile_px']} px, from {info['photos']:,} photos"
        + (", may be mirrored" if info["mirror"] else ", never mirrored"),
        "clusters": f"{info['clusters_kept']} kept, {info['clusters_dropped']} dropped; "
        f"{info['tiles_kept']:,} tiles in use",
        "kept": f"{spread('kept')} tiles (fewest / median / most)",
        "dropped": f"{spread('dropped')} tiles",
        "colours": f"{coverage} have a tile that is mostly of this colour",
        "size": f"{info['bytes'] / 1e6:.1f} MB",
        "built with": options,
    }
    return "".join(f"{key:11s} {value}\n" for key, value in rows.items())


class _Strip(NamedTuple):
    cluster: int
    population: int
    tiles: U8  # (m, px, px, 3)


def _strips(gallery: Gallery, *, kept: bool, tile_px: int) -> Iterator[_Strip]:
    """The first tiles of each kept or dropped cluster, the largest cluster first."""
    for cluster in np.flatnonzero(gallery.kept == kept):
        members = gallery.tiles_of(int(cluster))
        tiles = [
            cv2.resize(gallery.tiles[i], (tile_px, tile_px), interpolation=cv2.INTER_AREA)
            for i in members[:STRIP_TILES]
        ]
        yield _Strip(int(cluster), len(members), np.asarray(tiles, np.uint8))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ground: #fafafa; --card: #fff; --line: #e2e2e2; --ink: #1c1c1e;
  --soft: #6b6b70; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ground: #161618; --card: #212124; --line: #343438;
  --ink: #ececee; --soft: #9a9aa0; }} }}
body {{ margin: 0 auto; max-width: 1340px; padding: 24px; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 24px; margin: 0 0 8px; }}
h2 {{ font-size: 17px; margin: 32px 0 12px; }}
h2 small {{ font-weight: normal; color: var(--soft); }}
pre {{ color: var(--soft); font: 13px/1.6 ui-monospace, monospace; white-space: pre-wrap; }}
.sheet {{ display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); }}
figure {{ margin: 0; padding: 8px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }}
figure img {{ display: block; width: 100%; max-width: {width}px; border-radius: 3px; }}
figcaption {{ margin-top: 4px; font-size: 12px; color: var(--soft);
  display: flex; justify-content: space-between; }}
.dropped figure {{ opacity: .6; }}
</style></head><body>
<h1>{title}</h1>
<pre>{info}</pre>
{sections}
</body></html>
"""


def contact_sheet_html(gallery: Gallery, path: str | Path) -> None:
    """Write one self-contained page: each cluster with its population and its first 12 tiles.

    Raises
    ------
    GalleryError : the file cannot be written
    """
    columns = STRIP_TILES // 2
    sections = []
    for kept, heading, note in (
        (True, "Kept", "what a mosaic is made of"),
        (False, "Dropped", "too few tiles: they would repeat"),
    ):
        figures = []
        for strip in _strips(gallery, kept=kept, tile_px=HTML_TILE_PX):
            picture = _grid(strip.tiles, columns)
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            data = base64.b64encode(cv2.imencode(".jpg", picture, options)[1].tobytes()).decode()
            width = picture.shape[1] * 100 / (columns * HTML_TILE_PX)
            count = f"{strip.population:,} tile{'s' if strip.population > 1 else ''}"
            figures.append(
                f'<figure><img loading="lazy" alt="" style="width:{width:g}%" '
                f'src="data:image/jpeg;base64,{data}">'
                f"<figcaption><span>cluster {strip.cluster}</span><span>{count}</span>"
                "</figcaption></figure>"
            )
        sections.append(
            f"<h2>{heading}: {len(figures)} clusters <small>{note}</small></h2>\n"
            f'<div class="sheet {heading.lower()}">\n' + "\n".join(figures) + "\n</div>"
        )
    page = _PAGE.format(
        title=html.escape(f"Gallery {gallery.name}"),
        info=html.escape(info_text(gallery_info(gallery))),
        sections="\n".join(sections),
        width=columns * HTML_TILE_PX,
    )
    # A file name may hold what is not UTF-8.
    _write(path, page.encode("utf-8", "replace"))


def _grid(tiles: U8, columns: int) -> U8:
    """Tiles in rows of `columns`; a last row that is not full ends in light grey."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    px = tiles.shape[1]
    out = np.full((rows, columns, px, px, 3), 128, np.uint8)
    out.reshape(-1, px, px, 3)[: len(tiles)] = tiles
    return np.ascontiguousarray(out.swapaxes(1, 2)).reshape(rows * px, columns * px, 3)


# The PNG: dark, because thumbnails are judged best on it. Sizes in pixels.
_LABEL_PX = 64
_ROW_PX = PNG_TILE_PX + 6
_COLUMN_PX = _LABEL_PX + STRIP_TILES * PNG_TILE_PX + 24
_HEADING_PX = 56
_MARGIN_PX = 24
_GROUND, _INK, _SOFT = (24, 22, 22), (236, 236, 236), (150, 150, 150)


def contact_sheet_png(gallery: Gallery, path: str | Path, *, columns: int = 3) -> None:
    """Write a picture of each cluster's first 12 tiles with its population, largest first.

    Raises
    ------
    GalleryError : the file cannot be written
    """
    parts = []
    for kept, heading in ((True, "kept"), (False, "dropped")):
        strips = list(_strips(gallery, kept=kept, tile_px=PNG_TILE_PX))
        if strips:
            parts.append(_section(f"{len(strips)} clusters {heading}", strips, columns, kept))
    title = np.full((_HEADING_PX, parts[0].shape[1], 3), _GROUND, np.uint8)
    words = f"Gallery {gallery.name}: {len(gallery):,} tiles of {gallery.tile_px} px"
    _text(title, words, _MARGIN_PX, 40, 0.9, _INK)
    sheet = np.vstack([title, *parts])
    _write(path, cv2.imencode(".png", sheet)[1].tobytes())


def _section(heading: str, strips: Sequence[_Strip], columns: int, kept: bool) -> U8:
    rows = -(-len(strips) // columns)  # filled by columns: sizes fall from top to bottom
    height = _HEADING_PX + rows * _ROW_PX + _MARGIN_PX
    out = np.full((height, 2 * _MARGIN_PX + columns * _COLUMN_PX, 3), _GROUND, np.uint8)
    _text(out, heading, _MARGIN_PX, 36, 0.7, _INK if kept else _SOFT)
    for i, strip in enumerate(strips):
        column, row = divmod(i, rows)
        x, y = _MARGIN_PX + column * _COLUMN_PX, _HEADING_PX + row * _ROW_PX
        _text(out, str(strip.population), x, y + 22, 0.5, _SOFT)
        picture = _grid(strip.tiles, STRIP_TILES)
        h, w = picture.shape[:2]
        out[y : y + h, x + _LABEL_PX : x + _LABEL_PX + w] = picture
    return out


def _text(out: U8, words: str, x: int, y: int, size: float, colour: tuple[int, int, int]) -> None:
    # OpenCV's fonts know ASCII only.
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(out, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _write(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path = Path(path)
    # A link is followed, so that the file it leads to is replaced, not the link.
    final = Path(os.path.realpath(path))
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        try:
            part.write_bytes(data)
            os.replace(part, final)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GalleryError(
            f"cannot write {str(path)!r}: {error.strerror}; choose another place with -o"
        ) from None
