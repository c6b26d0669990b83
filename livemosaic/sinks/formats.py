"""Containers and encoders: what goes into each container, and the defaults of each encoder."""

from __future__ import annotations

import contextlib
import difflib
import io
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError, UsageError
from ..media.deep import is_wide
from ..media.ffmpeg import av
from ..media.frame import StreamInfo
from .base import FileOptions


@dataclass(frozen=True, slots=True)
class Encoder:
    """Defaults of a video encoder."""

    options: dict[str, str] = field(default_factory=dict)  # `preset` and `crf` replace two of them
    low_delay: dict[str, str] = field(default_factory=dict)  # more of them, to keep no frame
    recording: dict[str, str] = field(default_factory=dict)  # of a live input, to keep few
    delay: int = 0  # frames that it keeps then
    qscale: int | None = None  # a fixed quantiser scale
    encoder: str | None = None  # FFmpeg's name of it, where users know another
    pixel_format: str | None = None  # None: the nearest to the input's


ENCODERS: dict[str, Encoder] = {
    # The encoder limits the speed from file to file. At crf 20 tiles keep their fine detail.
    "libx264": Encoder(
        {"preset": "veryfast", "crf": "20"},
        {"tune": "zerolatency"},
        # As large and as good as above; with less foresight, the same crf is not as good.
        {
            "crf": "18",
            "bf": "2",
            "rc-lookahead": "4",
            "x264-params": "sync-lookahead=0:sliced-threads=1",
        },
        delay=5,
    ),
    "libx265": Encoder(
        {"preset": "ultrafast", "crf": "22", "x265-params": "log-level=none"},
        {"tune": "zerolatency"},
        delay=11,
    ),
    # With b=0, crf is a constant quality, not an upper bound within a bit rate.
    "libvpx-vp9": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "30", "b": "0"},
        {"lag-in-frames": "0"},
        delay=24,
    ),
    "libvpx": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b": "20M"}, {"lag-in-frames": "0"}
    ),
    "libsvtav1": Encoder(
        {"preset": "10", "crf": "30"}, {"svtav1-params": "pred-struct=1:lookahead=0"}, delay=54
    ),
    # Their own default is 200 kbit/s, too little for pictures of today.
    "mpeg4": Encoder(qscale=3),
    "mpeg2video": Encoder(qscale=3),
    "mjpeg": Encoder(qscale=2),
    # Without a profile it takes only broadcasters' sizes and bit rates.
    "dnxhd": Encoder({"profile": "dnxhr_hq"}, pixel_format="yuv422p"),
    **{
        f"dnxhr_{profile}": Encoder(
            {"profile": f"dnxhr_{profile}"}, encoder="dnxhd", pixel_format=it
        )
        for profile, it in {
            "lb": "yuv422p",
            "sq": "yuv422p",
            "hq": "yuv422p",
            "hqx": "yuv422p10le",
            "444": "yuv444p10le",
        }.items()
    },
}
# The usual names of formats, and their encoders.
_USUAL = {
    "h264": "libx264",
    "avc": "libx264",
    "x264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "dnxhr": "dnxhd",
}

# Encoders whose users expect 10 bits. Few players take them in H.264 and VP9.
_DEEP = {"libx265", "libsvtav1", "prores", "prores_ks", "prores_aw", "ffv1", "dnxhd", "v210"}
_DEEP_KINDS = ("hevc_", "av1_", "prores_")  # of hardware
_HDR_CODEC = "libx265"  # the default for HDR that is kept

# By the ending of an encoder's name: a part of the machine that it needs.
HARDWARE = {
    "nvenc": "an NVIDIA card and its driver",
    "qsv": "an Intel graphics processor and its driver",
    "amf": "an AMD card and its driver",
    "vaapi": "a graphics card with a VA-API driver",
    "vulkan": "a graphics card with a Vulkan driver for video",
    "videotoolbox": "macOS",
    "mf": "Windows",
    "v4l2m2m": "an encoder of the system, as a Raspberry Pi has it",
}


