"""Which containers a file may be, what goes into each, and what a person may ask for."""

from __future__ import annotations

import contextlib
import difflib
import io
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..media.ffmpeg import av
from .destination import FileOptions

__all__ = [
    "ENCODERS",
    "FORMATS",
    "NETWORK_OPTIONS",
    "Format",
    "find_codec",
    "find_format",
    "supported_options",
]


_MAX_CRF = 63  # VP9's and AV1's; x264's end is 51, and it takes more for that


@dataclass(frozen=True, slots=True)
class Format:
    """A container, and what to put into it.

    Attributes
    ----------
    muxer : FFmpeg's name
    codec : video encoder unless asked otherwise
    audio, subtitle : encoder for tracks that cannot be copied, None when it holds no such track
    audio_copies, subtitle_copies : codecs that are copied; None for whatever the muxer takes
    codecs : video codecs it takes, None to ask the muxer
    options : for the muxer
    timeless : its sound has no times, and is played from the start of the picture on
    """

    muxer: str
    codec: str
    audio: str | None = None
    subtitle: str | None = None
    audio_copies: frozenset[str] | None = frozenset()
    subtitle_copies: frozenset[str] | None = frozenset()
    codecs: frozenset[str] | None = None
    options: dict[str, str] = field(default_factory=dict)
    timeless: bool = False


# Muxers accept more than players do: PCM or Vorbis in MP4 is written happily and plays nowhere.
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_MOV_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"})
_AVI_AUDIO = frozenset({"mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8"})
_TS_AUDIO = frozenset({"aac", "mp2", "mp3", "ac3", "eac3"})
# These two muxers never say what they take.
_TS_VIDEO = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"})
_Y4M_VIDEO = frozenset({"rawvideo"})

# The encoder delay of sound has times below 0. Making room for it would shift the picture too.
_AS_IS = {"avoid_negative_ts": "disabled"}

_MP4 = Format("mp4", "libx264", "aac", "mov_text", _MP4_AUDIO, frozenset({"mov_text"}))
_MOV = Format("mov", "libx264", "aac", "mov_text", _MOV_AUDIO, frozenset({"mov_text"}))
_MKV = Format("matroska", "libx264", "aac", "srt", None, None, options=_AS_IS)
_WEBM = Format("webm", "libvpx-vp9", "libopus", "webvtt", None, None, options=_AS_IS)
_AVI = Format("avi", "libx264", "libmp3lame", None, _AVI_AUDIO, options=_AS_IS, timeless=True)
_TS = Format("mpegts", "libx264", "aac", None, _TS_AUDIO, frozenset({"dvb_subtitle"}), _TS_VIDEO)
# At the end it would go back to write its length, which no server can.
_NO_LENGTH = {"flvflags": "no_duration_filesize"}
_FLV = Format("flv", "libx264", "aac", None, frozenset({"aac", "mp3"}), options=_NO_LENGTH)
# TCP loses nothing and passes every firewall.
_BY_TCP = {"rtsp_transport": "tcp"}
_GIF = Format("gif", "gif")
_Y4M = Format("yuv4mpegpipe", "rawvideo", codecs=_Y4M_VIDEO)

# By file ending; the names that `--format` takes are these and the muxers' own.
FORMATS: dict[str, Format] = {
    "mp4": _MP4,
    "m4v": _MP4,
    "mov": _MOV,
    "mkv": _MKV,
    "webm": _WEBM,
    "avi": _AVI,
    "ts": _TS,
    "gif": _GIF,
    "y4m": _Y4M,
}
_MUXERS = {format.muxer: format for format in FORMATS.values()}
_IMAGES = {"png", "jpg", "jpeg"}

# What the usual servers and receivers expect behind an address.
URL_FORMATS: dict[str, Format] = {
    "rtmp": _FLV,
    "rtmps": _FLV,
    "rtsp": Format("rtsp", "libx264", "aac", None, _TS_AUDIO, codecs=_TS_VIDEO, options=_BY_TCP),
    "udp": _TS,
    "tcp": _TS,
    "srt": _TS,
}


# For every container that goes over the network: each picture is sent when it is there, and does
# not wait for sound that does not come (10 s by default, in microseconds).
NETWORK_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "200000"}


