"""The decorators that compile the kernels, and the folder that keeps their machine code.

Kernels are serial and release the GIL; the pipeline's threads work in parallel. A small `prange`
kernel is slower than a serial one even on an idle machine, and 30 times slower as soon as another
process takes a core, as in a video call.

LLVM vectorises the inner loops for two reasons: indices are unsigned (`np.uintp`), which removes
Numba's test for negative ones, and the lengths of loops over a tile are constants of a closure.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import itertools
import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .unfinished import add_unfinished

F = TypeVar("F", bound=Callable[..., Any])

# Types of arrays that kernels take.
Bools = NDArray[np.bool_]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# Kernels pass these numbers to each other as `np.intp`: Numba compiles a kernel again for each
# other type and for each literal, a third of a second each. int() of an int32 is an int32.
Count = int | np.intp

# No C code calls the kernels.
_KERNEL: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}
# LLVM would call a part that is used in several places, with each number of all its arrays: the
# match took 15 % longer. See bench/README.md.
_PART = _KERNEL | {"no_cpython_wrapper": True, "forceinline": True}

_logger = logging.getLogger("livemosaic")

_PACKAGE = Path(__file__).parent

_setting = threading.Lock()  # of Numba, which all threads share


def write_error(folder: Path) -> str:
    """Make a folder if need be, and say why no file can be written there; empty if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not show a read-only mount: try.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def source_digest(package: Path = _PACKAGE) -> str:
    """A digest of this module and of all modules that kernels are in or import.

    Machine code includes kernels and constants of other modules, but Numba only checks the file
    that a kernel is in: an upgrade would mix old and new code.
    """
    rooms = [sorted((package / room).rglob("*.py")) for room in ("media", "gallery", "mosaic")]
    return files_digest([package / "jit.py", *itertools.chain(*rooms)])


def files_digest(paths: Iterable[Path]) -> str:
    """A digest of files of the package."""
    digest = hashlib.blake2b(digest_size=6)
    for path in paths:
        # Git on Windows writes other ends of lines.
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def processor_digest() -> str:
    """A digest of what machine code depends on beside its source: processor, Numba and Python.

    Processors can share a folder, as on a cluster, in a moved disk or virtual machine. Numba keeps
    their machine code apart, but cannot say whether there is any for this one.
    """
    import numba
    from llvmlite import binding as llvm

    settings: Any = numba.config  # NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
    name, features = settings.CPU_NAME or llvm.get_host_cpu_name(), settings.CPU_FEATURES
    if features is None:
        with contextlib.suppress(RuntimeError):  # LLVM does not know those of all processors
            features = llvm.get_host_cpu_features().flatten()
    system = llvm.get_process_triple(), numba.__version__, sys.implementation.cache_tag
    key = f"{name} {features} {system}"
    return hashlib.blake2b(key.encode(), digest_size=4).hexdigest()


def find_cache_folder(package: Path = _PACKAGE) -> Path:
    """Choose the folder for machine code, the first of these that can be written.

    `NUMBA_CACHE_DIR`, the package's own `__pycache__`, the user's cache folder, a temporary folder.
    """
    of_sources = f"kernels-{source_digest(package)}"
    name = f"{of_sources}-{processor_digest()}"
    variable = os.environ.get("NUMBA_CACHE_DIR")
    if variable and not write_error(Path(variable) / name):
        return Path(variable) / name
    beside = package / "__pycache__"
    if not write_error(beside / name):
        for old in beside.glob("kernels-*"):
            if not old.name.startswith(of_sources):
                shutil.rmtree(old, ignore_errors=True)
        return beside / name
    from platformdirs import user_cache_path

    folder = user_cache_path("livemosaic") / name
    return temporary_folder(name) if write_error(folder) else folder


def temporary_folder(name: str) -> Path:
    """A folder for temporary files that only this user can write, as Numba runs what it loads."""
    if not hasattr(os, "getuid"):  # on Windows each user has a folder for temporary files
        return Path(tempfile.gettempdir()) / f"livemosaic-{name}"
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"livemosaic-{user}-{name}"
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if private and status.st_uid == user and not write_error(folder):
            return folder
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="livemosaic-"))
        add_unfinished(folder)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    return Path(os.devnull) / name  # nothing can be written anywhere


@functools.cache
def cache_folder() -> Path:
    """The folder of this process; not chosen before a kernel needs it, as that loads Numba."""
    return find_cache_folder()


def kernels_are_cached() -> bool:
    """Whether an earlier run has compiled this version's kernels for this processor."""
    return any(cache_folder().rglob("blend.*.nbc"))  # Numba writes the index before it


def kernel(function: F, *, folder: Path | None = None) -> F:
    """Compile `function` at its first call and keep its machine code in `folder`.

    The cache never stops a run. If its files are damaged, by a power cut for example, all of them
    are removed and compiled again. If nothing can be written, nothing is kept.
    """
    from numba import njit, typeof

    folder = folder or cache_folder()
    compiled = _with_cache(function, folder)
    if compiled is function:  # plain Python (NUMBA_DISABLE_JIT)
        return function

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        nonlocal compiled
        try:
            return compiled(*arguments)
        except Exception as error:
            if not isinstance(error, OSError):
                if tuple(map(typeof, arguments)) in compiled.signatures:
                    raise  # from the kernel, not from Numba's loading it
                _logger.info("the compiled code is damaged; compiling it again takes a while")
                shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(Exception):
                return compiled(*arguments)
            compiled = njit(**_KERNEL)(function)
            return compiled(*arguments)

    return cast(F, run)


def _with_cache(function: F, folder: Path) -> Any:
    """Have Numba compile a function and use `folder`; for this function only."""
    from numba import config, njit

    settings: Any = config
    with _setting:
        before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
        try:
            return njit(**_KERNEL, cache=True)(function)
        except RuntimeError:  # Numba found no folder that it can write
            return njit(**_KERNEL)(function)
        finally:
            settings.CACHE_DIR = before


def kernel_part(function: F) -> F:
    """Compile `function` into the kernels that call it; Python cannot call it.

    It has no cache file and no code that unpacks Python's arguments, which saves a tenth of the
    first run's compilation.
    """
    from numba import njit

    compiled: Any = njit(**_PART)(function)
    return cast(F, compiled)
