"""The 256 colours of a GIF."""

from __future__ import annotations

from fractions import Fraction

from ..media.ffmpeg import av

__all__ = ["palette_graph"]


def palette_graph(width: int, height: int, time_base: Fraction) -> av.filter.Graph:
    """A filter graph that gives each rgb24 picture the 256 colours that suit it best.

    A palette for each picture needs no second pass over the video. Ordered dither stands still
    where the picture does, which keeps the GIF small. Error diffusion would crawl.
    """
    graph = av.filter.Graph()
    rgb = av.VideoFormat("rgb24")
    source = graph.add_buffer(width=width, height=height, format=rgb, time_base=time_base)
    split = graph.add("split", "2")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