@dataclass(frozen=True, slots=True)
class Encoder:
    """What an encoder is told unless asked otherwise.

    Attributes
    ----------
    options : its own
    qscale : a fixed quantiser scale
    low_delay : options that make it give out each picture at once
    """

    options: dict[str, str] = field(default_factory=dict)
    qscale: int | None = None
    low_delay: dict[str, str] = field(default_factory=dict)


ENCODERS: dict[str, Encoder] = {
    # The encoder is the limit of file to file. crf 20: tiles keep their fine detail.
    "libx264": Encoder({"preset": "veryfast", "crf": "20"}, low_delay={"tune": "zerolatency"}),
    "libx265": Encoder(
        {"preset": "ultrafast", "crf": "22", "x265-params": "log-level=none"},
        low_delay={"tune": "zerolatency"},
    ),
    # b=0 makes crf the quality asked for, not an upper bound within a bit rate.
    "libvpx-vp9": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "30", "b": "0"},
        low_delay={"lag-in-frames": "0"},
    ),
    "libvpx": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b": "20M"},
        low_delay={"lag-in-frames": "0"},
    ),
    "libsvtav1": Encoder({"preset": "10", "crf": "30"}),
    # Their default is a bit rate of 200 kbit/s, which is for another century's pictures.
    "mpeg4": Encoder(qscale=3),
    "mpeg2video": Encoder(qscale=3),
    "mjpeg": Encoder(qscale=2),
}


def find_format(name: str, *, output: str) -> Format:
    """The format that is called `name` (a file ending or FFmpeg's name)."""
    format = FORMATS.get(name.lower()) or _MUXERS.get(name.lower())
    if format is None:
        known = ", ".join(sorted({*FORMATS, *_IMAGES}))
        what = f"the ending .{name} is not known" if name else "it has no ending"
        raise UsageError(f"{output}: {what}; use one of {known}")
    return format


_X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)


def find_codec(format: Format, options: FileOptions, *, output: str) -> Any:
    """The `av.Codec` that will encode, once it is sure that everything asked of it makes sense."""
    name = options.codec or format.codec
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        raise UsageError(f"codec {name}: there is no such encoder{_similar(name)}") from None
    if codec.type != "video":
        raise UsageError(f"codec {name}: it encodes {codec.type}, not video; try {format.codec}")
    if not _takes(format, codec):
        raise UsageError(
            f"{output}: {format.muxer} cannot hold {codec.name}; "
            f"use --codec {format.codec}, or an .mkv or .mov file"
        )
    private = _private_options(codec)
    for option, value in (("preset", options.preset), ("crf", options.crf)):
        if value is not None and option not in private:
            raise UsageError(f"codec {codec.name}: it has no {option}; leave --{option} out")
    x26x = codec.name in ("libx264", "libx265")
    if x26x and options.preset is not None and options.preset not in _X26X_PRESETS:
        # The encoder would complain on standard error by itself.
        presets = ", ".join(_X26X_PRESETS)
        raise UsageError(f"--preset {options.preset}: {codec.name} knows {presets}")
    if options.crf is not None and not 0 <= options.crf <= _MAX_CRF:
        raise UsageError(f"--crf {options.crf:g}: it must be 0 (best) to {_MAX_CRF} (smallest)")
    return codec


def supported_options(format: Format, options: FileOptions) -> set[str]:
    """Which of `codec`, `preset` and `crf` go with a container, given the others."""
    name, found = format.codec, set()
    with contextlib.suppress(ValueError):
        if options.codec is not None and _takes(format, av.Codec(options.codec, "w")):
            name, found = options.codec, {"codec"}
    private = _private_options(av.Codec(name, "w"))
    return found | {key for key in ("preset", "crf") if key in private}


def _takes(format: Format, codec: Any) -> bool:
    if format.codecs is not None:
        return codec.canonical_name in format.codecs
    # Nothing is written: this only asks the muxer.
    with av.open(io.BytesIO(), "w", format=format.muxer) as container:
        return codec.name in container.supported_codecs


def _private_options(codec: Any) -> set[str]:
    context = av.CodecContext.create(codec.name, "w")
    return {option.name for option in context.supported_options.private}


def _similar(name: str) -> str:
    encoders = [c for c in av.codecs_available if _is_video_encoder(c)]
    close = difflib.get_close_matches(name, encoders, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; try libx264, libx265 or ffv1"


def _is_video_encoder(name: str) -> bool:
    try:
        return av.Codec(name, "w").type == "video"
    except ValueError:
        return False
