"""Hardware encoders, without any: by real refusals, by fakes, and by FFmpeg's lists of options."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from livemosaic.errors import LivemosaicError, OptionError, SinkError
from livemosaic.media.deep import DeepInfo
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.sinks import FileOptions, encoder_probe_process, formats, hardware, open_sink
from livemosaic.sinks.auto_codec import choose, told
from livemosaic.sinks.encoder import VideoEncoder
from livemosaic.sinks.encoder_probe import Probe, Trial, probe, refused_devices
from livemosaic.sinks.encoder_probe_process import encode_one, main
from livemosaic.sinks.file import parse_output

from . import clips

MP4 = formats.FORMATS["mp4"]
INFO = StreamInfo(160, 96)
AUTO = FileOptions(codec="auto")


# ---- the process that tries --------------------------------------------------------------


def test_encoders_are_tried(capfd: pytest.CaptureFixture[str]) -> None:
    names = ("libx264", "h264_nvenc", "nope", "aac", "mpeg4")
    found = probe(Trial(names), each_s=60, all_s=60)
    assert tuple(found) == names
    assert found["libx264"]["state"] == found["mpeg4"]["state"] == "good"
    assert found["libx264"]["ms"] > 0
    assert found["libx264"]["psnr"] > 30
    assert found["nope"]["state"] == "absent"
    assert found["aac"]["state"] == "failed"
    assert capfd.readouterr() == ("", "")


def test_ten_bits_are_tried() -> None:
    trial = Trial(("libx265",), 160, 96, deep=True, live=True, low_delay=True)
    assert probe(trial, each_s=60, all_s=60)["libx265"]["psnr"] > 30


def test_encoders_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(Trial(("libx264", "nope", "aac")))
    ready, *answers = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {}
    assert [answer["name"] for answer in answers] == ["libx264", "nope", "aac"]
    assert answers[0]["error"] == ""
    assert answers[1]["error"] == "absent"
    assert answers[2]["error"] not in ("", "absent")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "no such\ndevice"), "no such device"),
        (ValueError("wrong\nsize"), "wrong size"),
        (MemoryError(), "MemoryError"),
        (
            SinkError("x.mp4: it cannot be written; try another"),
            "x.mp4: it cannot be written; try another",
        ),
    ],
)
def test_the_reason_of_an_encoder(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(encoder_probe_process, "VideoEncoder", fail)
    assert encode_one("libx264", Trial(())) == (reason, 0.0, 0.0)


def test_pictures_that_come_back_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver may encode green pictures without any error."""

    class Green(VideoEncoder):
        def encode(self, frame: Frame, **options: Any) -> Iterator[Any]:
            return super().encode(replace(frame, y=frame.y + 100), **options)

    monkeypatch.setattr(encoder_probe_process, "VideoEncoder", Green)
    error, *rest = encode_one("libx264", Trial(()))
    assert "its pictures are wrong" in error
    assert rest == [0.0, 0.0]


_STUB = """
import json, os, pickle, sys, time
print("{}", flush=True)
for name in pickle.load(sys.stdin.buffer).names:
    if name == "crash": os.abort()
    if name == "hang": time.sleep(60)
    if name == "loud": print("a driver's words"); sys.stderr.write("and more\\n")
    print(json.dumps({"name": name, "error": "", "ms": 1.0, "psnr": 40.0}), flush=True)
"""


@pytest.mark.slow
def test_an_encoder_that_ends_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stub_probe.py").write_text(_STUB)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("a", "crash", "loud", "crash2", "hang", "b")
    found = probe(Trial(names), module="stub_probe", each_s=2, all_s=60)
    assert [found[name]["state"] for name in names] == [
        "good", "failed", "good", "good", "failed", "good",
    ]  # fmt: skip
    assert found["crash"]["text"].startswith("its driver ended the process")
    assert "within 2 s" in found["hang"]["text"]
    assert capfd.readouterr() == ("", "")


