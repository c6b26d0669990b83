"""Options of the command line that would be ignored: each is warned of, or refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from livemosaic.control.ignored_options import Circumstances, ignored_options
from livemosaic.control.options import explicit_options, resolve
from livemosaic.gallery.gallery import Gallery

from .clips import picture
from .program import SMALL, Program, clip, needs_jit

FILE = Circumstances(kind="file")
NO_ENCODER = Circumstances(kind="file", encodes=False)
SHOWN = Circumstances(kind="file", paced=True, interactive=True)
STILL = Circumstances(kind="file", still=True)
CAMERA = Circumstances(kind="camera.webcam", live=True, paced=True, interactive=True)
STREAM = Circumstances(kind="network.stream", live=True, paced=True, interactive=True)
FOLDER = Circumstances(kind="file", builds_gallery=True)
HTTP_FILE = Circumstances(kind="network.stream")
PATTERN = Circumstances(kind="pattern", live=True, paced=True, interactive=True)


def ignored(words: str, run: Circumstances) -> set[str]:
    """The options that are ignored among `flag=value ...`."""
    arguments = dict(word.split("=") for word in words.split())
    explicit = explicit_options(
        {name: True if value == "on" else value for name, value in arguments.items()}
    )
    return set(ignored_options(resolve(explicit), run))


@pytest.mark.parametrize(
    ("words", "run", "expected"),
    [
        ("palette=9 seed=1 calm=0", FILE, "palette seed"),
        ("palette=9 seed=1 match=clusters", FILE, ""),
        ("palette=9 seed=1", SHOWN, ""),  # a key may change the match
        ("calm=0 variety=0 min_distance=1 max_uses=1 tint=1 match=clusters", FILE,
         "calm variety min_distance max_uses"),
        ("calm=0 variety=0 min_distance=1 max_uses=1 match=clusters", SHOWN, ""),
        ("calm=0 variety=0 min_distance=1 max_uses=1", FILE, ""),
        ("calm=0 profile=reference", FILE, "calm"),
        ("calm=0 activity=1 fps=25 duration=1 realtime=on tint=1", STILL,
         "calm activity fps duration realtime"),
        ("activity=1 fps=25 duration=1 realtime=on", FILE, ""),
        ("overlay_luma=on overlay=0", FILE, "overlay_luma"),
        ("overlay_luma=on", FILE, ""),
        ("capture=640x480", FILE, "capture"),
        ("capture=640x480", STREAM, "capture"),
        ("capture=640x480 reconnect=3", CAMERA, ""),
        ("reconnect=3", STREAM, ""),
        ("reconnect=3", HTTP_FILE, "reconnect"),
        ("reconnect=3", FILE, "reconnect"),
        ("reconnect=3", PATTERN, "reconnect"),
        ("realtime=on", CAMERA, "realtime"),
        ("realtime=on", SHOWN, ""),
        ("codec=ffv1 preset=x crf=3", FILE, ""),
        ("codec=ffv1 preset=x crf=3", NO_ENCODER, "codec preset crf"),
        ("crops=0 fit=stretch no_mirror=on", FILE, "crops fit no_mirror"),
        ("crops=0 fit=stretch no_mirror=on", FOLDER, ""),
        ("outside=blur", FILE, "outside"),
        ("outside=blur", SHOWN, ""),
        ("outside=blur area=person", FILE, ""),
        ("outside=blur area=person privacy=on", FILE, "outside area"),
        ("outside=blur area=person privacy=on", CAMERA, ""),
        ("web=0 osc=0", STILL, "web osc"),
        ("web=0 osc=0 palette=9", FILE, "palette"),
        ("guests=party web=0 auto_approve=on", FILE, "guests auto_approve"),
        ("guests=party web=0 auto_approve=on", CAMERA, ""),
        ("web=0 auto_approve=on", CAMERA, "auto_approve"),
        ("max_latency=50", FILE, "max_latency"),
        ("max_latency=50", SHOWN, ""),
        ("max_latency=50", CAMERA, ""),
    ],
)  # fmt: skip
def test_what_is_ignored(words: str, run: Circumstances, expected: str) -> None:
    assert ignored(words, run) == set(expected.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a video and a picture."""
    clip(tmp_path / "a.mp4")
    cv2.imwrite(str(tmp_path / "p.png"), picture(64, 48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_jit
def test_the_program_warns_and_goes_on(folder: Path, program: Program, gallery: Gallery) -> None:
    words = [*SMALL, "--gallery", gallery.path, "--reconnect", "3", "--capture", "64x48"]
    program("run", "a.mp4", "null", *words)  # the first run may report that it compiles
    outcome = program("run", "a.mp4", "null", *words)
    assert outcome.code == 0
    warnings = [line for line in outcome.lines if "warning: " in line]
    assert [line.split()[2] for line in warnings] == ["--capture", "--reconnect"]


@needs_jit
def test_settings_files_cause_no_warning(folder: Path, program: Program, gallery: Gallery) -> None:
    Path("s.toml").write_text(
        "[run]\nreconnect = 3\ncapture = '64x48'\npalette = 9\nformat = 'y4m'\nmax_latency = 50\n"
        "codec = 'ffv1'\ncrf = 5\non_demand = true\n"
    )
    words = [*SMALL, "--gallery", gallery.path, "--config", "s.toml"]
    for input, output in (("a.mp4", "null"), ("p.png", "o.png"), ("a.mp4", "o_%d.png")):
        outcome = program("run", input, output, *words)
        assert outcome.code == 0
        assert "warning" not in outcome.err


def test_a_picture_takes_no_codec(folder: Path, program: Program) -> None:
    outcome = program("run", "p.png", "o.png", "--codec", "ffv1")
    assert outcome.code == 2
    assert "codec" in outcome.err


@needs_jit
@pytest.mark.parametrize("output", ["null", "o.mkv null"])
def test_null_takes_no_codec(output: str, folder: Path, program: Program, gallery: Gallery) -> None:
    words = [*SMALL, "--gallery", gallery.path, "--codec", "ffv1"]
    outcome = program("run", "a.mp4", *output.split(), *words)
    assert outcome.code == 0
    assert ("--codec has no effect" in outcome.err) is (output == "null")


@needs_jit
def test_a_picture_by_clusters_is_no_thorough_one(
    folder: Path, program: Program, gallery: Gallery
) -> None:
    words = [*SMALL, "--gallery", gallery.path, "--match", "clusters"]
    assert program("run", "p.png", "o.png", *words).code == 0


def test_a_format_without_standard_output(folder: Path, program: Program) -> None:
    outcome = program("run", "a.mp4", "o.mkv", "--format", "y4m")
    assert outcome.code == 2
    assert "--format y4m" in outcome.err


@needs_jit
def test_a_live_run_that_nothing_can_change(program: Program, tmp_path: Path) -> None:
    words = ["run", "pattern:64x48@25", "null", "--duration", "0.1", "--tile", "8", "--scale", "1"]
    assert "--palette has no effect" in program(*words, "--palette", "10").err
    (tmp_path / "c.toml").write_text("[run]\n")
    watched = program(*words, "--palette", "10", "--config", str(tmp_path / "c.toml"))
    assert "no effect" not in watched.err
