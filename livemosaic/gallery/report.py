"""Statistics and contact sheets of a gallery, because people look before they trust."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np

from ..errors import GalleryError, counted, fix_of_writing, printable, words_of
from ..jit import I32, U8
from ..media.atomic_write import atomic_write
from ..option import text_of
from ..tile_size import sides
from .gallery import Gallery

DROPPED = "only --match clusters leaves them out"
STRIP_TILES = 12  # of a cluster: enough to see whether they belong together
HTML_TILE_PX = 48  # 500 strips are about 4 MB
PNG_TILE_PX = 32
JPEG_QUALITY = 78


def gallery_info(gallery: Gallery) -> dict[str, Any]:
    """Statistics of a gallery, ready for JSON.

    `colour_coverage` is the share of the 125 colour bins (5 levels per channel) that are the
    fullest bin of at least one tile of a kept cluster: the colours for which there is a tile that
    is mostly of this colour.
    """
    population = np.diff(gallery.members_start)
    in_use = population > 0  # of several galleries, some have only photos that others have, too
    kept, dropped = gallery.kept & in_use, ~gallery.kept & in_use
    fullest = np.concatenate([part.features.argmax(axis=1) for part in gallery.parts])
    usable = gallery.kept[gallery.labels] & ~gallery.gone
    photos = [part.sources.photo_count for part in gallery.parts]
    repeated = len(np.unique(gallery.source_photo[gallery.gone]))
    lettering = (
        len(np.unique(part.source_photo[~part.mirrors])) for part in gallery.parts if part.mirror
    )
    return {
        "name": gallery.name,
        "path": None if gallery.path is None else str(gallery.path),
        "tiles": int(np.count_nonzero(~gallery.gone)),
        "tiles_kept": int(usable.sum()),
        "photos": sum(photos) - repeated,
        "tile_px": gallery.tile_px,
        "uncut": int(np.isin(gallery.uncut_photo, gallery.source_photo[~gallery.gone]).sum()),
        "mirror": gallery.mirror,
        "lettering": sum(lettering),
        "clusters": int(in_use.sum()),
        "clusters_kept": int(kept.sum()),
        "clusters_dropped": int(dropped.sum()),
        "population": {"kept": _spread(population[kept]), "dropped": _spread(population[dropped])},
        "colour_coverage": len(np.unique(fullest[usable])) / gallery.features.shape[1],
        "bytes": gallery.bytes,
        "options": gallery.options,
        "repeated": repeated,
        "galleries": [
            {
                "name": part.name,
                "path": None if part.path is None else str(part.path),
                "tiles": len(part),
                "photos": count,
                "mirror": part.mirror,
                "options": part.options,
            }
            for part, count in zip(gallery.parts, photos, strict=True)
        ],
    }


def _spread(population: I32) -> dict[str, float] | None:
    if not len(population):
        return None
    low, middle, high = population.min(), np.median(population), population.max()
    return {"min": int(low), "median": float(middle), "max": int(high)}


def info_lines(info: dict[str, Any]) -> list[str]:
    """The statistics of `gallery_info` as lines for people."""

    def spread(clusters: str) -> str:
        p = info["population"][clusters]
        if p["min"] == p["max"]:
            return counted(p["min"], "tile") + (" each" if info[f"clusters_{clusters}"] > 1 else "")
        return f"{p['min']:,} to {p['max']:,} tiles each, median {p['median']:g}"

    parts = info["galleries"]
    mirrored = "all photos may be mirrored" if info["mirror"] else "no photo is mirrored"
    excepted = [f"those of {it['name']}" for it in parts if not it["mirror"]]
    if info["lettering"]:
        excepted.append(f"{info['lettering']:,} with lettering")
    if info["mirror"] and excepted:
        mirrored += f", except {' and '.join(excepted)}"
    kept, dropped = info["clusters_kept"], info["clusters_dropped"]
    size = text_of(sides(info["tile_px"]))
    rows = {
        "gallery": f"{info['name']} ({_place(info)})",
        "tiles": f"{counted(info['tiles'], 'tile')} of {size} pixels, "
        f"from {counted(info['photos'], 'photo')}",
        "repeated": f"{counted(info['repeated'], 'photo')} of several galleries, used once each"
        if info["repeated"]
        else "",
        "mirrored": mirrored,
        "clusters": counted(kept + dropped, "group") + " of tiles with similar colours",
        "kept": f"{counted(kept, 'cluster')} of {spread('kept')}" if kept else "",
        "dropped": f"{counted(dropped, 'cluster')} of {spread('dropped')}: "
        f"{counted(info['tiles'] - info['tiles_kept'], 'tile')}; {DROPPED}"
        if dropped
        else "",
        "colours": f"{info['colour_coverage']:.0%} of all colours are the main colour of a tile in "
        "a kept cluster",
        "uncut": f"{counted(info['uncut'], 'photo')} kept whole, for tiles of any shape"
        if info["uncut"]
        else "",
        "size": f"{info['bytes'] / 1e6:.1f} MB",
        "built with": ", ".join(
            f"{name.replace('_', '-')} "
            f"{'by colour' if value is None else str(value).removesuffix('.0')}"
            for name, value in info["options"].items()
        )
        if len(parts) == 1
        else "",
    }
    return [f"{name:11s} {value}" for name, value in rows.items() if value]


def _place(info: dict[str, Any]) -> str:
    """Where a gallery is; of a joined one, what each has."""
    parts = info["galleries"]
    if len(parts) == 1:
        return str(info["path"] or "in memory")
    return "; ".join(f"{it['name']}: {counted(it['photos'], 'photo')}" for it in parts)


def _strips(gallery: Gallery, *, kept: bool, tile_px: int) -> Iterator[tuple[int, int, U8]]:
    """Number, population and first tiles of each kept or dropped cluster, the largest first."""
    longer = max(gallery.tile_width, gallery.tile_height)
    size = gallery.tile_width * tile_px // longer, gallery.tile_height * tile_px // longer
    for cluster in np.flatnonzero(gallery.kept == kept).tolist():
        members = gallery.tiles_of(cluster)
        if not len(members):
            continue
        tiles = [
            cv2.resize(gallery.tiles[i], size, interpolation=cv2.INTER_AREA)
            for i in members[:STRIP_TILES]
        ]
        yield cluster, len(members), np.asarray(tiles, np.uint8)


def contact_sheet_html(gallery: Gallery, path: str | Path) -> None:
    """Write one self-contained page: each cluster with its population and its first 12 tiles."""
    info = gallery_info(gallery)
    if gallery.path is not None:
        info["path"] = gallery.path.name  # no folders: the page may be given away
    sections = []
    for kept, heading, note in (
        (True, "Kept", "used by every match"),
        (False, "Dropped", f"too few tiles, which would repeat; {DROPPED}"),
    ):
        figures = []
        for cluster, population, tiles in _strips(gallery, kept=kept, tile_px=HTML_TILE_PX):
            picture = np.hstack(list(tiles))
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            data = base64.b64encode(cv2.imencode(".jpg", picture, options)[1].tobytes()).decode()
            width = len(tiles) * 100 / STRIP_TILES
            count = counted(population, "tile")
            if population > len(tiles):
                count += f", {len(tiles)} shown"
            figures.append(
                f'<figure><img loading="lazy" alt="" style="width:{width:g}%" '
                f'src="data:image/jpeg;base64,{data}">'
                f"<figcaption><span>cluster {cluster}</span><span>{count}</span>"
                "</figcaption></figure>"
            )
        sections.append(
            f"<h2>{heading}: {counted(len(figures), 'cluster')} <small>{note}</small></h2>\n"
            f'<div class="sheet {heading.lower()}">\n' + "\n".join(figures) + "\n</div>"
        )
    page = Path(__file__).with_name("contact_sheet.html").read_text(encoding="utf-8")
    page = Template(page).substitute(
        title=_shown(f"Gallery {gallery.name}"),
        info="\n".join(map(_shown, info_lines(info))),
        sections="\n".join(sections),
        width=STRIP_TILES * HTML_TILE_PX,
    )
    _write(path, page.encode("utf-8"))


def _shown(text: str) -> str:
    return html.escape(printable(text))


# The PNG is dark, because thumbnails are judged best on a dark background. Sizes are in pixels.
_LABEL_PX = 64
_ROW_PX = PNG_TILE_PX + 6
_COLUMN_PX = _LABEL_PX + STRIP_TILES * PNG_TILE_PX + 24
_HEADING_PX = 56
_MARGIN_PX = 24
_BACKGROUND, _TEXT, _SOFT = (24, 22, 22), (236, 236, 236), (150, 150, 150)


def contact_sheet_png(gallery: Gallery, path: str | Path, *, columns: int = 3) -> None:
    """Write a picture of each cluster's first 12 tiles with its population, largest first."""
    parts = []
    for kept, heading in ((True, "kept"), (False, f"dropped; {DROPPED}")):
        strips = list(_strips(gallery, kept=kept, tile_px=PNG_TILE_PX))
        if strips:
            words = f"{counted(len(strips), 'cluster')} {heading}"
            parts.append(_section(words, strips, columns, kept))
    title = np.full((_HEADING_PX, parts[0].shape[1], 3), _BACKGROUND, np.uint8)
    words = f"Gallery {gallery.name}: {len(gallery):,} tiles; up to {STRIP_TILES} of each cluster"
    _draw_text(title, words, _MARGIN_PX, 40, 0.9, _TEXT)
    sheet = np.vstack([title, *parts])
    _write(path, cv2.imencode(".png", sheet)[1].tobytes())


