"""True colour to 256 colours, for GIF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..media.ffmpeg import av, filtered

__all__ = ["PaletteFilter"]


class PaletteFilter:
    """Gives each picture the 256 colours that suit it best, with an ordered dither.

    A palette per picture needs no second pass over the video. Ordered dither stands still where
    the picture does, so that the GIF stays small; error diffusion would crawl.
    """

    def __init__(self) -> None:
        self._graph: Any = None

    def __call__(self, picture: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield what is ready once `picture` (rgb24, with its times) is in."""
        if self._graph is None:
            self._graph = _build(picture)
        yield from filtered(self._graph, picture)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield what is still inside."""
        if self._graph is not None:
            yield from filtered(self._graph, None)


def _build(picture: av.VideoFrame) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base,
    )
    split = graph.add("split", "2")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
