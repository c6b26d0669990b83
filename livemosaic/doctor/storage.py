"""Checks of the disk: the cache folder, the compiled kernels, the gallery."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from .result import CheckResult


def cache(*, least_free_mb: float = 500) -> CheckResult:
    """Check that galleries and compiled kernels can be saved, and how much space they take.

    Less free space than `least_free_mb` is a warning. 10,000 photos with their features take 500.
    """
    import platformdirs

    from ..gallery.cache import CACHE_VARIABLE
    from ..jit import cache_folder, kernels_are_cached, write_error

    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("livemosaic")
    error = write_error(folder)
    compiled = kernels_are_cached()
    details: dict[str, Any] = {
        "path": str(folder),
        "writable": not error,
        "size_mb": 0.0,
        "free_mb": None,
        "kernels_path": str(cache_folder()),
        "kernels_writable": not write_error(cache_folder()),
        "kernels_compiled": compiled,
    }

    def warning(text: str, fix: str) -> CheckResult:
        return CheckResult("cache", "warning", text, fix, details)

    if error:
        text = f"cannot write to {folder} ({error}): galleries are built again at each start"
        return warning(text, _use_another_folder(CACHE_VARIABLE))
    size, free = _size_mb(folder), shutil.disk_usage(folder).free / 1e6
    details |= {"size_mb": round(size, 1), "free_mb": round(free)}
    if not details["kernels_writable"]:
        text = f"cannot write compiled kernels to {cache_folder()}: each start takes 10 s longer"
        return warning(text, _use_another_folder("NUMBA_CACHE_DIR"))
    text = f"{folder}, {size:.0f} MB; kernels {'compiled' if compiled else 'not yet compiled'}"
    if free < least_free_mb:
        fix = f"free some space, or {_use_another_folder(CACHE_VARIABLE)}"
        return warning(f"{text}; only {free:.0f} MB free", fix)
    return CheckResult("cache", "good", text, details=details)


def gallery() -> CheckResult:
    """Check that the included gallery can be opened; its first use builds it."""
    from ..gallery import open_gallery

    began = time.monotonic()
    photos = open_gallery("photos")
    took_ms = (time.monotonic() - began) * 1e3
    clusters = int(photos.kept.sum())
    text = f"photos: {len(photos):,} tiles in {clusters} clusters, opened in {took_ms:.0f} ms"
    details = {
        "name": "photos",
        "path": str(photos.path),
        "tiles": len(photos),
        "clusters": clusters,
        "open_ms": round(took_ms, 1),
    }
    return CheckResult("gallery", "good", text, details=details)


def _size_mb(folder: Path) -> float:
    """The size of all files below a folder, without those that disappear meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total / 1e6


def _use_another_folder(variable: str) -> str:
    """The command that sets a folder's variable.

    Compiled code is run as it is found: the folder must not be one that other users can make first.
    """
    if sys.platform == "win32":
        return f"set {variable}=%TEMP%\\livemosaic-cache"
    return f"export {variable}=$(mktemp -d)"
