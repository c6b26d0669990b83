"""What has to be the same on each worker, so that its pictures are those of every other."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ClusterError, words_of
from ..jit import cache_folder, write_error
from ..media.atomic_write import Part, atomic_write

# The facts of a worker by their name in messages. Only those that differ are shown.
Facts = dict[str, str]

_CODE = "code of livemosaic"
_PICTURES = "pictures"

# By the names of PyPI. They decode, scale, calculate or encode; others do not change pictures.
_PACKAGES = ("numpy", "numba", "llvmlite", "av", "pillow", "pillow-heif", "scikit-learn")

# Of a file, in equal distances: reading a film or a large gallery as a whole takes minutes. The
# first bytes of a gallery have the SHA-256 of all others.
_SAMPLES, _SAMPLE = 16, 2**16

_DIGEST = re.compile("[0-9a-f]{12}")  # of pictures


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a run needs on each worker, at the same paths.

    Parameters
    ----------
    files : galleries, films and others, which must have the same content there
    folders : which must be there, such as those of photos
    shared : the folder for results: it must be one and the same folder, which workers can write
    """

    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    shared: Path | None = None

    def absolute(self) -> Requirements:
        """The same with absolute paths: a worker has another current folder."""
        shared = None if self.shared is None else self.shared.absolute()
        files = tuple(path.absolute() for path in self.files)
        return Requirements(files, tuple(path.absolute() for path in self.folders), shared)


@contextlib.contextmanager
def token_in(shared: Path | None) -> Iterator[str]:
    """Keep a file with a random name in a folder, so that workers can see that it is the same."""
    if shared is None:
        yield ""
        return
    try:
        part = Part(shared / "livemosaic-workers")  # the next run removes that of a killed one
    except OSError as error:
        fix = "choose another folder"
        raise ClusterError(f"{shared}: cannot be written: {words_of(error)}; {fix}") from None
    try:
        yield part.path.name
    finally:
        part.remove()


def facts_of(requirements: Requirements, token: str = "", like: Facts | None = None) -> Facts:
    """The facts of this process.

    Parameters
    ----------
    token : the name of a file in the shared folder
    like : those of another process; if this one differs, its pictures need not be compared, for
        which kernels may have to be compiled
    """
    facts = _facts_of_process() | {f"file {path}": fingerprint(path) for path in requirements.files}
    for path in requirements.folders:
        facts[f"folder {path}"] = "there" if os.access(path, os.R_OK | os.X_OK) else "not there"
    if shared := requirements.shared:
        facts[f"folder {shared}"] = _state_of(shared, token)
    if like is None or all(like.get(name) == fact for name, fact in facts.items()):
        facts[_PICTURES] = _pictures()
    return facts


@functools.cache
def _facts_of_process() -> Facts:
    import cv2

    from ..media.ffmpeg import av

    facts = {
        "livemosaic": __version__,
        _CODE: code_digest(),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "OpenCV": cv2.__version__,
        "FFmpeg": av.ffmpeg_version_info,
    }
    return facts | {name: _version(name) for name in _PACKAGES}


@functools.cache
def _pictures() -> str:
    """The digest of the pictures of this process. Making them takes as long as a start, so it is
    kept beside the kernels."""
    import cv2
    import numpy as np
    from numba import config

    settings: Any = config
    # The folder's name has only what kernels are compiled for: NUMBA_CPU_NAME makes it the same for
    # different processors. OpenCV and NumPy choose their code by the processor itself.
    features = [cv2.getCPUFeaturesLine(), np.show_config("dicts").get("SIMD Extensions")]
    facts = json.dumps([_facts_of_process(), bool(settings.DISABLE_JIT), features])
    path = cache_folder() / f"pictures-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    with contextlib.suppress(OSError, ValueError):
        if _DIGEST.fullmatch(kept := path.read_text()):
            return kept
    from .probe import probe

    digest = probe()
    with contextlib.suppress(OSError), atomic_write(path) as file:
        file.write(digest.encode())
    return digest


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def code_digest(package: Path = Path(__file__).parent.parent) -> str:
    """A digest of all modules of the package: one of a checkout may differ with equal version."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        # Git on Windows writes other ends of lines.
        code = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(code)} ".encode() + code)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """The size of a file and a digest of samples, or why it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256()
            for number in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    except OSError as error:
        return words_of(error)
    return f"{size:,} bytes, {digest.hexdigest()[:12]}"


def file_digest(path: Path) -> str:
    """A digest of all of a file, or why it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return words_of(error)


def _state_of(shared: Path, token: str) -> str:
    if not shared.is_dir():
        return "not there"
    if not (shared / token).exists():
        return "another folder"
    return f"not writable: {problem}" if (problem := write_error(shared)) else "there"


def host_name() -> str:
    """How messages name this machine."""
    return socket.gethostname()


def difference(own: Facts, other: Facts) -> str:
    """What differs in the facts of a worker, with what to do; empty if nothing does."""
    names = [name for name in own if other.get(name) != own[name]]
    if len(names) > 1:  # these may be consequences of the others
        names = [name for name in names if name not in (_CODE, _PICTURES)] or names[:1]
    if not names:
        return ""
    texts = [_text(name, own[name], other.get(name, "unknown")) for name in names]
    return f"{', '.join(texts)}; {_fix(names)}"


def _text(name: str, own: str, other: str) -> str:
    if name == _PICTURES:
        return "its processor makes other pictures"
    if name == _CODE:
        return f"its {name} is another one of the same version"
    if name.startswith("folder "):
        return f"the {name} is {other}"
    return f"{name} is {other}, here {own}"


def _fix(names: Sequence[str]) -> str:
    if all(name.startswith(("file ", "folder ")) for name in names):
        return "let all machines share the folder, at the same path"
    if names == [_PICTURES]:
        return "use machines with processors of the same kind"
    what = "it from the same files" if names == [_CODE] else "the same version"
    return f"install {what} there, and start the worker again"
