"""A check of the video encoders: which ones really encode."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..sinks.encoder_probe import Probe, Trial, probe, refused_devices
from ..sinks.hardware import KINDS
from .result import CheckResult

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
HARDWARE = tuple(f"{coding}_{kind}" for kind in KINDS for coding in ("h264", "hevc", "av1"))


def encoders(
    *, probe: Probe = probe, refused_devices: Callable[[], dict[str, str]] = refused_devices
) -> CheckResult:
    """Check which encoders work; `probe` tries them."""
    found = probe(Trial((*SOFTWARE, *HARDWARE)))
    good = [name for name, result in found.items() if result["state"] == "good"]
    untried = [name for name in SOFTWARE if found[name]["state"] == "untried"]
    missing = [name for name in SOFTWARE if name not in good]
    fix = f"{sys.executable} -m pip install --force-reinstall --no-deps av"
    if untried:
        text = f"there was no time to try {', '.join(untried)}: {found[untried[0]]['text']}"
        fix = "close other programs, then run this again"
    elif "libx264" in missing:
        text = (
            f"libx264, the default for files, does not work ({found['libx264']['text']}); "
            f"working encoders: {', '.join(good) or 'none'}"
        )
    else:
        software = ", ".join(name for name in good if name in SOFTWARE)
        hardware = ", ".join(name for name in good if name in HARDWARE)
        text = f"software: {software}; hardware: {hardware or 'none'}"
        if missing:
            text += f"; not usable: {', '.join(missing)}"
        else:
            fix = ""
        if not hardware and (refused := refused_devices()):
            text += f" (no permission to use {', '.join(refused)})"
            groups = ",".join(sorted(set(refused.values())))
            fix = fix or f"sudo usermod -aG {groups} $USER, then log out and in again"
        elif not hardware and (reasons := _reasons(found)):
            text += f" ({reasons})"
    return CheckResult("encoders", "warning" if fix else "good", text, fix, {"encoders": found})


def _reasons(found: dict[str, dict[str, Any]]) -> str:
    """Why each kind of hardware in this FFmpeg does not work."""
    failed = {name: it["text"] for name, it in found.items() if it["state"] == "failed"}
    kinds = {name.rpartition("_")[2]: text for name, text in failed.items() if name in HARDWARE}
    return "; ".join(f"{kind}: {text}" for kind, text in kinds.items())