def _section(heading: str, strips: Sequence[tuple[int, int, U8]], columns: int, kept: bool) -> U8:
    rows = -(-len(strips) // columns)  # filled by columns: sizes fall from top to bottom
    height = _HEADING_PX + rows * _ROW_PX + _MARGIN_PX
    out = np.full((height, 2 * _MARGIN_PX + columns * _COLUMN_PX, 3), _BACKGROUND, np.uint8)
    _draw_text(out, heading, _MARGIN_PX, 36, 0.7, _TEXT if kept else _SOFT)
    for i, (_, population, tiles) in enumerate(strips):
        column, row = divmod(i, rows)
        x, y = _MARGIN_PX + column * _COLUMN_PX, _HEADING_PX + row * _ROW_PX
        _draw_text(out, str(population), x, y + 22, 0.5, _SOFT)
        picture = np.hstack(list(tiles))
        h, w = picture.shape[:2]
        out[y : y + h, x + _LABEL_PX : x + _LABEL_PX + w] = picture
    return out


def _draw_text(
    out: U8, words: str, x: int, y: int, size: float, colour: tuple[int, int, int]
) -> None:
    plain = printable(words).encode("ascii", "replace").decode()  # OpenCV's fonts have ASCII only
    cv2.putText(out, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _write(path: str | Path, data: bytes) -> None:
    try:
        with atomic_write(path, beside=True) as file:
            file.write(data)
    except OSError as error:
        raise GalleryError(
            f"cannot write {str(path)!r}: {words_of(error)}; "
            f"{fix_of_writing(error, 'choose another place with -o')}"
        ) from None
