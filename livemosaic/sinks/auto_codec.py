"""`--codec auto`: a hardware encoder that works here, or the software encoder, and why."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..media.ffmpeg import av
from ..media.frame import StreamInfo
from . import formats, hardware
from .base import FileOptions
from .encoder_probe import Probe, Trial, probe, refused_devices

_logger = logging.getLogger("livemosaic")

told = set[str]()  # what this process has said: the same about another output is no news

# A hardware encoder may be so much worse than the software encoder at the same crf, in PSNR.
_WORSE_DB = 2.0


def choose(
    format: formats.Format,
    options: FileOptions,
    info: StreamInfo,
    *,
    output: str,
    low_delay: bool = False,
    probe: Probe = probe,
) -> FileOptions:
    """The options with a codec instead of `auto`, None for the default; logs a line about it, the
    first time.

    Parameters
    ----------
    info : of the frames that will be written
    output : for the message
    low_delay : see `VideoEncoder`
    probe : tries encoders
    """
    software = formats.default_codec(format, options, info)
    plain = replace(options, codec=None)
    name, why = _decide(software, plain, info, low_delay, probe)
    if name:
        _tell(name, output)
        return formats.fitting(options, name)
    _tell(f"{software}: {why}", output)
    return plain


def _tell(decision: str, output: str) -> None:
    if decision not in told:
        told.add(decision)
        _logger.info("%s: codec auto takes %s", output, decision)


def reason(encoder: str, options: FileOptions, info: StreamInfo, *, low_delay: bool = False) -> str:
    """Why an encoder does not work here, in FFmpeg's words; empty if it does."""
    trial = _trial((encoder,), options, info, low_delay)
    return str(_tried(trial, probe)[encoder]["text"]) + _denied()


def _decide(
    software: str, options: FileOptions, info: StreamInfo, low_delay: bool, probe: Probe
) -> tuple[str, str]:
    """The hardware encoder, or an empty name and the reason."""
    coding = av.Codec(software, "w").canonical_name
    names = formats.hardware_encoders(coding)
    if not names:
        return "", f"this FFmpeg has no hardware encoder of {coding}"
    if info.alpha and software.startswith("libvpx"):
        return "", "hardware encoders keep no transparency"
    mastered = info.deep is not None and (info.deep.mastering or info.deep.light)
    if mastered and software == "libx265":
        return "", "hardware encoders leave out the mastering data of HDR10"
    problems = {name: hardware.problem(name, info.width, info.height) for name in names}
    fit = tuple(name for name in names if not problems[name])
    if fit:
        problems |= _problems(fit, software, options, info, low_delay, probe)
    name = next((name for name in fit if not problems[name]), "")
    by_reason: dict[str, list[str]] = {}
    for refused, problem in problems.items():
        by_reason.setdefault(problem, []).append(refused)
    reasons = "; ".join(f"{', '.join(names)}: {text}" for text, names in by_reason.items())
    return name, f"no hardware encoder works here ({reasons}){_denied()}"


def _problems(
    names: tuple[str, ...],
    software: str,
    options: FileOptions,
    info: StreamInfo,
    low_delay: bool,
    probe: Probe,
) -> dict[str, str]:
    """What is wrong with each hardware encoder; empty if nothing is."""
    tried = _tried(_trial(names, options, info, low_delay), probe)
    problems = {name: tried[name]["text"] for name in names}
    if all(problems.values()):
        return problems
    # Of small pictures: that is quick, and the quality does not depend on the size.
    trial = _trial((software,), options, replace(info, width=640, height=384), low_delay)
    best_db = _tried(trial, probe)[software]["psnr"]
    for name in names:
        if not problems[name] and (worse_db := best_db - tried[name]["psnr"]) > _WORSE_DB:
            problems[name] = f"its pictures are worse by {worse_db:.0f} dB"
    return problems


def _denied() -> str:
    refused = ", ".join(refused_devices())
    return f"; you may not use {refused}: livemosaic doctor says how" if refused else ""


def _trial(
    names: tuple[str, ...], options: FileOptions, info: StreamInfo, low_delay: bool
) -> Trial:
    return Trial(
        names,
        info.width,
        info.height,
        info.rate,
        deep=info.deep is not None,
        live=info.live,
        low_delay=low_delay,
        options=FileOptions(preset=options.preset, crf=options.crf),
    )


@functools.cache
def _tried(trial: Trial, probe: Probe) -> Mapping[str, Any]:
    """The answers, which this process remembers."""
    return probe(trial)
