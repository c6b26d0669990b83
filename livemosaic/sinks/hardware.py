"""Hardware encoders: the options that give them a constant quality, and their limits.

All is from the documentation of FFmpeg and of the makers. None of these encoders was tried.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

GOP = 250  # frames from one key frame to the next, as in x264; FFmpeg's default is 12
X264_PRESETS = (  # and of x265
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
# As x264 takes for a mosaic of 2560x1440 at crf 20 (0.25 measured); 6 steps more halve the bits.
_BITS_PER_PIXEL, _CRF, _HALVED_BY = 0.3, 20, 6
_MAX_CRF = 51  # of x264


@dataclass(frozen=True, slots=True)
class Quality:
    """How an encoder is asked for a constant quality.

    Attributes
    ----------
    options : of the encoder
    scale : FFmpeg's `global_quality`; with `is_qscale` in its units of a quantiser scale
    bits_per_pixel : for an encoder that has no constant quality; 0 for others
    """

    options: dict[str, str] = field(default_factory=dict)
    scale: int | None = None
    is_qscale: bool = False
    bits_per_pixel: float = 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """A kind of hardware encoders.

    Attributes
    ----------
    need : a part of the machine that they need
    quality : for a crf of the usual encoder of the same coding, such as 20 of libx264 for h264
    options, low_delay, recording : see `formats.Encoder`
    presets : their own for each of x264; empty if they have none
    max_side : in pixels by coding: no hardware of this kind can encode larger pictures
    takes_pictures : False for those that take only pictures in the card's memory
    deep : whether HEVC and AV1 may have 10 bits
    """

    need: str
    quality: Callable[[str, float], Quality]
    options: dict[str, str] = field(default_factory=dict)
    low_delay: dict[str, str] = field(default_factory=dict)
    recording: dict[str, str] = field(default_factory=dict)
    presets: Mapping[str, str] = field(default_factory=dict)
    max_side: Mapping[str, int] = field(default_factory=dict)
    takes_pictures: bool = True
    deep: bool = True


def hardware_of(encoder: str) -> Hardware | None:
    """The kind of a hardware encoder by its name, such as h264_nvenc; None for other encoders."""
    return KINDS.get(encoder.rpartition("_")[2])


def problem(encoder: str, width: int, height: int) -> str:
    """Why a hardware encoder cannot encode pictures of this size; empty if it may."""
    kind = hardware_of(encoder)
    if kind is None:
        return ""
    if not kind.takes_pictures:
        return "it takes only pictures in the card's memory, which livemosaic has not"
    side = kind.max_side.get(encoder.partition("_")[0])
    if side is not None and max(width, height) > side:
        return f"it encodes at most {side}x{side} pixels, not {width}x{height}"
    if (width | height) & 1:
        return f"it encodes even sizes only, not {width}x{height}"
    return ""


def _nvenc(coding: str, crf: float) -> Quality:
    return Quality({"cq": f"{max(1.0, crf):g}"})  # 0 would be automatic


def _qsv(coding: str, crf: float) -> Quality:
    scale = 1.0 if coding in ("h264", "hevc") else 51 / 63
    return Quality(scale=min(max(1, round(crf * scale)), 51))


def _amf(coding: str, crf: float) -> Quality:
    if coding == "av1":
        q = f"{min(round(crf * 4), 255)}"
        return Quality({"qp_i": q, "qp_p": q, "qp_b": q})
    # As in x264, pictures that others do not depend on are coarser.
    steps = {"qp_i": 0, "qp_p": 2, "qp_b": 4}
    return Quality({name: f"{min(round(crf) + more, _MAX_CRF)}" for name, more in steps.items()})


def _percent(crf: float) -> int:
    """The quality of 100 for a crf of 0 to 51: 65 for 20, which users find as good."""
    return max(1, round(100 - 1.75 * min(crf, _MAX_CRF)))


def _videotoolbox(coding: str, crf: float) -> Quality:
    if platform.machine() != "arm64":  # FFmpeg has a constant quality for Apple's processors only
        return _bit_rate(coding, crf)
    return Quality(scale=_percent(crf), is_qscale=True)


def _mf(coding: str, crf: float) -> Quality:
    return Quality({"quality": f"{_percent(crf)}"})


def _bit_rate(coding: str, crf: float) -> Quality:
    return Quality(bits_per_pixel=_BITS_PER_PIXEL * 2 ** ((_CRF - crf) / _HALVED_BY))


def _presets(*own: str) -> dict[str, str]:
    return dict(zip(X264_PRESETS, own, strict=True))


_UP_TO_4K = {"h264": 4096}
_UP_TO_8K = {"h264": 4096, "hevc": 8192, "av1": 8192}

# By the ending of an encoder's name. `auto` tries them in this order.
KINDS: dict[str, Hardware] = {
    "nvenc": Hardware(
        "an NVIDIA card and its driver",
        _nvenc,
        {"preset": "p4", "tune": "hq", "rc": "vbr", "b": "0"},
        {"tune": "ll", "zerolatency": "1", "delay": "0"},
        {"delay": "0", "bf": "0"},
        _presets("p1", "p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7", "p7"),
        _UP_TO_8K,
    ),
    "qsv": Hardware(
        "an Intel graphics processor and its driver",
        _qsv,
        {"preset": "medium"},
        {"async_depth": "1"},
        {"async_depth": "1", "bf": "0"},
        _presets("veryfast", "veryfast", *X264_PRESETS[2:9], "veryslow"),
        _UP_TO_4K,
    ),
    "videotoolbox": Hardware(
        "macOS",
        _videotoolbox,
        low_delay={"realtime": "1"},
        recording={"realtime": "1", "bf": "0"},
        max_side=_UP_TO_8K,
    ),
    "amf": Hardware(
        "an AMD card and its driver",
        _amf,
        {"usage": "transcoding", "preset": "balanced", "rc": "cqp"},
        {"usage": "lowlatency", "async_depth": "1"},
        {"async_depth": "1", "bf": "0"},
        _presets(*["speed"] * 4, *["balanced"] * 2, *["quality"] * 4),
        _UP_TO_8K,
    ),
    "mf": Hardware(
        "Windows, and a graphics card with an encoder",
        _mf,
        {"hw_encoding": "1", "rate_control": "quality"},
        {"scenario": "live_streaming"},
        {"scenario": "camera_record"},
        max_side=_UP_TO_4K,
        deep=False,
    ),
    "v4l2m2m": Hardware(
        "an encoder of the system, as a Raspberry Pi has it",
        _bit_rate,
        max_side=_UP_TO_4K,
        deep=False,
    ),
    "vaapi": Hardware("a graphics card with a VA-API driver", _bit_rate, takes_pictures=False),
    "vulkan": Hardware(
        "a graphics card with a Vulkan driver for video", _bit_rate, takes_pictures=False
    ),
}
