"""From frames to coded video packets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError, UsageError
from ..media.ffmpeg import FULL, LIMITED, SWS_MATRICES, av, matrix_tag, reason
from ..media.frame import Frame, StreamInfo
from ..media.frame_rate import FrameRate
from .destination import FileOptions
from .formats import ENCODERS, Encoder
from .gif import PaletteFilter

__all__ = ["VideoEncoder"]

U8 = NDArray[np.uint8]

_logger = logging.getLogger("livemosaic")

_BT601_CODE = 5  # of FFmpeg's AVColorSpace
# Who joins a stream in the middle sees nothing before the next key picture.
_KEY_INTERVAL_S = 2
_QP2LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA: its unit of quality per step of a quantiser scale
_VARIABLE_RATE = 0x0400  # AVFMT_VARIABLE_FPS
_TIMED = {"rtsp"}  # says the contrary, but each packet of RTP has its time
# AV_CODEC_FLAG_FRAME_DURATION: without it durations are lost, and the last frame has no length.
_FRAME_DURATION = 0x0100
# MP4 keeps how long each picture lasts in 32 bits: with finer ticks, gaps of some seconds, as a
# recording of a screen has, are too long for it.
_MAX_TIMESCALE = 1_000_000  # ticks per second
_MPEG_TICK = Fraction(1, 90_000)  # exact for all usual rates
# PyAV cannot set a stream's aspect: where the coded picture does not carry it, it is lost.
_NO_ASPECT = {"vp8", "vp9", "av1"}

# These copy (or code) a picture before they return. All others may keep a reference to it, in
# threads of their own or to predict from, and have to be given a copy.
_COPY_ON_ENTRY = {"libx264", "libx265", "libvpx", "libvpx-vp9", "libsvtav1"}

# Their bit streams have a fixed rate, or a time base too short for a container's.
_CONSTANT_RATE = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2"}


class VideoEncoder:
    """The video track of an output container.

    Parameters
    ----------
    container : an `av` output container whose header is not yet written
    codec : the `av.Codec` to use
    info : what will come
    low_delay : give out each picture at once, and a key picture every 2 s

    Attributes
    ----------
    origin : seconds of the input's time that are 0 in the output; None until the first frame
    frames : coded so far, repeated ones included
    fixed_rate : frames are repeated or left out to keep a rate
    dropped : how many had no place: at a fixed rate, or at a time of which there was one already
    repeated : how many were made to fill a fixed rate

    Raises
    ------
    UsageError
        when the encoder refuses its settings
    SinkError
        when it refuses the size
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
    ) -> None:
        self._name = name
        self._low_delay = low_delay
        self._codec = codec
        self._info = info
        self._size = (info.width, info.height)
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._palette = PaletteFilter() if codec.name == "gif" else None
        # Without times of their own, frames are repeated or left out to keep a fixed rate.
        format = container.format
        fixed_container = not format.flags & _VARIABLE_RATE and format.name not in _TIMED
        self.fixed_rate = fixed_container or codec.name in _CONSTANT_RATE
        # Such a container starts at its first frame, whatever the time.
        zeroed = fixed_container or options.zeroed
        self.origin: Fraction | None = None if zeroed else Fraction(0)
        self._reorders = not fixed_container
        self._previous: av.VideoFrame | None = None
        self._by_decoding_order = container.format.name in ("mp4", "mov")
        self._delay: int | None = None  # ticks from decoding to showing
        self._end = 0  # of the last picture, ticks
        self.frames = 0

        # At the mean rate, frames that come in a burst would have no place.
        self._rate = (info.peak_rate if self.fixed_rate else None) or info.rate
        self._time_base = 1 / self._rate if self.fixed_rate else info.time_base
        if self._by_decoding_order and self._time_base < 1 / _MAX_TIMESCALE:
            self._time_base = _MPEG_TICK
        if low_delay and not self.fixed_rate:
            # What is made between two frames of a slow source, to hide somebody, is sent at once.
            self._time_base = min(self._time_base, _MPEG_TICK)
        # At the container's own times, a gap is a longer picture, which is not repeated.
        max_gap_s = None if self.fixed_rate else 0
        self._frame_rate = FrameRate(1 / self._time_base, max_gap_s=max_gap_s)
        self._pixel_format = _pixel_format(codec)
        self._stream = container.add_stream(codec.name, rate=self._rate)
        self._configure(options)
        if info.sample_aspect_ratio != 1 and container.format.name in ("webm", "matroska"):
            self._warn_of_aspect()
        self._stream.metadata.update(info.video_metadata)
        self._stream.disposition = int(av.stream.Disposition.default)
        self._open(options)

    @property
    def dropped(self) -> int:
        return self._frame_rate.dropped

    @property
    def repeated(self) -> int:
        return self._frame_rate.repeated

    def encode(self, frame: Frame) -> Iterator[Any]:
        """Yield the packets that are ready once `frame` is in. Its arrays are free afterwards."""
        if (frame.width, frame.height) != self._size:
            raise SinkError(
                f"{self._name}: a frame of {frame.width}x{frame.height} came after "
                f"{self._size[0]}x{self._size[1]}; a file has one size"
            )
        time = frame.pts * frame.time_base
        if self.origin is None:
            self.origin = time
        time -= self.origin
        ticks = self._frame_rate.ticks(time)
        if not ticks:
            return
        if self._previous is not None:
            for tick in ticks[:-1]:
                yield from self._send(self._previous, tick, self._time_base)
        picture = self._picture(frame, keep=self.fixed_rate)
        # Half of them do not know their duration; the last one's is the only one that matters.
        lasts = self._time_base if self.fixed_rate else frame.duration * frame.time_base
        yield from self._send(picture, ticks[-1], lasts or 1 / self._rate)
        if self.fixed_rate:
            self._previous = picture

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        if self._palette is not None:
            for picture in self._palette.flush():
                yield from self._coded(picture)
        packets = list(self._coded(None))
        if packets and self._by_decoding_order:
            # The last packet is not the last picture. MP4 knows only how far packets are apart,
            # so that it is this one that has to last until the end.
            last = packets[-1]
            last.duration = max(last.duration or 0, self._end - last.dts - (self._delay or 0))
        yield from packets

    def _send(self, picture: av.VideoFrame, pts: int, duration: Fraction) -> Iterator[Any]:
        picture.time_base = self._time_base
        picture.pts = pts
        picture.duration = max(1, round(duration / self._time_base))
        self.frames += 1
        self._end = picture.pts + picture.duration
        for coded in (picture,) if self._palette is None else self._palette(picture):
            yield from self._coded(coded)

    def _coded(self, picture: av.VideoFrame | None) -> Iterator[Any]:
        for packet in self._stream.encode(picture):
            if self._delay is None:
                self._delay = packet.pts - packet.dts
            yield packet

    # ---- pictures ------------------------------------------------------------------------

    def _picture(self, frame: Frame, *, keep: bool) -> av.VideoFrame:
        """The frame as the encoder wants it; a copy if it is to be kept or the encoder does."""
        direct = self._pixel_format == "yuv420p"
        copy = keep or (direct and self._codec.name not in _COPY_ON_ENTRY)
        planes = (frame.y, frame.u, frame.v)
        flat = None if copy else _one_buffer(*planes)
        if flat is not None:
            picture = av.VideoFrame.from_numpy_buffer(flat, format="yuv420p")
        else:
            picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
            for plane, samples in zip(picture.planes, planes, strict=True):
                _samples(plane)[:] = samples
        if direct:
            return picture
        return self._convert(picture, frame)

    def _convert(self, picture: av.VideoFrame, frame: Frame) -> av.VideoFrame:
        matrix = SWS_MATRICES[frame.colour.matrix]
        range_in = FULL if frame.colour.full_range else LIMITED
        format = self._pixel_format
        full = av.VideoFormat(format, 16, 16).is_rgb or format.startswith("yuvj")
        flags = av.video.reformatter.Interpolation
        quality = flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP
        if format.startswith("yuvj") and frame.colour.matrix != "bt601":
            # JPEG is BT.601, and swscale changes the matrix by way of R'G'B' only.
            picture = self._reformatter.reformat(
                picture,
                format="rgb24",
                src_colorspace=matrix,
                src_color_range=range_in,
                dst_color_range=FULL,
                interpolation=quality,
            )
            matrix, range_in = SWS_MATRICES["bt601"], FULL
        return self._reformatter.reformat(
            picture,
            format=format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=range_in,
            dst_color_range=FULL if full else range_in,
            interpolation=quality,
        )

    # ---- settings ------------------------------------------------------------------------

    def _configure(self, options: FileOptions) -> None:
        info, context = self._info, self._stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "pal8" if self._palette is not None else self._pixel_format
        context.time_base = self._time_base
        self._stream.time_base = self._time_base
        context.framerate = self._rate
        context.sample_aspect_ratio = info.sample_aspect_ratio
        # Frames side by side are a delay of one frame per thread.
        context.thread_type = "SLICE" if self._low_delay else "AUTO"
        # 0 lets the encoder choose. x264 takes half as many again as there are processors, and is
        # 10 % faster for it, for 70 MB more at 5120x2880.
        context.thread_count = options.threads
        context.flags |= _FRAME_DURATION
        self._tag(context)
        defaults = ENCODERS.get(self._codec.name, Encoder())
        context.options = dict(defaults.options)
        if not self._reorders:
            context.options["bf"] = "0"  # AVI and Y4M have no order of display of their own
        if self._low_delay:
            context.options.update({"bf": "0", **defaults.low_delay})
            context.flags |= av.codec.context.Flags.low_delay
            context.gop_size = max(1, round(_KEY_INTERVAL_S * self._rate))
        if options.preset is not None:
            context.options["preset"] = options.preset
        if options.crf is not None:
            context.options["crf"] = f"{options.crf:g}"
        if defaults.qscale is not None:
            context.qscale = True
            context.global_quality = defaults.qscale * _QP2LAMBDA

    def _warn_of_aspect(self) -> None:
        if self._codec.canonical_name in _NO_ASPECT:
            _logger.warning(
                "%s: the pixels are not square, and %s cannot say so there: use .mp4, or libx264",
                self._name,
                self._codec.name,
            )

    def _tag(self, context: Any) -> None:
        colour = self._info.colour
        primaries, transfer, said, range_ = colour.tags
        context.color_primaries, context.color_trc = primaries, transfer
        format = av.VideoFormat(context.pix_fmt, 16, 16)
        if format.is_rgb or format.has_palette:
            return  # no matrix, and always full range
        if self._pixel_format.startswith("yuvj"):
            context.colorspace, context.color_range = _BT601_CODE, FULL
            return
        context.colorspace = matrix_tag(said, colour.matrix, *self._size)
        context.color_range = FULL if colour.full_range else range_

    def _open(self, options: FileOptions) -> None:
        context = self._stream.codec_context
        try:
            context.open()
        except (av.error.FFmpegError, ValueError, OverflowError) as error:
            width, height = self._size
            asked = [
                f"--{key} {value}"
                for key, value in (("preset", options.preset), ("crf", options.crf))
                if value is not None
            ]
            if asked:
                raise UsageError(
                    f"codec {self._codec.name}: it refuses {' and '.join(asked)}; "
                    "leave it out, or look up what the encoder takes"
                ) from error
            cure = "ask for an even size" if (width | height) & 1 else "try another --codec"
            raise SinkError(
                f"{self._name}: the encoder {self._codec.name} cannot be opened for "
                f"{width}x{height}: {reason(error)}; {cure}"
            ) from error


def _pixel_format(codec: Any) -> str:
    """The format nearest to 8-bit 4:2:0 that `codec` takes."""
    names = [format.name for format in codec.video_formats or ()]
    if codec.name == "gif":
        return "rgb24"  # what the palette is made from
    if not names or names[0] == "yuv420p":
        return "yuv420p"
    if "yuvj420p" in names and names[0].startswith("yuvj"):
        return "yuvj420p"
    if "yuv420p" in names:
        return "yuv420p"
    best, _ = av.codec.codec.find_best_pix_fmt_of_list(names, "yuv420p")
    return best.name if best is not None else "yuv420p"


def _samples(plane: Any) -> U8:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _one_buffer(y: U8, u: U8, v: U8) -> U8 | None:
    """The three planes as one array (h * 3 / 2, w) without a copy, None if they do not lie so.

    PyAV wraps a whole I420 buffer only, and loses rows unless the height is a multiple of 4.
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
