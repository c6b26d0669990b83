"""From frames to encoded video packets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..errors import SinkError, UsageError
from ..media.colour import U8, Colour, halved
from ..media.deep import DeepColours, DeepInfo, is_wide
from ..media.ffmpeg import (
    EXACT,
    FULL,
    LIMITED,
    SWS_MATRICES,
    av,
    filtered,
    guess_matrix,
    matrix_tag,
    reason,
)
from ..media.frame import DeepPicture, Frame, StreamInfo
from ..media.frame_rate import FrameRate
from ..processors import codec_threads
from .base import FileOptions
from .formats import encoder_defaults, is_deep
from .hardware import GOP, hardware_of

_logger = logging.getLogger("livemosaic")

_BT601_CODE = 5  # of FFmpeg's AVColorSpace
_KEY_INTERVAL_S = 2  # viewers who join a stream see nothing before the next key frame
_MAX_DELAY_S = 0.7  # in an encoder: a recording that is cut off lacks these pictures
_MAX_BIT_RATE = 240_000_000  # of H.264 at level 5.1 and above
_QP2LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA: its unit of quality per step of a quantiser scale
_VARIABLE_RATE = 0x0400  # AVFMT_VARIABLE_FPS
# AV_CODEC_FLAG_FRAME_DURATION: without it durations are lost, and the last frame has no length.
_FRAME_DURATION = 0x0100
# MP4 stores the duration of a picture in 32 bits. In finer ticks, the gaps of some seconds in a
# screen recording are too long for it.
_MAX_TIMESCALE = 1_000_000  # ticks per second
# Without times, a longer pause of picture and sound is shortened to this: a damaged time would fill
# the disk with one picture.
_MAX_PAUSE_S = 30
_MAX_FILLED_S = 1  # of a pause, when the run ends
_MAX_MP4_TICKS = 2**31 - 1  # of one picture
# Viewers show a picture of a GIF for a tenth of a second if it lasts for less than two ticks.
_GIF_TICK, _GIF_SPACING = Fraction(1, 100), 2
_MPEG_TICK = Fraction(1, 90_000)  # exact for all usual rates
# PyAV cannot set a stream's aspect, which only these store in the picture. MP4 and MOV take it from
# the encoder.
_WITH_ASPECT = {"h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"}

_OPAQUE = {"h264", "hevc", "av1"}  # of hardware: it takes pictures with alpha, and drops that

# These copy (or encode) a picture before they return. All others may keep a reference to it, on
# their threads or to predict from it, and need a copy.
_COPY_ON_ENTRY = {"libx264", "libx265", "libvpx", "libvpx-vp9", "libsvtav1"}

# Their bit streams have a fixed rate, or a time base too short for a container's.
_CONSTANT_RATE = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2"}

# Codecs that say which range their samples have, alone or by a container. Players take others for
# limited.
_WITH_RANGE = {"h264", "hevc", "vp9", "av1"}
_WITH_RANGE_BY = {("ffv1", "matroska"), ("rawvideo", "yuv4mpegpipe")}
# Those that say their matrix, by themselves or in any codec. Players guess others by the size.
_WITH_MATRIX = _WITH_RANGE | {"mpeg2video", "prores", "utvideo"}
_WITH_MATRIX_OF_ALL = {"mp4", "mov", "matroska", "webm"}

# x265 reckons times of decoding from the picture of this number: if there are fewer, they are any.
_X265_DELAY = 3


class HardwareError(SinkError):
    """A hardware encoder cannot be opened."""


class VideoEncoder:
    """The video track of an output container.

    `UsageError` if the encoder refuses its options, `SinkError` if it refuses the size.

    Parameters
    ----------
    container : an `av` output container without a header yet
    codec : an `av.Codec`
    name : of the output, for messages
    low_delay : give out each picture at once, and a key frame every 2 s
    explain : called without arguments when hardware refuses; returns the reason, may be empty
    portable : the same pictures become the same bytes on every machine, by a single thread; for
        encoders that have `Encoder.portable`

    Attributes
    ----------
    origin : seconds of the input's time that are 0 in the output; None until the first frame. It
        grows when a pause is shortened
    fixed_rate : frames are repeated or dropped for a constant rate
    is_gif : frames are dropped that would be less than 1/50 s after another one
    frame_rate : counts them
    frames : encoded so far, repeated frames included
    hurried : set it to end the video in a pause of which more than a second is still to be filled
        with repeated frames
    """

    def __init__(
        self,
        container: Any,
        codec: Any,
        info: StreamInfo,
        *,
        options: FileOptions,
        name: str,
        low_delay: bool = False,
        explain: Callable[[], str] = str,
        portable: bool = False,
    ) -> None:
        self._explain = explain
        self._name, self._codec, self._info, self._low_delay = name, codec, info, low_delay
        self._portable = portable
        self._size = (info.width, info.height)
        self._is_mp4 = container.format.name in ("mp4", "mov")
        self._defaults = encoder_defaults(options, codec)
        wanted, self._deep = "yuv420p", info.deep if is_deep(codec.name) else None
        if self._deep is not None:
            wanted = "yuv420p10le"
        elif info.deep is not None and is_wide(info.deep.colour):
            _logger.warning("%s: %s keeps no HDR: brought to BT.709", name, codec.name)
        self._colour = info.colour if self._deep is None else self._deep.colour
        opaque = self._defaults.pixel_format or _pixel_format(codec, wanted)
        with_alpha = _with_alpha(codec) if info.alpha else None
        self._pixel_format, self._alpha = with_alpha or opaque, with_alpha is not None
        coding = codec.canonical_name
        keeps_range = coding in _WITH_RANGE or (coding, container.format.name) in _WITH_RANGE_BY
        self._full_range = self._colour.full_range and keeps_range
        tagged = coding in _WITH_MATRIX or container.format.name in _WITH_MATRIX_OF_ALL
        self._matrix = self._colour.matrix if tagged else guess_matrix(*self._size)
        if self._pixel_format.startswith("yuvj"):
            self._matrix = "bt601"  # of JPEG
        if info.alpha and not self._alpha:
            _logger.warning(
                "%s: %s keeps no transparency, so grey is there: use .webm, or prores_ks and .mov",
                name,
                codec.name,
            )
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._colours: DeepColours | None = None
        # Containers without times start at their first frame.
        variable_rate = container.format.flags & _VARIABLE_RATE
        self.fixed_rate = not variable_rate or codec.name in _CONSTANT_RATE
        zeroed = not variable_rate or options.zeroed
        self.origin: Fraction | None = None if zeroed else Fraction(0)
        self.frames = 0
        self.hurried = False
        self._ended = False
        self._previous: av.VideoFrame | None = None
        self._delay: int | None = None  # ticks from decoding to presentation
        self._end = 0  # of the last picture, ticks
        self._seen_s: Fraction | None = None  # the last picture's end, in the input's time
        self._max_pause_s: Fraction | None = None

        # At the mean rate, frames that come in a burst would have no place.
        self._rate = (info.peak_rate if self.fixed_rate else None) or info.rate
        self._time_base = 1 / self._rate if self.fixed_rate else info.time_base
        self.is_gif = codec.name == "gif"
        if self.is_gif:
            self._time_base = _GIF_TICK
        self._spacing = _GIF_SPACING if self.is_gif else 1
        if self._is_mp4 and self._time_base < 1 / _MAX_TIMESCALE:
            self._time_base = _MPEG_TICK
        if low_delay and not self.fixed_rate:
            # Privacy mode makes a picture between two frames of a slow source, to be sent at once.
            self._time_base = min(self._time_base, _MPEG_TICK)
        if self.fixed_rate:
            self._max_pause_s = Fraction(_MAX_PAUSE_S)
        elif self._is_mp4:  # FFmpeg makes the ticks finer than 1/10,000 s
            self._max_pause_s = min(self._time_base, Fraction(1, 20_000)) * _MAX_MP4_TICKS
        # At the container's own times, a gap is a longer picture, which is not repeated.
        max_gap_s = None if self.fixed_rate else 0
        self.frame_rate = FrameRate(1 / self._time_base, max_gap_s=max_gap_s, spacing=self._spacing)
        self._palette = _palette_graph(*self._size, self._time_base) if self.is_gif else None
        self._stream = container.add_stream(codec.name, rate=self._rate)
        self._stream.metadata.update(info.video_metadata)
        if self._alpha and container.format.name in ("webm", "matroska"):
            self._stream.metadata["alpha_mode"] = "1"  # of VP8 and VP9
        self._stream.disposition = int(av.stream.Disposition.default)
        self._configure(options, reorder=bool(variable_rate) and not low_delay)
        self._open(options)
        if info.sample_aspect_ratio != 1 and not self._is_mp4 and coding not in _WITH_ASPECT:
            _logger.warning(
                "%s: the pixels are not square, which %s cannot store there: use .mp4, or libx264",
                name,
                codec.name,
            )

    @property
    def extradata(self) -> bytes:
        """The header of the coding, as it will be in the container."""
        return bytes(self._stream.codec_context.extradata or b"")

    def encode(self, frame: Frame, *, heard_s: Fraction | None = None) -> Iterator[Any]:
        """Yield the packets that are ready once `frame` is in. Its arrays are free afterwards.

        `heard_s` is the end of the other tracks so far, in the input's time.
        """
        if (frame.width, frame.height) != self._size:
            raise SinkError(
                f"{self._name}: a frame of {frame.width}x{frame.height} came after "
                f"{self._size[0]}x{self._size[1]}; a file has one size"
            )
        if self._ended:
            return
        time = frame.pts * frame.time_base
        if self.origin is None:
            self.origin = time
        self.shorten_pause(time, heard_s)
        if self._max_pause_s is not None:
            self._seen_s = time + (frame.duration * frame.time_base or 1 / self._rate)
        ticks = self.frame_rate.ticks(time - self.origin)
        if not ticks:
            return
        if self._previous is not None:
            for tick in ticks[:-1]:
                if self.hurried and ticks[-1] - tick > _MAX_FILLED_S * self._rate:
                    self._ended = True
                    return
                yield from self._send(self._previous, tick, self._time_base)
        picture = self._picture(frame if self._alpha else frame.over_grey())
        # ProRes has the tags of its pictures, not of its track.
        picture.color_primaries, picture.color_trc = self._colour.tags[:2]
        # Many frames have no duration. Only that of the last one matters.
        duration = self._time_base if self.fixed_rate else frame.duration * frame.time_base
        yield from self._send(picture, ticks[-1], duration or 1 / self._rate)
        if self.fixed_rate:
            self._previous = picture

    def is_after_pause(self, time: Fraction, heard_s: Fraction | None) -> bool:
        """Whether the pause before `time` is longer than the format allows; see `encode`."""
        return self._max_pause_s is not None and self._pause_s(time, heard_s) > self._max_pause_s

    def shorten_pause(self, time: Fraction, heard_s: Fraction | None) -> None:
        """Shorten the pause before `time` if it is longer than the format allows."""
        max_s, pause_s = self._max_pause_s, self._pause_s(time, heard_s)
        if max_s is None or self.origin is None or pause_s <= max_s:
            return
        self.origin += pause_s - max_s
        _logger.warning(
            "%s: the input pauses for %.0f s, here for %.0f s, which is as long as the format "
            "allows: use .mkv",
            self._name,
            pause_s,
            max_s,
        )

    def _pause_s(self, time: Fraction, heard_s: Fraction | None) -> Fraction:
        """Seconds without picture and sound before `time`."""
        if self._seen_s is None:
            return Fraction(0)
        return time - max(self._seen_s, heard_s or self._seen_s)

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        if self._palette is not None:
            for picture in filtered(self._palette, None):
                yield from self._encode(picture)
        packets = list(self._encode(None))
        if packets and self._is_mp4:
            # MP4 stores only the distances of packets in decoding order. So the last packet, which
            # may not be the last picture, must last until the end.
            last = packets[-1]
            last.duration = max(last.duration or 0, self._end - last.dts - (self._delay or 0))
        yield from packets

    def _send(self, picture: av.VideoFrame, pts: int, duration: Fraction) -> Iterator[Any]:
        picture.time_base = self._time_base
        picture.pts = pts
        picture.duration = max(self._spacing, round(duration / self._time_base))
        self.frames += 1
        self._end = picture.pts + picture.duration
        for it in (picture,) if self._palette is None else filtered(self._palette, picture):
            yield from self._encode(it)

    def _encode(self, picture: av.VideoFrame | None) -> Iterator[Any]:
        for packet in self._stream.encode(picture):
            if self._codec.name == "libx265" and self.frames < _X265_DELAY:
                packet.dts = packet.pts
            if self._delay is None:
                self._delay = packet.pts - packet.dts
            yield packet

    # ---- pictures ------------------------------------------------------------------------

    def _picture(self, frame: Frame) -> av.VideoFrame:
        # A copy if the encoder needs it later.
        deep = frame.deep
        if deep is None and is_wide(self._colour):
            deep = self._deepened(frame)  # such as a picture that hides the input
        if self._deep is not None and deep is not None:
            return self._convert(_deep_picture(deep), deep.colour)
        same = (frame.colour.matrix, frame.colour.full_range) == (self._matrix, self._full_range)
        converted = self._pixel_format not in ("yuv420p", "yuva420p") or not same
        kept = (
            self.fixed_rate or self._alpha or not (converted or self._codec.name in _COPY_ON_ENTRY)
        )
        planes = [frame.y, frame.u, frame.v]
        flat = None if kept else _one_buffer(*planes)
        if flat is not None:
            picture = av.VideoFrame.from_numpy_buffer(flat, format="yuv420p")
        else:
            if self._alpha:
                opaque = np.broadcast_to(np.uint8(255), frame.y.shape)
                planes.append(opaque if frame.alpha is None else frame.alpha)
            format = "yuva420p" if self._alpha else "yuv420p"
            picture = av.VideoFrame(frame.width, frame.height, format)
            for plane, samples in zip(picture.planes, planes, strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8)
                rows.reshape(plane.height, -1)[:, : plane.width] = samples
        return self._convert(picture, frame.colour) if converted else picture

    def _deepened(self, frame: Frame) -> DeepPicture:
        if self._colours is None:
            self._colours = DeepColours(self._colour)
        y, u, v = cv2.split(self._colours(frame.to_bgr()))
        return DeepPicture(np.asarray(y, np.uint16), halved(u), halved(v), self._colour)

    def _convert(self, picture: av.VideoFrame, colour: Colour) -> av.VideoFrame:
        matrix = SWS_MATRICES[colour.matrix]
        range_ = FULL if colour.full_range else LIMITED
        format = self._pixel_format
        is_rgb = av.VideoFormat(format, 16, 16).is_rgb
        if colour.matrix != self._matrix and not is_rgb:
            # swscale changes the matrix only by way of R'G'B'.
            picture = self._reformat(picture, "rgb24", matrix, range_, FULL)
            matrix, range_ = SWS_MATRICES[self._matrix], FULL
        is_full = format.startswith("yuvj") or is_rgb or self._full_range
        return self._reformat(picture, format, matrix, range_, FULL if is_full else LIMITED)

    def _reformat(
        self, picture: av.VideoFrame, format: str, matrix: int, range_in: int, range_out: int
    ) -> av.VideoFrame:
        return self._reformatter.reformat(
            picture,
            format=format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=range_in,
            dst_color_range=range_out,
            interpolation=EXACT,
        )

    # ---- options -------------------------------------------------------------------------

    def _configure(self, options: FileOptions, *, reorder: bool) -> None:
        info, context = self._info, self._stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "pal8" if self._palette is not None else self._pixel_format
        context.time_base = self._stream.time_base = self._time_base
        context.framerate = self._rate
        context.sample_aspect_ratio = info.sample_aspect_ratio
        # Frame threads would delay the output by one frame each.
        context.thread_type = "SLICE" if self._low_delay else "AUTO"
        # By a single thread: the bytes of many depend on their number.
        context.thread_count = 1 if self._portable else codec_threads()
        context.flags |= _FRAME_DURATION
        if self._is_mp4 and self._codec.canonical_name == "hevc":
            context.codec_tag = "hvc1"  # no player of Apple takes hev1, FFmpeg's own
        self._tag(context)
        defaults = self._defaults
        context.options = dict(defaults.options)
        if self._portable:
            context.options.update(defaults.portable or {})
        elif self._low_delay or (info.live and defaults.delay > _MAX_DELAY_S * self._rate):
            context.options.update(defaults.low_delay)
        elif info.live:
            context.options.update(defaults.recording)
        if self._deep is not None:
            self._keep_mastering(context.options, self._deep)
        if not reorder:  # AVI and Y4M have no presentation order
            context.options["bf"] = "0"
        if self._low_delay:
            context.flags |= av.codec.context.Flags.low_delay
            context.gop_size = max(1, round(_KEY_INTERVAL_S * self._rate))
        if options.preset is not None:
            context.options["preset"] = defaults.presets.get(options.preset, options.preset)
        if defaults.qscale is not None:
            context.qscale = True
            context.global_quality = defaults.qscale * _QP2LAMBDA
        if defaults.quality is None:
            if options.crf is not None:
                context.options["crf"] = f"{options.crf:g}"
            return
        if not self._low_delay:
            context.gop_size = GOP
        quality = defaults.quality(options.crf)
        context.options.update(quality.options)
        if quality.scale is not None:
            context.qscale = quality.is_qscale
            context.global_quality = quality.scale * (_QP2LAMBDA if quality.is_qscale else 1)
        if quality.bits_per_pixel:
            bits = quality.bits_per_pixel * info.width * info.height * self._rate
            context.bit_rate = min(round(bits), _MAX_BIT_RATE)

    def _keep_mastering(self, options: dict[str, str], deep: DeepInfo) -> None:
        """Add the mastering data of HDR10 to the encoder's options."""
        data = list(_mastering(deep, self._codec.name))
        key = {"libx265": "x265-params", "libsvtav1": "svtav1-params"}.get(self._codec.name)
        if key is not None and data:
            options[key] = ":".join([*filter(None, [options.get(key)]), *data])
        elif deep.mastering or deep.light:
            _logger.warning(
                "%s: %s leaves out the mastering data of HDR10: libx265 keeps it",
                self._name,
                self._codec.name,
            )

    def _tag(self, context: Any) -> None:
        colour = self._colour
        context.color_primaries, context.color_trc, matrix, range_ = colour.tags
        format = av.VideoFormat(context.pix_fmt, 16, 16)
        if format.is_rgb or format.has_palette:
            return  # no matrix, and always full range
        if self._pixel_format.startswith("yuvj"):
            context.colorspace, context.color_range = _BT601_CODE, FULL
            return
        context.colorspace = matrix_tag(matrix, colour.matrix, *self._size)
        if colour.full_range:
            range_ = FULL if self._full_range else LIMITED
        context.color_range = range_

    def _open(self, options: FileOptions) -> None:
        try:
            self._stream.codec_context.open()
        except (av.error.FFmpegError, ValueError, OverflowError) as error:
            name, (width, height) = self._codec.name, self._size
            if (kind := hardware_of(name)) is not None:
                # Without it, FFmpeg's error is anything from permissions to memory.
                why = f" ({text})" if (text := self._explain()) else ""
                raise HardwareError(
                    f"{self._name}: codec {name} needs {kind.need}, which cannot be used here{why};"
                    " use auto, or look at livemosaic doctor"
                ) from error
            values = {"preset": options.preset, "crf": options.crf}
            asked = [f"{key} {value}" for key, value in values.items() if value is not None]
            if asked:
                raise UsageError(
                    f"codec {name}: it refuses {' and '.join(asked)}; leave it out, or look up "
                    "what the encoder takes"
                ) from error
            fix = "ask for an even size" if (width | height) & 1 else "try another codec"
            raise SinkError(
                f"{self._name}: the encoder {name} cannot be opened for {width}x{height}: "
                f"{reason(error)}; {fix}"
            ) from error


