"""Containers and encoders: what goes into each container, and the defaults of each encoder."""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import OptionError, UsageError
from ..media.deep import is_wide
from ..media.ffmpeg import av
from ..media.frame import StreamInfo
from . import hardware
from .base import AUTO, FileOptions


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
    # Of hardware: what a crf means, and its own presets for those of x264.
    quality: Callable[[float | None], hardware.Quality] | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    # More of them, for the same bytes on every machine and segments that can be joined; None: it
    # has none, or is not known to.
    portable: dict[str, str] | None = None


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
        portable={},
    ),
    "libx265": Encoder(
        {"preset": "ultrafast", "crf": "22", "x265-params": "log-level=none"},
        {"tune": "zerolatency"},
        delay=11,
        portable={"x265-params": "log-level=none:info=0:pools=none:frame-threads=1"},
    ),
    # With b=0, crf is a constant quality, not an upper bound within a bit rate.
    "libvpx-vp9": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "30", "b": "0"},
        {"lag-in-frames": "0"},
        delay=24,
        portable={"row-mt": "0"},
    ),
    "libvpx": Encoder(
        {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b": "20M"}, {"lag-in-frames": "0"}
    ),
    "libsvtav1": Encoder(
        {"preset": "10", "crf": "30"},
        {"svtav1-params": "pred-struct=1:lookahead=0"},
        delay=54,
        portable={"svtav1-params": "lp=1"},
    ),
    # They have no option, and each picture is coded for itself.
    "ffv1": Encoder(portable={"slices": "4"}),
    "prores_ks": Encoder(portable={}),
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
    """The `av.Codec` to encode `info` with; raises `OptionError` if it does not fit the container
    or `info`, or does not have the options. `auto` is the software encoder here."""
    name = _asked(options) or default_codec(format, options, info)
    try:
        codec = av.Codec(_encoder(name), "w")
    except ValueError:
        if (need := hardware.hardware_of(name)) is not None:
            problem = f"it needs {need.need}, and is not in this FFmpeg; use auto"
            raise OptionError("codec", name, problem) from None
        raise OptionError("codec", name, f"there is no such encoder{_similar(name)}") from None
    if codec.type != "video":
        problem = f"it encodes {codec.type}, not video; try {format.codec}"
        raise OptionError("codec", name, problem)
    if not _takes(format, codec):
        problem = f"{output}: {format.muxer} cannot contain it"
        raise OptionError("codec", name, f"{problem}; use {format.codec}, or an .mkv file")
    has = _options_of(codec)
    for option, value in (("preset", options.preset), ("crf", options.crf)):
        if value is not None and option not in has:
            raise OptionError(option, value, f"codec {codec.name} has no {option}; leave it out")
    kind = _tuned(codec)
    known: tuple[str, ...] = hardware.X264_PRESETS if codec.name in ("libx264", "libx265") else ()
    if kind is not None:
        known = tuple(dict.fromkeys((*kind.presets.values(), *kind.presets)))
    if known and options.preset is not None and options.preset not in known:
        # Refused here, because the encoder would complain on standard error.
        raise OptionError("preset", options.preset, f"must be one of {', '.join(known)}")
    is_h26x = codec.canonical_name in ("h264", "hevc")
    worst = _MAX_CRF_H26X if is_h26x else _MAX_CRF
    if options.crf is not None and not 0 <= options.crf <= worst:
        raise OptionError("crf", options.crf, f"must be 0 (best) to {worst} (smallest)")
    if info is not None and (problem := hardware.problem(codec.name, info.width, info.height)):
        raise OptionError("codec", name, f"{problem}; use auto, or {format.codec}")
    return codec


def default_codec(format: Format, options: FileOptions, info: StreamInfo | None = None) -> str:
    """The encoder of a container, or of HDR that is kept."""
    if info is not None and info.deep and is_wide(info.deep.colour):
        options = replace(options, codec=None)
        return _HDR_CODEC if keeps_hdr(format, options) else format.codec
    return format.codec


def keeps_depth(options: FileOptions) -> bool:
    """Whether the codec that was asked for keeps 10 bits."""
    name = _asked(options)
    return name is not None and is_deep(_encoder(name))


def keeps_hdr(format: Format, options: FileOptions) -> bool:
    """Whether HDR stays in this container, by the codec that was asked for or by the default."""
    if not options.keep_hdr or _asked(options) is not None:
        return options.keep_hdr and keeps_depth(options)
    return _takes(format, av.Codec(_HDR_CODEC, "w"))


def is_deep(encoder: str) -> bool:
    kind = hardware.hardware_of(encoder)
    return encoder in _DEEP or (encoder.startswith(_DEEP_KINDS) and (kind is None or kind.deep))


def encoder_defaults(options: FileOptions, codec: Any) -> Encoder:
    """The defaults of `codec`, which `find_codec` found for these options."""
    kind, coding = _tuned(codec), codec.canonical_name
    if kind is None:
        return ENCODERS.get(options.codec or "") or ENCODERS.get(codec.name, Encoder())
    usual = float(ENCODERS[_USUAL[coding]].options["crf"])
    return Encoder(
        kind.options,
        kind.low_delay,
        kind.recording,
        quality=lambda crf: kind.quality(coding, usual if crf is None else crf),
        presets=kind.presets,
    )


def fitting(options: FileOptions, encoder: str) -> FileOptions:
    """The options for an encoder that is taken instead of the one they were meant for."""
    has_preset = "preset" in _options_of(av.Codec(encoder, "w"))
    return replace(options, codec=encoder, preset=options.preset if has_preset else None)


def hardware_encoders(coding: str) -> list[str]:
    """The hardware encoders of a coding in this FFmpeg, whether they work here or not."""
    names = (f"{coding}_{kind}" for kind in hardware.KINDS)
    return [name for name in names if name in av.codecs_available and _is_video_encoder(name)]


def _asked(options: FileOptions) -> str | None:
    """The codec that was asked for by its name."""
    return None if options.codec == AUTO else options.codec


def _encoder(name: str) -> str:
    """FFmpeg's name of an encoder."""
    name = _USUAL.get(name.lower(), name)
    known = ENCODERS.get(name)
    return known.encoder if known is not None and known.encoder else name


def supported_options(format: Format, options: FileOptions) -> set[str]:
    """Which of `codec`, `preset` and `crf` go with a container, given the other two."""
    name, found = format.codec, {"codec"} if options.codec == AUTO else set[str]()
    asked = _asked(options)
    with contextlib.suppress(ValueError):
        if asked is not None and _takes(format, av.Codec(_encoder(asked), "w")):
            name, found = _encoder(asked), {"codec"}
    return found | _options_of(av.Codec(name, "w"))


def _takes(format: Format, codec: Any) -> bool:
    if format.codecs is not None:
        return codec.canonical_name in format.codecs
    # Nothing is written: this only asks the muxer.
    with av.open(io.BytesIO(), "w", format=format.muxer) as container:
        return codec.name in container.supported_codecs


def _tuned(codec: Any) -> hardware.Hardware | None:
    """The kind of a hardware encoder whose options are known; None for other encoders."""
    known = codec.canonical_name in ("h264", "hevc", "vp9", "av1")
    return hardware.hardware_of(codec.name) if known else None


def _options_of(codec: Any) -> set[str]:
    """Which of `preset` and `crf` an encoder has."""
    kind = _tuned(codec)
    if kind is not None:
        return {"crf", "preset"} if kind.presets else {"crf"}
    context = av.CodecContext.create(codec.name, "w")
    return {option.name for option in context.supported_options.private} & {"preset", "crf"}


def _similar(name: str) -> str:
    encoders = [known for known in av.codecs_available if _is_video_encoder(known)]
    close = difflib.get_close_matches(name, encoders, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; try libx264, libx265 or ffv1"


def _is_video_encoder(name: str) -> bool:
    try:
        return av.Codec(name, "w").type == "video"
    except ValueError:
        return False
