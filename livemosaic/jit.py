"""How the compiled kernels are built: one decorator and one place for the reasons.

Kernels are serial and release the GIL: parallelism comes from stages on threads. Small `prange`
kernels lose even on an idle machine (4.9 ms against 0.7 ms for the histogram), and fall over when
a core is taken by another process (21.7 ms), which is the normal case in a video call.

Two things make LLVM vectorise the inner loops (measured: 18 ms to 3 ms for blending 15 MB):
indices are unsigned (`np.uintp`), which removes Numba's test for negative ones, and the loops'
lengths are constants of a closure, because tiles are too short for vector loops of unknown length.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["KERNELS", "Count", "import_quickly", "kernel", "kernel_part", "kernels_are_cached"]

# What kernels hand to each other as `np.intp`. Numba compiles a kernel again for each other type,
# and for each literal, that it is called with (a third of a second each), and int() of an int32 is
# one still.
Count = int | np.intp

# Nobody calls them from C.
_KERNEL: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}
_PART: dict[str, Any] = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Rights say nothing about what is mounted read-only, and may not be looked at: try.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _sources() -> str:
    """A name for the sources of all kernels as they are.

    Machine code holds the kernels and constants of other modules, too, but Numba compiles again
    only what its own file has changed: after an upgrade old and new would be mixed. Kernels are in
    these rooms only, and so is all that they may import.
    """
    digest = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=6)
    for room in ("media", "gallery", "mosaic"):
        for path in sorted((Path(__file__).parent / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_folder() -> Path:
    """Where compiled kernels are kept: the first of these where something can be kept at all.

    Numba looks for a place, too, but in others it goes by its own idea of what is up to date.
    """
    name = f"kernels-{_sources()}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and _writable(Path(given) / name):
        return Path(given) / name
    beside = Path(__file__).parent / "__pycache__"
    if _writable(beside / name):
        for old in beside.glob("kernels-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        return beside / name
    from platformdirs import user_cache_path

    folder = user_cache_path("livemosaic") / name
    return folder if _writable(folder) else _temporary_folder(name)


def _temporary_folder(name: str) -> Path:
    """A folder among temporary ones that is this user's alone.

    Others can make folders there, too, and what Numba loads from its cache it runs.
    """
    if not hasattr(os, "getuid"):  # on Windows each user has a place for temporary files
        return Path(tempfile.gettempdir()) / f"livemosaic-{name}"
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"livemosaic-{user}-{name}"
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        alone = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if alone and found.st_uid == user and _writable(folder):
            return folder
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="livemosaic-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    return Path(os.devnull) / name  # nothing can be kept anywhere: see `_keep`


KERNELS = _cache_folder()


def import_quickly() -> None:
    """Import Numba without SciPy, for a process that is ours alone; 0.15 s of the start.

    Numba imports SciPy to offer matrix products to compiled functions. No kernel here has one, but
    a program that uses livemosaic as a library may, so it is for the command line to call this.
    """
    if "scipy" in sys.modules or "numba" in sys.modules:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # makes importing it fail
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy"]


def kernels_are_cached() -> bool:
    """Whether this version's kernels were compiled and kept before."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    return any(KERNELS.rglob(f"blend.*{version}.nbi"))


def kernel(function: F) -> F:
    """Compile `function` on first use, serial and without the GIL, and keep the machine code."""
    from numba import config, njit

    compiled: Any = njit(**_KERNEL)(function)
    if hasattr(compiled, "enable_caching"):  # not as plain Python (NUMBA_DISABLE_JIT)
        # Set for this one function: a program that uses livemosaic as a library may have its own.
        settings: Any = config
        before, settings.CACHE_DIR = settings.CACHE_DIR, str(KERNELS)
        try:
            _keep(compiled)
        finally:
            settings.CACHE_DIR = before
    return cast(F, compiled)


def _keep(compiled: Any) -> None:
    """Have Numba keep the machine code of a kernel, if it can; if not it is compiled each time."""
    try:
        compiled.enable_caching()
    except RuntimeError:  # there is no place where it could
        return
    cache = compiled._cache
    load, save = cache.load_overload, cache.save_overload

    def load_what_is_whole(*given: Any) -> Any:
        try:
            return load(*given)
        except Exception:  # of any kind, for files that a power cut has left empty, or of others
            with contextlib.suppress(OSError):
                cache.flush()
            return None

    def save_if_possible(*given: Any) -> None:
        with contextlib.suppress(OSError):  # the disk is full
            save(*given)

    cache.load_overload, cache.save_overload = load_what_is_whole, save_if_possible


def kernel_part(function: F) -> F:
    """Compile `function` into the kernels that call it; Python cannot.

    It is kept in their machine code and needs none of its own, nor what it takes to unpack Python's
    arguments: a tenth of what the first run ever spends on compiling.
    """
    from numba import njit

    compiled: Any = njit(**_PART)(function)
    return cast(F, compiled)