def _pixel_format(codec: Any, wanted: str) -> str:
    """The format nearest to the wanted one that `codec` takes."""
    if codec.name == "gif":
        return "rgb24"  # for the palette
    names = [format.name for format in codec.video_formats or ()]
    if names and names[0].startswith("yuvj"):
        return "yuvj420p"
    best, _ = av.codec.codec.find_best_pix_fmt_of_list(names or [wanted], wanted)
    return best.name if best is not None else wanted


def _with_alpha(codec: Any) -> str | None:
    """The format with alpha that `codec` takes and keeps, if any."""
    if codec.canonical_name in _OPAQUE and hardware_of(codec.name) is not None:
        return None
    names = [it.name for it in codec.video_formats or () if any(c.is_alpha for c in it.components)]
    best, _ = av.codec.codec.find_best_pix_fmt_of_list(names, "yuva420p") if names else (None, 0)
    return best.name if best is not None else None


def _deep_picture(deep: DeepPicture) -> av.VideoFrame:
    height, width = deep.y.shape
    picture = av.VideoFrame(width, height, "yuv420p10le")
    for plane, samples in zip(picture.planes, deep.planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint16)
        rows.reshape(plane.height, -1)[:, : plane.width] = samples
    return picture


def _mastering(deep: DeepInfo, encoder: str) -> Iterator[str]:
    """The mastering data of HDR10 as options of x265 or SVT-AV1 (or none)."""
    if deep.mastering is not None:
        x265 = encoder == "libx265"  # counts in units of 0.00002 and 0.0001
        points = [f"{round(it * 50_000)}" if x265 else f"{it:.5f}" for it in deep.mastering[:8]]
        levels = [f"{round(it * 10_000)}" if x265 else f"{it:.4f}" for it in deep.mastering[8:]]
        places = zip(("G", "B", "R", "WP"), points[::2], points[1::2], strict=True)
        text = "".join(f"{name}({x},{y})" for name, x, y in places)
        yield f"{'master-display' if x265 else 'mastering-display'}={text}L({','.join(levels)})"
    if deep.light is not None:
        name = "max-cll" if encoder == "libx265" else "content-light"
        yield f"{name}={deep.light[0]},{deep.light[1]}"


def _palette_graph(width: int, height: int, time_base: Fraction) -> av.filter.Graph:
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


def _one_buffer(y: U8, u: U8, v: U8) -> U8 | None:
    """The planes as one array (h * 3 / 2, w) without a copy, None if they are not in one buffer.

    PyAV wraps only a whole I420 buffer, and loses rows unless the height is a multiple of 4.
    """
    height, width = y.shape
    stride = y.strides[0]
    if height % 4 or width % 2 or stride % 2 or stride < width:
        return None
    if any(p.strides != (stride // 2, 1) for p in (u, v)) or y.strides[1] != 1:
        return None
    at_y, at_u, at_v = (p.__array_interface__["data"][0] for p in (y, u, v))
    if at_u != at_y + height * stride or at_v != at_u + height // 2 * (stride // 2):
        return None
    return np.lib.stride_tricks.as_strided(y, (height * 3 // 2, width), (stride, 1))
