"""The same seed, input and options give the same pictures, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av

from .program import finish, needs_jit, spawn

pytestmark = needs_jit


def digest(path: Path) -> str:
    """The digest of all samples of all frames, and of their times."""
    state = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            state.update(f"{frame.time} {frame.format.name}".encode())
            state.update(frame.to_ndarray().tobytes())
    return state.hexdigest()


Render = Callable[..., str]


@pytest.fixture
def render(tmp_path: Path, real_clip: Path, gallery: Gallery) -> Render:
    """A function that makes a mosaic of half a second of a real clip and returns its digest."""

    def made(*words: Any, threads: int = 2, gallery: object = gallery.path, **options: Any) -> str:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        path = tmp_path / "x.mkv"
        command = ["run", real_clip, path, "--codec", "ffv1", "--duration", "0.5", "-y"]
        small = ["--size", "320x180", "--tile", "8", "--gallery", gallery]
        env = dict.fromkeys(names, str(threads))
        outcome = finish(spawn(*command, *small, *words, env=env, **options))
        assert outcome.code == 0, outcome.err
        (tmp_path / "report.json").write_text(outcome.out)
        return digest(path)

    return made


@pytest.mark.slow
@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_the_same_again(render: Render, tmp_path: Path, match: str) -> None:
    words = ("--match", match, "--seed")
    first = render(*words, "7")
    assert render(*words, "7", threads=1) == first
    # Two outputs hold pictures for longer, so that they are painted elsewhere.
    other = tmp_path / "y.mkv"
    assert render(other, "null", *words, "7") == first
    assert digest(other) == first
    # The match by layout draws nothing at random.
    assert (render(*words, "8") == first) is (match == "layout")


@pytest.mark.slow
def test_the_reference_again(render: Render) -> None:
    words = ("--profile", "reference", "--tile", "8")
    first = render(*words)
    assert render(*words, threads=1) == first


@pytest.mark.slow
def test_an_included_gallery_again(render: Render) -> None:
    assert render(gallery="emoji") == render(gallery="emoji", threads=1)


@pytest.mark.slow
def test_pace_changes_no_picture(render: Render, tmp_path: Path) -> None:
    for _ in range(5):
        pictures = render("--realtime", "--json")
        report = json.loads((tmp_path / "report.json").read_text())
        if report["dropped"] == 0 and not (report["governor"] or {}).get("changes"):
            break
    else:
        pytest.fail("this machine is too busy: every run dropped frames")
    assert pictures == render()