@dataclass(frozen=True, slots=True)
class Format:
    """A container, and what goes into it."""

    muxer: str  # FFmpeg's name
    codec: str = "libx264"  # the default video encoder
    # Encoders for tracks that cannot be copied; None if it has no such tracks.
    audio: str | None = None
    subtitle: str | None = None
    # Codecs that are copied; None: all that the muxer accepts.
    audio_copies: frozenset[str] | None = frozenset()
    subtitle_copies: frozenset[str] | None = frozenset()
    codecs: frozenset[str] | None = None  # of video; None: ask the muxer
    options: dict[str, str] = field(default_factory=dict)  # for the muxer
    timeless: bool = False  # sound has no times, and plays from the start of the picture on


# Muxers accept more than players do: PCM or Vorbis in MP4 can be written and plays nowhere.
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_MOV_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"})
_AVI_AUDIO = frozenset({"mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8"})
_TS_AUDIO = frozenset({"aac", "mp2", "mp3", "ac3", "eac3"})
# The muxers of MPEG-TS, RTSP and Y4M do not tell what they accept.
_TS_VIDEO = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"})

_MOV_TEXT = frozenset({"mov_text"})
# The encoder delay of sound has times below 0. By default muxers shift the picture, too.
_AS_IS = {"avoid_negative_ts": "disabled"}
_MP4 = Format("mp4", "libx264", "aac", "mov_text", _MP4_AUDIO, _MOV_TEXT)
_TS = Format("mpegts", "libx264", "aac", None, _TS_AUDIO, frozenset({"dvb_subtitle"}), _TS_VIDEO)
# By default the FLV muxer goes back at the end to write its length, which no server can.
_FLV = Format(
    *("flv", "libx264", "aac", None, frozenset({"aac", "mp3"})),
    options={"flvflags": "no_duration_filesize"},
)
_RTSP = Format(
    *("rtsp", "libx264", "aac", None, _TS_AUDIO),
    codecs=_TS_VIDEO,
    options={"rtsp_transport": "tcp"},  # loses nothing and passes every firewall
)

# By the ending of a file; `--format` takes these names and the muxers' own.
FORMATS: dict[str, Format] = {
    "mp4": _MP4,
    "m4v": _MP4,
    "mov": Format("mov", "libx264", "aac", "mov_text", _MOV_AUDIO, _MOV_TEXT),
    "mkv": Format("matroska", "libx264", "aac", "srt", None, None, options=_AS_IS),
    "webm": Format("webm", "libvpx-vp9", "libopus", "webvtt", None, None, options=_AS_IS),
    "avi": Format("avi", "libx264", "libmp3lame", None, _AVI_AUDIO, options=_AS_IS, timeless=True),
    "ts": _TS,
    "gif": Format("gif", "gif"),
    "y4m": Format("yuv4mpegpipe", "rawvideo", codecs=frozenset({"rawvideo"})),
}
_MUXERS = {format.muxer: format for format in FORMATS.values()}
# Endings that an output without a name of its own takes from its input; the first is the default.
BESIDE_VIDEOS = ("mp4", *(name for name in FORMATS if name not in ("mp4", "y4m")))
BESIDE_PICTURES = ("png", "jpg", "jpeg", "webp")

# By the scheme of an address: what the usual servers and receivers expect.
URL_FORMATS = {"rtmp": _FLV, "rtmps": _FLV, "rtsp": _RTSP, "udp": _TS, "tcp": _TS, "srt": _TS}
# For every container over the network: each picture is sent at once, and does not wait for sound
# that does not come (by default 10 s; here microseconds).
NETWORK_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "200000"}

# For files of a live input, which cannot be repeated: they play at any moment, also after SIGKILL.
LIVE_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "500000"}  # microseconds
# A file of fragments, which becomes a usual one at its end.
_FRAGMENTS = {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "250000"}
_SHORT_CLUSTERS = {"cluster_time_limit": "250"}  # milliseconds
LIVE_MUXER_OPTIONS = {
    "mp4": _FRAGMENTS,
    "mov": _FRAGMENTS,
    "matroska": _SHORT_CLUSTERS,
    "webm": _SHORT_CLUSTERS,
}