def test_a_probe_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = probe(Trial(("a", "b")))
    assert [of["state"] for of in found.values()] == ["untried", "untried"]
    assert "No such file" in found["a"]["text"]


@pytest.mark.skipif(sys.platform != "linux", reason="these files are Linux's")
def test_devices_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "renderD128").touch()
    (tmp_path / "card0").touch()
    assert refused_devices(tmp_path) == {}
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may use all
    assert refused_devices(tmp_path) == {
        str(tmp_path / "renderD128"): (tmp_path / "renderD128").group()
    }


# ---- the options of each encoder ---------------------------------------------------------


def private_options(encoder: str) -> dict[str, set[str]]:
    """The options of an encoder, each with its words."""
    options = av.CodecContext.create(encoder, "w").supported_options.private
    return {it.name: {choice.name for choice in it.choices or ()} for it in options}


@pytest.mark.parametrize(
    "encoder", [f"{coding}_{kind}" for coding in ("h264", "hevc", "av1") for kind in hardware.KINDS]
)
def test_every_option_is_one_of_ffmpeg(encoder: str) -> None:
    clips.need_encoder(encoder)
    kind, known = hardware.KINDS[encoder.rpartition("_")[2]], private_options(encoder)
    asked = kind.quality(encoder.partition("_")[0], 20).options
    for options in (kind.options, kind.low_delay, kind.recording, asked):
        for name, value in options.items():
            if name in ("b", "bf") or (encoder == "av1_amf" and name == "rc"):
                continue  # of every encoder; FFmpeg lists it for the others
            if name == "qp_b" and encoder == "hevc_amf":
                continue  # it has no B-frames
            assert name in known
            assert not known[name] or value in known[name]
    assert set(kind.presets) in (set(), set(hardware.X264_PRESETS))
    assert set(kind.presets.values()) <= known.get("preset", set())


@pytest.mark.parametrize(
    ("encoder", "crf", "options", "scale"),
    [
        ("h264_nvenc", None, {"cq": "20"}, None),
        ("hevc_nvenc", None, {"cq": "22"}, None),
        ("av1_nvenc", 40.5, {"cq": "40.5"}, None),
        ("h264_nvenc", 0, {"cq": "1"}, None),
        ("h264_qsv", 23, {}, 23),
        ("av1_qsv", 63, {}, 51),
        ("h264_amf", 50, {"qp_i": "50", "qp_p": "51", "qp_b": "51"}, None),
        ("av1_amf", None, {"qp_i": "120", "qp_p": "120", "qp_b": "120"}, None),
    ],
)
def test_quality(
    encoder: str, crf: float | None, options: Mapping[str, str], scale: int | None
) -> None:
    clips.need_encoder(encoder)
    asked = formats.encoder_defaults(FileOptions(), av.Codec(encoder, "w")).quality
    assert asked is not None
    assert (asked(crf).options, asked(crf).scale) == (options, scale)


def test_quality_of_apple_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    videotoolbox = hardware.KINDS["videotoolbox"].quality
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert videotoolbox("h264", 20) == hardware.Quality(scale=65, is_qscale=True)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert 2 * videotoolbox("h264", 26).bits_per_pixel == videotoolbox("h264", 20).bits_per_pixel
    assert hardware.KINDS["mf"].quality("h264", 51).options == {"quality": "11"}


@pytest.mark.parametrize(
    ("encoder", "size", "words"),
    [
        ("h264_nvenc", (14_080, 7920), "4096x4096"),
        ("hevc_nvenc", (14_080, 7920), "8192x8192"),
        ("h264_qsv", (161, 96), "even"),
        ("h264_vaapi", (160, 96), "memory"),
    ],
)
def test_pictures_that_hardware_cannot_encode(encoder: str, size: Any, words: str) -> None:
    assert words in hardware.problem(encoder, *size)


