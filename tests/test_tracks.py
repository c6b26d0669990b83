"""Tracks beside the picture that cannot be decoded, begin late, change or are damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.media.ffmpeg import av, copy_packet, demux, open_container, shift_packet
from livemosaic.media.frame import Frame
from livemosaic.sinks import open_sink
from livemosaic.sources import open_source

from . import clips

CORPUS = Path(__file__).with_name("corpus")


def copy(source: Path, target: Path) -> None:
    """Write all items of a file to another one."""
    with open_source(str(source)) as opened, open_sink(str(target), opened.info) as sink:
        for item in clips.items(opened):
            sink.write(item)


def sound(path: Path) -> tuple[float, np.ndarray[Any, np.dtype[np.float32]]]:
    """When a file's sound begins, and its mean wave at 48,000 samples/s."""
    with open_container(str(path)) as container:
        frames = list(container.decode(audio=0))
    # A resampler each: sound that was copied may change.
    parts = [
        part.to_ndarray()[0]
        for frame in frames
        for part in av.AudioResampler("flt", "mono", 48000).resample(frame)
    ]
    return frames[0].time, np.concatenate(parts)


def level(wave: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    return float(10 * np.log10(np.mean(wave**2) + 1e-12))


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a second sound track that FFmpeg does not know."""
    path = tmp_path_factory.mktemp("unknown") / "in.mov"
    clips.make(path, clips.frames(25), sound=["alac", "aac"])
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "webm", "ts"])
def test_unknown_sound_is_left_out_with_a_warning(
    tmp_path: Path, unknown: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "livemosaic"):
        copy(unknown, tmp_path / f"o.{ending}")
    kinds = [kind for kind, *_ in clips.streams(tmp_path / f"o.{ending}")]
    assert kinds == ["video", "audio"]
    assert [r.message.partition(":")[0] for r in caplog.records] == ["track 2 (audio) is left out"]


def test_teletext_is_copied_where_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = CORPUS / "02-undecodable-track" / "teletext.ts"
    copy(source, tmp_path / "o.ts")
    assert not caplog.records
    sent, kept = (clips.packet_times(path, "subtitle") for path in (source, tmp_path / "o.ts"))
    assert len(kept) == len(sent) - 4  # those from before the first picture
    copy(source, tmp_path / "o.mkv")
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        "track 2 (subtitle, deu) is left out"
    ]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
def test_sound_behind_the_probe_keeps_its_rate(tmp_path: Path, ending: str) -> None:
    """A tone of 5 kHz at 48,000 samples/s that begins after 8 s."""
    target = tmp_path / f"o.{ending}"
    copy(CORPUS / "03-late-sound" / "small_late.ts", target)
    if ending == "ts":
        assert len(clips.packet_times(target, "audio")) == 48
        return
    begin, wave = sound(target)
    with open_container(str(target)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.sample_rate, context.layout.nb_channels) == (48000, 1)
    heard = wave[round((8.2 - begin) * 48000) : round((8.8 - begin) * 48000)]
    assert level(heard) == pytest.approx(-21, abs=1)
    crossings = np.count_nonzero(np.diff(np.signbit(heard)))
    assert crossings / 0.6 / 2 == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "aac"), ("mp4", "ac3"), ("mov", "aac"), ("mov", "pcm_s16le"), ("mp4", "pcm_s16le")],
)
def test_late_sound_of_a_live_input(tmp_path: Path, ending: str, codec: str) -> None:
    """MP4 cannot begin without a packet of each track; a recording plays before its sound comes."""
    source = clips.make(tmp_path / "in.mkv", clips.frames(200), sound=[codec])
    target = tmp_path / f"o.{ending}"
    with (
        open_source(str(source)) as opened,
        open_sink(str(target), replace(opened.info, live=True)) as sink,
    ):
        for item in clips.items(opened):
            if isinstance(item, Frame):
                sink.write(item)
                if item.pts * item.time_base == 4:
                    (part,) = tmp_path.glob(".o.*")
                    assert clips.packet_times(part, "video")[-1] > 2
            elif item.packet.pts * item.packet.time_base >= 5:
                sink.write(item)
    assert len(clips.packet_times(target, "video")) == 200
    with open_container(str(target)) as container:
        heard = [it for it in container.decode(audio=0) if np.abs(it.to_ndarray()).max() > 1e-3]
    assert heard[0].time == pytest.approx(5, abs=0.05)
    assert heard[-1].time == pytest.approx(8, abs=0.05)


@pytest.mark.parametrize("ending", ["mov", "mp4", "mkv", "avi"])
def test_sound_after_a_gap_is_not_early(tmp_path: Path, ending: str) -> None:
    source = clips.make(tmp_path / "in.mkv", clips.frames(100), sound=["pcm_s16le"])
    target = tmp_path / f"o.{ending}"
    with open_source(str(source)) as opened, open_sink(str(target), opened.info) as sink:
        for item in clips.items(opened):
            if isinstance(item, Frame) or not 1 <= item.packet.pts * item.packet.time_base < 3:
                sink.write(item)
    with open_container(str(target)) as container:
        frames = [
            (it.time, np.abs(it.to_ndarray()).max() > 1e-3) for it in container.decode(audio=0)
        ]
    loud = [time for time, is_loud in frames if is_loud]
    assert not [time for time in loud if 1.1 < time < 2.9]
    assert loud[-1] == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "webm", "ts"])
@pytest.mark.parametrize("name", ["aac_2_6", "aac_2_1"])
def test_sound_that_changes_plays_to_its_end(
    tmp_path: Path, name: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Stereo, then other channels, 2 s each: 440 Hz all the time."""
    target = tmp_path / f"o.{ending}"
    copy(CORPUS / "10-aac-changes" / f"{name}.ts", target)
    assert not [r for r in caplog.records if "damaged" in r.message]
    _, wave = sound(target)
    assert len(wave) / 48000 == pytest.approx(3.95, abs=0.12)
    for begin_s in (0.5, 2.5, 3.2):
        part = wave[round(begin_s * 48000) : round((begin_s + 0.5) * 48000)]
        assert np.count_nonzero(np.diff(np.signbit(part))) == pytest.approx(440, abs=5)
        assert -33 < level(part) < -20


def test_a_packet_that_a_muxer_refuses_costs_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = clips.make(tmp_path / "in.ts", clips.frames(50), sound=["aac"])
    for ending in ("mp4", "mkv", "mov"):
        caplog.clear()
        target = tmp_path / f"o.{ending}"
        with open_source(str(source)) as opened, open_sink(str(target), opened.info) as sink:
            for number, item in enumerate(clips.items(opened)):
                if not isinstance(item, Frame) and number in (20, 21, 60):
                    data = bytearray(bytes(item.packet))
                    data[1] &= ~1  # says that there is a checksum
                    data[6] |= 3  # and that there are four blocks in it
                    item = item._replace(packet=copy_packet(item.packet, bytes(data)))
                sink.write(item)
        assert len(clips.packet_times(target, "video")) == 50
        assert len(clips.packet_times(target, "audio")) > 85
        assert [r.message for r in caplog.records] == [
            "track 1 (audio, aac) is damaged, parts are left out"
        ]


def test_the_end_of_a_file_with_a_track_that_begins_midway() -> None:
    class Container:
        def demux(self, *_: Any) -> Iterator[int]:
            yield from (1, 2)
            raise IndexError("list index out of range")

    assert list(demux(Container(), ())) == [1, 2]


@pytest.mark.parametrize("sound", [[], ["pcm_s16le"]])
@pytest.mark.parametrize("ending", ["y4m", "avi"])
def test_a_pause_of_days_does_not_fill_the_disk(
    tmp_path: Path, ending: str, sound: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    options = {"qp": "0", "bf": "0"}
    short = clips.make(tmp_path / "in.mkv", clips.frames(50), options=options, sound=sound)
    film, target = tmp_path / "long.mkv", tmp_path / f"o.{ending}"
    with open_container(str(short)) as source, open_container(str(film), "w") as longer:
        streams = [longer.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                if packet.pts * packet.time_base >= 1:
                    shift_packet(packet, Fraction(400_000))
                packet.stream = streams[packet.stream.index]
                longer.mux(packet)
    copy(film, target)
    assert len(clips.packet_times(target, "video")) == 50 + 30 * 25
    assert "pauses for 400000 s, here for 30 s" in caplog.text
    if sound and ending == "avi":
        assert clips.packet_times(target, "audio")[-1] == pytest.approx(32, abs=0.1)


def test_a_picture_lasts_as_long_as_the_sound_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = clips.make(tmp_path / "in.mkv", clips.frames(1000), pts=range(1000), sound=["pcm_s16le"])
    target = tmp_path / "o.avi"
    with open_source(str(film)) as opened, open_sink(str(target), opened.info) as sink:
        for item in clips.items(opened):
            if not isinstance(item, Frame) or item.pts == 0 or item.time_s >= 39:
                sink.write(item)
    assert not caplog.records
    assert len(clips.packet_times(target, "video")) == 1000


def test_a_pause_of_a_day_is_kept_in_mp4_and_one_of_a_week_shortened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for days, end_s in ((1, 86400), (7, 107374)):
        later = days * 86400 * 25
        film = clips.make(
            tmp_path / f"{days}.mkv", clips.frames(10), pts=[*range(5), *range(later, later + 5)]
        )
        copy(film, tmp_path / f"{days}.mp4")
        times = clips.packet_times(tmp_path / f"{days}.mp4", "video")
        assert times[-1] - times[0] == pytest.approx(end_s, abs=1)
        assert ("pauses" in caplog.text) is (days == 7)


def test_sound_hours_after_the_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is not filled with hours of silence, in memory or on the disk."""
    film = clips.make(tmp_path / "in.mkv", clips.frames(50), sound=["pcm_s16le"])
    for ending in ("avi", "mp4", "webm"):
        target = tmp_path / f"o.{ending}"
        with open_source(str(film)) as opened, open_sink(str(target), opened.info) as sink:
            for item in clips.items(opened):
                if not isinstance(item, Frame) and item.packet.pts * item.packet.time_base > 1:
                    packet = shift_packet(copy_packet(item.packet), Fraction(3 * 3600))
                    item = item._replace(packet=packet)
                sink.write(item)
        assert len(clips.packet_times(target, "video")) == 50
        times = clips.packet_times(target, "audio")
        assert len(times) < 150
        if ending == "mp4":
            assert times[-1] == pytest.approx(3 * 3600 + 2, abs=0.1)
    assert len([r for r in caplog.records if "left out" in r.message]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_aac_of_a_broadcast_goes_into_a_pipe(tmp_path: Path) -> None:
    """Matroska could write AAC's configuration only at the end, where a pipe cannot go back."""
    film = clips.make(tmp_path / "in.ts", clips.frames(25), sound=["aac"])
    pipe, result = tmp_path / "o.mkv", tmp_path / "kept.mkv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(pipe.read_bytes)
        copy(film, pipe)
        result.write_bytes(read.result(20))
    _, wave = sound(result)
    assert len(wave) / 48000 == pytest.approx(1, abs=0.1)
    assert level(wave) > -20


def test_an_attachment_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film, target = clips.make(tmp_path / "in.mkv"), tmp_path / "with.mkv"
    with open_container(str(film)) as source, open_container(str(target), "w") as result:
        video = result.add_stream_from_template(source.streams.video[0])
        result.add_attachment("note.txt", "text/plain", b"hello")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                result.mux_one(packet)
    copy(target, tmp_path / "o.mkv")
    assert not caplog.records
    with open_container(str(tmp_path / "o.mkv")) as container:
        assert [bytes(it.data) for it in container.streams.attachments] == [b"hello"]
    copy(target, tmp_path / "o.mp4")
    assert "track 1 (attachment, note.txt) is left out" in caplog.text


def test_a_track_has_the_name_of_its_codec(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not that of FFmpeg's decoder, which is mp3float."""
    source = clips.make(tmp_path / "in.mkv", clips.frames(25), sound=["libmp3lame"])
    copy(source, tmp_path / "o.gif")
    copy(source, tmp_path / "o.y4m")
    assert "track 1 (audio, mp3) " in caplog.text
    assert "float" not in caplog.text


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_sound_that_only_the_outputs_muxer_refuses_costs_no_picture(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The trial has learnt from a packet that it refused."""
    copy(CORPUS / "17-noisy-sound" / "eac3.mkv", tmp_path / f"out.{ending}")
    with open_container(str(tmp_path / f"out.{ending}")) as container:
        assert len(list(container.decode(video=0))) == 5
    assert "track 1 (audio, eac3) is damaged, parts are left out" in caplog.messages


def test_dolby_of_a_version_that_mp4_has_no_name_for_costs_no_picture(tmp_path: Path) -> None:
    """FFmpeg notices it when it writes the header, at the end."""
    clips.make(tmp_path / "in.ts", clips.frames(25), sound=["ac3"])
    with (
        open_source(str(tmp_path / "in.ts")) as opened,
        open_sink(str(tmp_path / "out.mp4"), opened.info) as sink,
    ):
        for number, item in enumerate(clips.items(opened)):
            if not isinstance(item, Frame) and number < 8:
                data = bytearray(bytes(item.packet))
                data[5] = 10 << 3 | data[5] & 7
                item = item._replace(packet=copy_packet(item.packet, bytes(data)))
            sink.write(item)
    with open_container(str(tmp_path / "out.mp4")) as container:
        assert len(list(container.decode(video=0))) == 25


def surround(path: Path, codec: str, layout: str) -> Path:
    """A film whose channels have a tone each, from 80 Hz on in steps of 20 Hz."""
    formats, channels = av.Codec(codec, "w").audio_formats, av.AudioLayout(layout).nb_channels
    assert formats
    times = np.arange(48_000) / 48_000
    waves = np.sin(2 * np.pi * times * (80 + 20 * np.arange(channels))[:, None]) / 10
    tone = av.AudioFrame.from_ndarray(waves.astype(np.float32), "fltp", layout)
    tone.sample_rate = 48_000
    with open_container(str(path), "w") as container:
        picture: Any = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        track: Any = container.add_stream(codec, rate=48_000, layout=layout, format=formats[0])
        for frame in clips.frames(25):
            container.mux(picture.encode(clips.av_frame(frame)))
        container.mux(picture.encode(None))
        for part in av.AudioResampler(formats[0], layout, 48_000).resample(tone):
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return path


def tones(path: Path) -> tuple[str, list[int]]:
    """The layout of a file's sound, and the frequency in each channel."""
    with open_container(str(path)) as container:
        frames = list(container.decode(audio=0))
    layout = frames[0].layout.name
    resampler = av.AudioResampler("fltp", layout, 48_000)
    wave = np.concatenate([p.to_ndarray() for f in frames for p in resampler.resample(f)], axis=1)
    spectrum = np.abs(np.fft.rfft(wave[:, 12_000:36_000] * np.hanning(24_000)))
    return layout, (spectrum.argmax(axis=1) * 2).tolist()


@pytest.mark.parametrize(
    ("codec", "layout", "ending", "expected"),
    [
        ("pcm_s16le", "5.1(side)", "mp4", "5.1"),
        ("pcm_s16le", "5.0(side)", "ts", "5.0"),
        ("ac3", "5.1(side)", "webm", "5.1"),
        ("eac3", "5.0(side)", "webm", "5.1"),  # FFmpeg mixes up the channels of 5.0
        ("pcm_s16le", "quad", "mp4", "quad"),  # Matroska only gives the number
    ],
)
def test_surround_sound_stays(
    tmp_path: Path, codec: str, layout: str, ending: str, expected: str
) -> None:
    source = surround(tmp_path / ("in.mkv" if layout == "quad" else "in.mov"), codec, layout)
    copy(source, tmp_path / f"out.{ending}")
    found, frequencies = tones(tmp_path / f"out.{ending}")
    assert found == expected
    if layout == "5.0(side)" and expected == "5.1":
        del frequencies[3]  # low frequencies, which are silent
    assert frequencies == tones(source)[1]


def test_sound_that_is_mixed_down_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = surround(tmp_path / "in.mkv", "eac3", "5.1(side)")
    with caplog.at_level(logging.INFO):
        copy(source, tmp_path / "out.avi")
    assert "its 6 channels are mixed to 2" in caplog.text


@pytest.mark.parametrize(("ending", "warns"), [("avi", True), ("mkv", False)])
def test_sound_before_the_first_picture_is_kept_or_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, warns: bool
) -> None:
    film = clips.make(tmp_path / "in.mkv", pts=range(20, 30), sound=["aac"])
    copy(film, tmp_path / f"out.{ending}")
    assert ("sound before the first picture is left out" in caplog.text) is warns