_MAX_CRF = 63  # of VP9 and AV1
_MAX_CRF_H26X = 51  # of libx264 and libx265
_PRESETS = (  # of x264 and x265
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)


def find_format(name: str, *, output: str) -> Format:
    """The format with this name: the ending of a file, or FFmpeg's name of a muxer."""
    format = FORMATS.get(name.lower()) or _MUXERS.get(name.lower())
    if format is None:
        known = ", ".join(sorted({*FORMATS, *BESIDE_PICTURES}))
        problem = f"the ending .{name} is not known" if name else "it has no ending"
        raise UsageError(f"{output}: {problem}; use one of {known}")
    return format


def find_codec(
    format: Format, options: FileOptions, *, output: str, info: StreamInfo | None = None
) -> Any:
    """The `av.Codec` to encode `info` with; raises `OptionError` if it does not fit the container,
    or does not have the options."""
    name = options.codec or format.codec
    if options.codec is None and info is not None and info.deep and is_wide(info.deep.colour):
        name = _HDR_CODEC if keeps_hdr(format, options) else name
    try:
        codec = av.Codec(_encoder(name), "w")
    except ValueError:
        raise OptionError("codec", name, f"there is no such encoder{_similar(name)}") from None
    if codec.type != "video":
        problem = f"it encodes {codec.type}, not video; try {format.codec}"
        raise OptionError("codec", name, problem)
    if not _takes(format, codec):
        problem = f"{output}: {format.muxer} cannot contain it"
        raise OptionError("codec", name, f"{problem}; use {format.codec}, or an .mkv file")
    private = _private_options(codec)
    for option, value in (("preset", options.preset), ("crf", options.crf)):
        if value is not None and option not in private:
            raise OptionError(option, value, f"codec {codec.name} has no {option}; leave it out")
    closed = codec.name in ("libx264", "libx265")
    if closed and options.preset is not None and options.preset not in _PRESETS:
        # Refused here, because the encoder would complain on standard error.
        raise OptionError("preset", options.preset, f"must be one of {', '.join(_PRESETS)}")
    worst = _MAX_CRF_H26X if closed else _MAX_CRF
    if options.crf is not None and not 0 <= options.crf <= worst:
        raise OptionError("crf", options.crf, f"must be 0 (best) to {worst} (smallest)")
    return codec


def keeps_depth(options: FileOptions) -> bool:
    """Whether the codec that was asked for keeps 10 bits."""
    return options.codec is not None and is_deep(_encoder(options.codec))


def keeps_hdr(format: Format, options: FileOptions) -> bool:
    """Whether HDR stays in this container, by the codec that was asked for or by the default."""
    if not options.keep_hdr or options.codec is not None:
        return options.keep_hdr and keeps_depth(options)
    return _takes(format, av.Codec(_HDR_CODEC, "w"))


def is_deep(encoder: str) -> bool:
    return encoder in _DEEP or encoder.startswith(_DEEP_KINDS)


def encoder_defaults(options: FileOptions, codec: Any) -> Encoder:
    """The defaults of `codec`, which `find_codec` found for these options."""
    return ENCODERS.get(options.codec or "") or ENCODERS.get(codec.name, Encoder())


def _encoder(name: str) -> str:
    """FFmpeg's name of an encoder."""
    name = _USUAL.get(name.lower(), name)
    known = ENCODERS.get(name)
    return known.encoder if known is not None and known.encoder else name


def supported_options(format: Format, options: FileOptions) -> set[str]:
    """Which of `codec`, `preset` and `crf` go with a container, given the other two."""
    name, found = format.codec, set()
    with contextlib.suppress(ValueError):
        if options.codec is not None and _takes(format, av.Codec(_encoder(options.codec), "w")):
            name, found = _encoder(options.codec), {"codec"}
    return found | _private_options(av.Codec(name, "w")) & {"preset", "crf"}


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
    encoders = [known for known in av.codecs_available if _is_video_encoder(known)]
    close = difflib.get_close_matches(name, encoders, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; try libx264, libx265 or ffv1"


def _is_video_encoder(name: str) -> bool:
    try:
        return av.Codec(name, "w").type == "video"
    except ValueError:
        return False