def test_an_output_that_is_too_large(tmp_path: Path) -> None:
    clips.need_encoder("h264_nvenc")
    with pytest.raises(OptionError, match="4096x4096") as caught:
        open_sink(tmp_path / "o.mp4", StreamInfo(4480, 2520), options=FileOptions("h264_nvenc"))
    assert caught.value.option == "codec"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (FileOptions("h264_qsv", preset="p4"), "preset"),
        (FileOptions("h264_qsv", crf=52), "crf"),
        (FileOptions("h264_v4l2m2m", preset="fast"), "preset"),
        (FileOptions("hevc_nothing_videotoolbox"), "codec"),
        (FileOptions("auto", preset="hasty"), "preset"),
    ],
)
def test_options_that_are_refused(options: FileOptions, option: str) -> None:
    with pytest.raises(OptionError) as caught:
        formats.find_codec(MP4, options, output="o.mp4")
    assert caught.value.option == option


def test_the_options_that_hardware_has() -> None:
    clips.need_encoder("h264_qsv")
    assert formats.supported_options(MP4, FileOptions("h264_qsv")) == {"codec", "preset", "crf"}
    assert formats.supported_options(MP4, AUTO) == {"codec", "preset", "crf"}
    assert not formats.keeps_depth(AUTO)
    assert formats.keeps_depth(FileOptions("hevc_qsv"))
    assert not formats.keeps_depth(FileOptions("hevc_v4l2m2m"))


# ---- auto --------------------------------------------------------------------------------


def answering(**psnr: float) -> Probe:
    """A probe that finds these encoders good."""

    def ask(trial: Trial) -> dict[str, dict[str, Any]]:
        return {
            name: {"state": "good", "text": "", "ms": 1.0, "psnr": psnr[name]}
            if name in psnr
            else {"state": "failed", "text": "torn", "ms": 0.0, "psnr": 0.0}
            for name in trial.names
        }

    return ask


@pytest.fixture(autouse=True)
def _nothing_was_told() -> None:
    told.clear()


def chosen(
    probe: Probe, info: StreamInfo = INFO, options: FileOptions = AUTO, container: str = "mp4"
) -> FileOptions:
    return choose(formats.FORMATS[container], options, info, output="o", probe=probe)


