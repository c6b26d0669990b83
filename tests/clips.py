"""Small inputs for the tests, made by PyAV alone: nothing is downloaded, no program is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.media.colour import Colour
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame, StatusEvent, TrackPacket
from livemosaic.sources import Source

FULL, LIMITED = 2, 1
MATRIX_CODES = {"bt601": 6, "bt709": 1}


def need_encoder(name: str) -> None:
    """Skip the test where this FFmpeg lacks the encoder."""
    try:
        av.Codec(name, "w")
    except ValueError:
        pytest.skip(f"this FFmpeg has no encoder {name}")


def picture(width: int = 160, height: int = 96, *, number: int = 0) -> np.ndarray:
    """Colour bars over a grey ramp with a white block that moves with `number`: BGR."""
    bars = np.array([(b, g, r) for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = bars[np.arange(width) * 8 // width]
    ramp = np.linspace(0, 255, width).round().astype(np.uint8)
    image[height // 2 :] = ramp[None, :, None]
    block = number * 8 % max(8, width - 16)
    image[8:24, block : block + 16] = 255
    return image


def frames(
    count: int = 10, *, size: tuple[int, int] = (160, 96), colour: Colour | None = None
) -> list[Frame]:
    """Consecutive frames of `picture`, at 25 frames/s."""
    return [
        Frame.from_bgr(
            picture(*size, number=n), colour=colour or Colour("bt601"), pts=n, duration=1
        )
        for n in range(count)
    ]


def items(source: Source) -> Iterator[Frame | TrackPacket]:
    """All that sinks take of a source of files."""
    for item in source:
        assert not isinstance(item, StatusEvent)
        yield item


def av_frame(frame: Frame, *, pix_fmt: str = "yuv420p") -> Any:
    """A frame as PyAV's, in another pixel format of the same range where asked."""
    picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
    for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = samples
    picture.color_range = FULL if frame.colour.full_range else LIMITED
    if pix_fmt == "yuv420p":
        return picture
    if pix_fmt.startswith("gray"):  # swscale takes grey for full range, whatever its tag
        shift = 0 if pix_fmt == "gray" else 2
        grey = av.VideoFrame(frame.width, frame.height, pix_fmt)
        rows = np.frombuffer(memoryview(grey.planes[0]), np.uint16 if shift else np.uint8)
        rows = rows.reshape(frame.height, -1)
        rows[:, : frame.width] = frame.y.astype(rows.dtype) << shift
        return grey
    matrix = {"bt601": 5, "bt709": 1}[frame.colour.matrix]
    rgb = av.VideoFormat(pix_fmt, 16, 16).is_rgb
    return picture.reformat(
        format=pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=picture.color_range,
        dst_color_range=FULL if rgb else picture.color_range,
    )


def make(
    path: Path,
    items: Sequence[Frame] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    format: str | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: Fraction | int = 25,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    mirror: tuple[bool, bool] = (False, False),
    sound: Sequence[str] = (),
    texts: Sequence[str] = (),
    languages: Sequence[str] = (),
    chapters: Sequence[tuple[int, int, str]] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Encode `items` (10 frames by default) and other tracks to `path`.

    `sound` and `texts` are encoder names, one track each; `languages` go to these in turn.
    """
    items = frames() if items is None else items
    need_encoder(codec)
    if options is None:
        options = {"qp": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=format) as container:
        video: Any = container.add_stream(codec, rate=rate, options=options)
        video.width, video.height, video.pix_fmt = items[0].width, items[0].height, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if tags is not None:
            context = video.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
                tags
            )
        if aspect is not None:
            video.sample_aspect_ratio = aspect
        if rotation or any(mirror):
            video.set_display_rotation(rotation, *mirror)
        container.metadata.update(metadata or {})
        container.set_chapters(
            [
                {
                    "id": n,
                    "start": start,
                    "end": end,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for n, (start, end, title) in enumerate(chapters)
            ]
        )
        others = [add_track(container, name) for name in (*sound, *texts)]
        for stream, language in zip(others, languages, strict=False):
            stream.metadata["language"] = language
        container.start_encoding()
        seconds = Fraction(len(items), 1) / Fraction(rate)
        for stream in others:
            packets = tone(stream, seconds) if stream.type == "audio" else _text(stream)
            container.mux(list(packets))
        for number, item in enumerate(items):
            coded = av_frame(item, pix_fmt=pix_fmt)
            coded.pts, coded.time_base = (pts[number] if pts else number), time_base
            container.mux(video.encode(coded))
        container.mux(video.encode(None))
    return path


def add_track(container: Any, name: str) -> Any:
    """A track of sound or text for an encoder's name."""
    need_encoder(name)
    if av.Codec(name, "w").type == "subtitle":
        stream = container.add_stream(name)
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.subtitle_header = _ASS_HEADER
        return stream
    layout = "5.1" if name == "aac" else "stereo"
    rate = 48000 if name != "libmp3lame" else 44100
    stream = container.add_stream(name, rate=rate)
    stream.codec_context.layout = layout
    return stream


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def tone(stream: Any, seconds: Fraction) -> Iterator[Any]:
    """The packets of a tone of 440 Hz."""
    context = stream.codec_context
    rate = context.sample_rate
    total = int(seconds * rate)
    block = 1024
    wave = (np.sin(np.arange(total) * 2 * np.pi * 440 / rate) * 0.3).astype(np.float32)
    channels = context.layout.nb_channels
    for start in range(0, total, block):
        part = np.tile(wave[start : start + block], (channels, 1))
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _text(stream: Any) -> Iterator[Any]:
    for number, (start, end) in enumerate(((40, 120), (200, 320))):
        line = f"{number},0,Default,,0,0,0,,line {number + 1}".encode()
        shown = av.subtitles.subtitle.SubtitleSet.create(line, 0, end - start, pts=start)
        packet = stream.codec_context.encode_subtitle(shown)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = end - start
        yield packet


def streams(path: Path) -> list[tuple[str, str, str | None]]:
    """The streams of a file: (type, codec, language) of each stream but data."""
    with av.open(str(path)) as container:
        return [
            (s.type, s.codec_context.codec.canonical_name if s.codec_context else "", s.language)
            for s in container.streams
            if s.type != "data"
        ]


def packet_times(path: Path, kind: str) -> list[float]:
    """The presentation times of all packets of the first stream of `kind`, sorted, in seconds."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return sorted(
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        )
