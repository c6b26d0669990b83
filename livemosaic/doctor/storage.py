"""Checks of what is kept on disk: the cache folder, compiled kernels, the gallery."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from .result import CheckResult

__all__ = ["cache", "gallery"]

_LEAST_FREE_MB = 500  # a gallery of 10,000 photos with its features takes as much


def cache() -> CheckResult:
    """Whether galleries and compiled kernels can be kept, and what they take."""
    import platformdirs

    from ..gallery.cache import CACHE_VARIABLE
    from ..jit import KERNELS, kernels_are_cached

    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("livemosaic")
    reason = _refusal(folder)
    compiled = kernels_are_cached()
    details = {
        "path": str(folder),
        "writable": not reason,
        "size_mb": 0.0,
        "free_mb": None,
        "kernels_path": str(KERNELS),
        "kernels_writable": not _refusal(KERNELS),
        "kernels_compiled": compiled,
    }
    if reason:
        return CheckResult(
            "cache",
            "warning",
            f"nothing can be kept in {folder} ({reason}): galleries are built again each time",
            _own_folder(CACHE_VARIABLE),
            details,
        )
    size, free = _size_mb(folder), shutil.disk_usage(folder).free / 1e6
    details |= {"size_mb": round(size, 1), "free_mb": round(free)}
    text = f"{folder}, {size:.0f} MB; kernels {'compiled' if compiled else 'not yet compiled'}"
    if not details["kernels_writable"]:
        return CheckResult(
            "cache",
            "warning",
            f"compiled kernels cannot be kept in {KERNELS}: each start may take 10 seconds more",
            _own_folder("NUMBA_CACHE_DIR"),
            details,
        )
    if free < _LEAST_FREE_MB:
        return CheckResult(
            "cache",
            "warning",
            f"{text}; {free:.0f} MB are free there",
            "make room, or " + _own_folder(CACHE_VARIABLE),
            details,
        )
    return CheckResult("cache", "good", text, details=details)


def gallery() -> CheckResult:
    """Whether the gallery inside the package can be opened; it is built at its first use."""
    from ..gallery import open_gallery

    began = time.monotonic()
    photos = open_gallery("photos")
    took_ms = (time.monotonic() - began) * 1e3
    kept = int(photos.kept.sum())
    return CheckResult(
        "gallery",
        "good",
        f"photos: {len(photos):,} tiles in {kept} clusters, opened in {took_ms:.0f} ms",
        details={
            "name": "photos",
            "path": str(photos.path),
            "tiles": len(photos),
            "clusters": kept,
            "open_ms": round(took_ms, 1),
        },
    )


def _refusal(folder: Path) -> str:
    """Why no file can be made in a folder, which is made if need be; empty if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Rights say nothing about what is mounted read-only: try.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _size_mb(folder: Path) -> float:
    """All files in a folder and its folders; those that go meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total / 1e6


def _own_folder(variable: str) -> str:
    """What to type to have another folder used."""
    place = Path(tempfile.gettempdir()) / "livemosaic-cache"
    return f"set {variable}={place}" if sys.platform == "win32" else f"export {variable}={place}"