@pytest.fixture
def all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if FFmpeg had every kind of hardware."""
    names = ("nvenc", "qsv", "amf", "v4l2m2m")
    monkeypatch.setattr(
        formats, "hardware_encoders", lambda coding: [f"{coding}_{kind}" for kind in names]
    )


@pytest.mark.usefixtures("all_kinds")
def test_auto_takes_the_first_good_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(answering(libx264=40, h264_qsv=39, h264_amf=41)).codec == "h264_qsv"
    chosen(answering(libx264=40, h264_qsv=39))
    assert caplog.messages == ["o: codec auto takes h264_qsv"]


@pytest.mark.usefixtures("all_kinds")
def test_auto_takes_none_that_is_worse(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(answering(libx264=40, h264_amf=33)).codec is None
    (line,) = caplog.messages
    assert line.startswith("o: codec auto takes libx264: no hardware encoder works here (")
    assert "h264_nvenc, h264_qsv, h264_v4l2m2m: torn; h264_amf: its pictures are worse" in line


@pytest.mark.usefixtures("all_kinds")
@pytest.mark.parametrize(
    ("info", "container", "words"),
    [
        (StreamInfo(14_080, 7920), "mp4", "at most 4096x4096"),
        (StreamInfo(160, 96, alpha=True), "webm", "transparency"),
        (INFO, "gif", "gif"),
    ],
)
def test_auto_says_why_not(
    info: StreamInfo, container: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(answering(), info, container=container).codec is None
    assert words in caplog.text


@pytest.mark.usefixtures("all_kinds")
def test_auto_keeps_the_mastering_data_of_hdr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    from livemosaic.media.colour import Colour

    wide = Colour(matrix="bt2020", tags=(9, 16, 9, 1))
    info = StreamInfo(160, 96, deep=DeepInfo(wide, light=(1000, 400)))
    options = replace(AUTO, keep_hdr=True)
    good = answering(libx265=40, hevc_qsv=40)
    assert chosen(good, info, options).codec is None
    assert "mastering" in caplog.text
    info = replace(info, deep=DeepInfo(wide))
    assert chosen(good, info, options).codec == "hevc_qsv"


@pytest.mark.usefixtures("all_kinds")
def test_auto_gives_a_preset_to_those_that_have_some() -> None:
    options = replace(AUTO, preset="slow", crf=25.0)
    assert chosen(answering(h264_qsv=40), options=options) == replace(options, codec="h264_qsv")
    without = replace(options, codec="h264_v4l2m2m", preset=None)
    assert chosen(answering(h264_v4l2m2m=40), options=options) == without


def test_auto_with_the_hardware_that_is_here(tmp_path: Path) -> None:
    """Almost every machine for tests has none."""
    sink = open_sink(tmp_path / "o.mp4", INFO, options=AUTO)
    for frame in clips.frames(3):
        sink.write(frame)
    sink.close()
    assert sink.codec is not None
    with av.open(str(tmp_path / "o.mp4")) as made:
        assert made.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in made.decode(video=0)) == 3


def test_auto_that_finds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another real encoder stands for hardware; its answer is remembered."""
    monkeypatch.setattr(formats, "hardware_encoders", lambda coding: ["libx265"])
    destination = parse_output(str(tmp_path / "o.mp4"), replace(AUTO, crf=12.0))
    resolved = destination.resolved(INFO)
    assert resolved.options.codec == "libx265"
    assert resolved.resolved(INFO) is resolved
    monkeypatch.setattr(subprocess, "Popen", None)
    assert destination.resolved(INFO) == resolved
    assert pickle.loads(pickle.dumps(resolved)) == resolved


@pytest.mark.parametrize(
    "quality",
    [
        hardware.Quality({"crf": "18"}),
        hardware.Quality(scale=20, is_qscale=True),
        hardware.Quality(bits_per_pixel=0.3),
    ],
)
def test_a_hardware_encoder_encodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: hardware.Quality
) -> None:
    """An encoder without hardware has the options of one."""
    kind = hardware.Hardware("a fake", lambda *_: quality, {"preset": "fast"}, {"tune": "none"})
    monkeypatch.setitem(hardware.KINDS, "libx264rgb", kind)
    for live in (False, True):
        path = tmp_path / f"{live}.mkv"
        info = replace(INFO, live=live, rate=Fraction(30))
        with open_sink(path, info, options=FileOptions("libx264rgb", crf=30.0)) as sink:
            for frame in clips.frames(4):
                sink.write(frame)
        with av.open(str(path)) as made:
            assert sum(1 for _ in made.decode(video=0)) == 4


def test_a_refusal_says_why(tmp_path: Path) -> None:
    clips.need_encoder("h264_nvenc")
    found = probe(Trial(("h264_nvenc",), 160, 96))["h264_nvenc"]
    if found["state"] == "good":
        pytest.skip("this machine has it")
    with pytest.raises(LivemosaicError) as caught:
        open_sink(tmp_path / "o.mp4", INFO, options=FileOptions("h264_nvenc"))
    assert f"({found['text']})" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_auto_when_the_hardware_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The trial was good, and then too many others encode."""
    clips.need_encoder("h264_nvenc")
    if probe(Trial(("h264_nvenc",), 160, 96))["h264_nvenc"]["state"] == "good":
        pytest.skip("this machine has it")
    monkeypatch.setattr(
        "livemosaic.sinks.auto_codec.choose", lambda *_, **__: FileOptions("h264_nvenc")
    )
    caplog.set_level(logging.INFO)
    sink = open_sink(tmp_path / "o.mp4", INFO, options=AUTO)
    sink.abort()
    assert sink.codec == "libx264"
    assert caplog.messages[-1].endswith("; codec auto takes the software encoder")
