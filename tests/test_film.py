"""Films in segments, with `--resume` or `--cluster`: planned, rendered, joined, resumed."""

from __future__ import annotations

import json
import math
import os
import signal
import time
import tracemalloc
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_args

import cv2
import numpy as np
import pytest

from livemosaic import open_gallery, render
from livemosaic.cluster import film as films
from livemosaic.cluster.engine import Engine
from livemosaic.cluster.film import FilmProgress
from livemosaic.cluster.film_key import OF_PICTURES, absolute_options, named_images
from livemosaic.cluster.join import decoding_times, frames_of
from livemosaic.cluster.packets import PacketFile, PacketWriter
from livemosaic.cluster.parts import own_parts
from livemosaic.cluster.plan import (
    LONGEST_S,
    SHORTEST_S,
    USUAL_S,
    Plan,
    PlannedFrame,
    PlannedFrames,
    Planning,
    find_cuts,
    next_first,
)
from livemosaic.cluster.requirements import fingerprint
from livemosaic.control.options import OPTIONS as ALL_OPTIONS
from livemosaic.control.options import RunOptions
from livemosaic.errors import LivemosaicError, OptionError, SinkError, SourceError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.processors import use_at_most
from livemosaic.session import open_input, parse_outputs
from livemosaic.unfinished import remove_unfinished

from .clips import make, need_encoder
from .conftest import moving_pictures
from .gallery_files import write_photos
from .program import Program, Run, left, needs_jit, put_in_the_way

pytestmark = needs_jit

OPTIONS: dict[str, Any] = {"scale": 1, "tile": 8, "overwrite": True}
SIZE = (64, 48)

E = TypeVar("E", bound=Engine)


class HereEngine(Engine):
    """Does the tasks in this process, the shortest first."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __enter__(self) -> HereEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def places(self) -> int:
        return 1

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Iterable[Any],
        *,
        size: Callable[[Any], float] = lambda _: 0,
        **_: Any,
    ) -> Iterator[tuple[int, Any]]:
        numbered = [*enumerate(task for task in tasks if task is not None)]
        for number, task in sorted(numbered, key=lambda it: size(it[1])):
            self.done.append(str(task))
            yield number, as_a_worker(function, task)


class EagerEngine(HereEngine):
    """Does each task as soon as it is there, before the next is made."""

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Iterable[Any],
        *,
        on_progress: Callable[[int], None] | None = None,
        **_: Any,
    ) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(task for task in tasks if task is not None):
            self.done.append(str(task))
            yield number, as_a_worker(function, task)
            if on_progress is not None:
                on_progress(0)


def as_a_worker(function: Callable[[Any], Any], task: Any) -> Any:
    use_at_most(1)
    try:
        return function(task)
    finally:
        use_at_most(math.inf)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> HereEngine:
    """No processes: these tests are about segments."""
    return use(monkeypatch, HereEngine())


def use(monkeypatch: pytest.MonkeyPatch, engine: E) -> E:
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: engine)
    return engine


def film(path: Path, count: int = 40, **options: Any) -> Path:
    """A film of one frame a second, with cuts at 9 s and 21 s."""
    pictures = [
        *moving_pictures(9, size=SIZE, seed=1),
        *moving_pictures(12, size=SIZE, seed=2),
        *moving_pictures(max(0, count - 21), size=SIZE, seed=3),
    ][:count]
    items = [Frame.from_bgr(it, pts=n, duration=1) for n, it in enumerate(pictures)]
    options = {"rate": 1, "time_base": Fraction(1, 1000), **options}
    pts = options.pop("pts", [n * 1000 for n in range(count)])
    return make(path, items, pts=pts, **options)


def contents(path: Path) -> dict[str, Any]:
    """What is in a file, but the bytes of the pictures."""
    with av.open(str(path)) as container:
        streams = container.streams
        found: dict[str, Any] = {
            "streams": [
                (it.type, it.codec_context and it.codec_context.name, it.time_base, it.metadata)
                for it in streams
            ],
            "header": bytes(streams.video[0].codec_context.extradata or b""),
            "tag": streams.video[0].codec_context.codec_tag,
            "metadata": dict(container.metadata),
            "chapters": [(it["start"], it["end"]) for it in container.chapters()],
            "duration": (container.duration, streams.video[0].duration),
        }
        found["metadata"].pop("encoder", None)
        packets: dict[int, list[Any]] = {it.index: [] for it in streams}
        for packet in container.demux():
            if packet.size:
                is_video = packet.stream.type == "video"
                # Of a picture, MP4 tells the time to the next one that is decoded.
                told = (packet.pts,) if is_video else (packet.pts, packet.duration, bytes(packet))
                packets[packet.stream_index].append(told)
        found["packets"] = {
            number: sorted(its) if streams[number].type == "video" else its
            for number, its in packets.items()
        }
    return found


def pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


# ---- the plan ------------------------------------------------------------------------------------


def split(times: Sequence[float], scores: Sequence[float]) -> list[int]:
    """The first frames of the segments, as found in the whole film."""
    cuts = find_cuts(scores, range(len(scores)))
    firsts = [0]
    while times[-1] - times[firsts[-1]] > LONGEST_S:
        begin_s = times[firsts[-1]]
        low = bisect_left(times, begin_s + SHORTEST_S)
        high = bisect_right(times, min(begin_s + LONGEST_S, times[-1] - SHORTEST_S))
        if inside := [cut for cut in cuts if low <= cut < high]:
            firsts.append(min(inside, key=lambda cut: abs(times[cut] - begin_s - USUAL_S)))
        else:
            firsts.append(max(range(low, max(high, low + 1)), key=lambda number: scores[number]))
    return firsts


def split_while_read(times: Sequence[float], scores: Sequence[float]) -> tuple[list[int], int]:
    """The same, each as soon as it is known, and how many are known before the last frame."""
    firsts, early = [0], 0
    for count in range(1, len(times) + 1):
        early, known = len(firsts), (times[:count], scores[:count])
        while first := next_first(*known, firsts[-1], is_whole=False):
            firsts.append(first)
    while first := next_first(times, scores, firsts[-1], is_whole=True):
        firsts.append(first)
    return firsts, early


@pytest.mark.parametrize("gap_s", [0.04, 0.3, 1.0, 5.0])
def test_segments_are_the_same_before_the_end_is_known(gap_s: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(12):
        count = int(rng.integers(1, 700))
        gaps = rng.choice([rng.exponential(gap_s, count), np.full(count, gap_s)])
        gaps[rng.random(count) < 0.005] += 20
        scores = list(rng.choice([0.0, 1.0, 13.0, 60.0], count, p=[0.5, 0.4, 0.07, 0.03]))
        times = list(np.cumsum(gaps + 0.001))
        found, early = split_while_read(times, scores)
        assert found == split(times, scores)
        assert early >= len([n for n in found if times[n] < times[-1] - 2 * LONGEST_S - 10 * gap_s])


def test_cuts() -> None:
    scores = [0.0, 1, 1, 60, 1, 1, 14, 15, 16, 15, 14, 1, 13, 0, 0]
    assert find_cuts(scores, range(len(scores))) == [3, 12]


def test_segments_begin_at_cuts_and_have_a_length_in_a_range() -> None:
    rng = np.random.default_rng(3)
    scores = rng.uniform(0, 5, 3000)
    scores[[100, 222, 223, 1000, 2990]] = 80
    times = [n / 25 for n in range(3000)]
    firsts = split(times, list(scores))
    lengths = np.diff([*firsts, 3000]) / 25
    assert {222, 1000} <= set(firsts)
    assert (lengths >= SHORTEST_S).all()
    assert (lengths <= LONGEST_S + 0.04).all()


def test_a_film_that_begins_at_a_segment_has_the_same_segments() -> None:
    scores = list(np.random.default_rng(3).uniform(0, 50, 3000))
    times = [n / 25 for n in range(3000)]
    firsts = split(times, scores)
    assert split(times[firsts[3] :], scores[firsts[3] :]) == [n - firsts[3] for n in firsts[3:]]


def test_times_with_long_pauses() -> None:
    assert split([0.0, 100.0, 200.0, 201.0], [0.0] * 4) == [0, 1, 2]
    assert split([5.0], [0.0]) == [0]


# ---- packets -------------------------------------------------------------------------------------


def test_packets_are_kept_exactly(tmp_path: Path) -> None:
    packet: Any = av.Packet(b"abc")
    packet.pts, packet.dts, packet.duration, packet.time_base = 7, -2, 3, Fraction(1, 90_000)
    packet.is_keyframe = True
    path = tmp_path / "p"
    with path.open("wb") as file:
        writer = PacketWriter(file)
        writer.add(packet, 4, 1)
        writer.finish(codec="x")
    read = PacketFile(path)
    ((found, notes),) = read
    assert (bytes(found), found.pts, found.dts, found.duration) == (b"abc", 7, -2, 3)
    assert (found.time_base, found.is_keyframe, notes) == (Fraction(1, 90_000), True, [4, 1])
    assert read.about == {"codec": "x"}


def test_side_data_and_unknown_times_of_packets(tmp_path: Path) -> None:
    SideData: Any = av.packet.PacketSideData
    path, sides = tmp_path / "p", [("new_extradata", b"12345"), ("palette", bytes(1024))]
    with path.open("wb") as file:
        writer = PacketWriter(file)
        for number in range(3):
            packet: Any = av.Packet(bytes(number))
            packet.time_base = Fraction(1, 25)
            if number:
                packet.pts, packet.dts = number, None
            for name, content in sides[:number]:
                kind: Any = get_args(av.packet.PktSideDataT).index(name)
                side = SideData(kind, len(content))
                side.update(content)
                packet.set_sidedata(side)
            writer.add(packet, *range(number))
        writer.finish()
    read = PacketFile(path)
    found = [
        (
            *(bytes(packet), packet.pts, packet.dts, packet.duration, packet.is_keyframe, notes),
            {it.data_type: bytes(it) for it in packet.iter_sidedata()},
        )
        for packet, notes in read
    ]
    assert found == [
        (bytes(number), number or None, None, 0, False, [*range(number)], dict(sides[:number]))
        for number in range(3)
    ]
    assert [pts for pts, _ in read.times][1:] == [1, 2]
    os.truncate(path, 100)
    for use in (lambda: list(read), lambda: read.times):
        with pytest.raises(SinkError, match="cut off meanwhile"):
            use()


def test_packets_take_no_memory(tmp_path: Path) -> None:
    """A film has a million of sound."""
    packet: Any = av.Packet(b"abc")
    packet.time_base = Fraction(1, 48_000)
    path, used = tmp_path / "p", list[int]()
    tracemalloc.start()
    try:
        with path.open("wb") as file:
            writer = PacketWriter(file)
            for number in range(5000):
                packet.pts = packet.dts = 1024 * number
                writer.add(packet, number, 1, 0)
            used.append(tracemalloc.get_traced_memory()[0])
            writer.finish()
        del writer
        read = PacketFile(path)
        used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(used) < 100_000
    assert [notes[0] for _, notes in read] == list(range(5000))


@pytest.mark.parametrize("at", [0, 1, -30, None])
def test_damaged_packets_are_noticed(tmp_path: Path, at: int | None) -> None:
    path = tmp_path / "p"
    with path.open("wb") as file:
        writer = PacketWriter(file)
        packet: Any = av.Packet(b"abc")
        packet.time_base = Fraction(1, 25)
        writer.add(packet)
        writer.finish()
    data = bytearray(path.read_bytes())
    if at is None:
        del data[-1]
    else:
        data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"cut off|damaged"):
        PacketFile(path)


def test_packets_that_are_removed_meanwhile_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with path.open("wb") as file:
        PacketWriter(file).finish()
    packets = PacketFile(path)
    path.unlink()
    for read in (lambda: packets.times, lambda: list(packets)):
        with pytest.raises(SinkError, match="p: it was removed meanwhile"):
            read()


def test_a_damaged_plan_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    frames = PlannedFrames([PlannedFrame(0, 1, 17), PlannedFrame(1, 1, 23)])
    plan = Plan(Fraction(1, 25), frames, (0, 1), 2, 0, 0, 0)
    plan.save(path)
    assert Plan.load(path) == plan
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ValueError, match=r"cut off|damaged|Expecting"):
            Plan.load(path)


def test_planned_frames() -> None:
    frames = [PlannedFrame(-(2**40), 1, 2**32 - 1), PlannedFrame(5, 0, 0), PlannedFrame(9, 1, 1)]
    planned = PlannedFrames(frames)
    assert [*planned] == frames
    assert (planned[-1], [*planned[1:]], [*planned[:1]]) == (frames[2], frames[1:], [frames[0]])
    assert isinstance(planned[1:], PlannedFrames)  # in as little memory: all segments are kept
    assert planned == PlannedFrames(data=planned.data) != PlannedFrames(frames[:2])
    with pytest.raises(IndexError):
        planned[3]


def test_a_plan_takes_little_memory(tmp_path: Path) -> None:
    """A film has a million frames."""
    count = 20_000
    tracemalloc.start()
    try:
        frames = PlannedFrames()
        for n in range(count):
            frames.append(PlannedFrame(n * 1001, 1001, n * 2654435761 % 2**32))
        plan = Plan(Fraction(1, 60_000), frames, (0,), count, 0, 0, 0)
        plan.save(tmp_path / "plan")
        assert Plan.load(tmp_path / "plan") == plan
        assert tracemalloc.get_traced_memory()[1] < 120 * count
    finally:
        tracemalloc.stop()


def test_decoding_times_are_those_of_one_encoder() -> None:
    # Two segments of five frames, shown in the order 0..9, each with a B-frame between.
    ticks = [0, 10, 20, 30, 40, 55, 60, 70, 80, 90]
    order = [0, 2, 1, 4, 3, 5, 7, 6, 9, 8]
    stamps = decoding_times(ticks, order)
    assert [*stamps] == [-10, *ticks[:-1]]
    assert all(stamp <= ticks[place] for stamp, place in zip(stamps, order, strict=True))


def test_the_frames_of_a_segment(tmp_path: Path) -> None:
    def written(*times: int, base: Fraction = Fraction(1, 25)) -> PacketFile:
        path = tmp_path / str(times)
        with path.open("wb") as file:
            writer = PacketWriter(file)
            for pts in times:
                packet: Any = av.Packet(b"abc")
                packet.pts, packet.time_base = pts, base
                writer.add(packet)
            writer.finish(extradata="0a")
        return PacketFile(path)

    def found(segment: PacketFile, extradata: bytes = b"\n") -> list[int]:
        return frames_of(segment, [50, 52, 54], Fraction(1, 25), extradata)

    assert found(written(50, 54, 52)) == [0, 2, 1]
    for segment, problem in (
        (written(50, 52), "2 frames instead of 3"),
        (written(50, 52, 55), "other times than planned"),
        (written(100, 104, 108, base=Fraction(1, 50)), "another unit than planned"),
        (written(52, 50, 54), "needs others before it"),
    ):
        with pytest.raises(ValueError, match=problem):
            found(segment)
    with pytest.raises(ValueError, match="other parameters"):
        found(written(50, 52, 54), b"")


# ---- whole films ---------------------------------------------------------------------------------

FORMATS = {
    "mp4": {},
    "mkv": {},
    "ts": {},
    "webm": {},
    "ffv1": {"codec": "ffv1"},
    "x265": {"codec": "libx265"},
    "av1": {"codec": "libsvtav1"},
    "prores": {"codec": "prores_ks"},
}
ENDINGS = {"ffv1": "mkv", "x265": "mp4", "av1": "mp4", "prores": "mov"}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with other tracks."""
    return film(
        tmp_path_factory.mktemp("rich") / "in.mkv",
        sound=["aac"],
        texts=["ass"],
        languages=["fra", "fra"],
        chapters=[(0, 9000, "one"), (9000, 40_000, "two")],
        metadata={"title": "A film"},
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=[pytest.mark.slow] * (it == "webm")) for it in FORMATS],
)
def test_a_joined_film_is_as_one_that_was_made_at_once(
    name: str, rich: Path, gallery: Gallery, here: HereEngine, tmp_path: Path
) -> None:
    if codec := FORMATS[name].get("codec"):
        need_encoder(codec)
    ending = ENDINGS.get(name, name)
    once, joined = (tmp_path / f"{it}.{ending}" for it in ("once", "joined"))
    options = OPTIONS | FORMATS[name]
    plain = render(rich, once, gallery=gallery, **options)
    report = render(rich, joined, gallery=gallery, resume=True, **options)
    found, expected = contents(joined), contents(once)
    if name == "x265":  # that of one process says how many threads it had
        del found["header"], expected["header"]
    assert found == expected
    assert len(pictures(joined)) == 40
    assert [it["frames"] for it in report["film"]["segments"]] == [9, 12, 8, 11]
    assert left(tmp_path) == sorted([once.name, joined.name])
    same = ("input", "frames_in", "frames_out", "dropped", "repeated", "grid", "gallery")
    assert {key: report[key] for key in same} == {key: plain[key] for key in same}
    assert report.keys() - plain.keys() == {"film"}


# ---- interrupted -------------------------------------------------------------------------------


def long_film(path: Path) -> Path:
    """A film of two minutes in fifteen segments."""
    return film(path, 120)


def words(source: Path, target: Path, gallery: Gallery, *more: str) -> list[str]:
    small = ("--scale", "1", "--tile", "8", "--gallery", str(gallery.path))
    return ["run", str(source), str(target), *small, *(more or ("--resume",))]


def wait_for_segments(folder: Path, run: Run, count: int = 2) -> None:
    """Wait until so many segments are done."""
    deadline = time.monotonic() + 60
    while len([*folder.glob("segment-*")]) < count:
        assert run.process.poll() is None, run.end().err
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_real_processes_are_killed(gallery: Gallery, here: HereEngine, tmp_path: Path) -> None:
    """A worker; everything, and the command given again; and Ctrl-C, which says how to go on."""
    source = long_film(tmp_path / "in.mkv")
    undisturbed = tmp_path / "undisturbed.mp4"
    render(source, undisturbed, gallery=gallery, resume=True, **OPTIONS)

    out = tmp_path / "out.mp4"
    parts = tmp_path / "out.mp4.parts"
    run = Run(*words(source, out, gallery))
    wait_for_segments(parts, run)
    os.kill(children(run.process.pid)[0], signal.SIGKILL)
    outcome = run.end()
    assert outcome.code == 0, outcome.err
    assert out.read_bytes() == undisturbed.read_bytes()
    out.unlink()

    run = Run(*words(source, out, gallery))
    wait_for_segments(parts, run)
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    done = {path.name: path.stat().st_mtime_ns for path in parts.glob("segment-*")}
    assert len(done) >= 2
    assert not out.exists()

    run = Run(*words(source, out, gallery))
    wait_for_segments(parts, run, len(done) + 1)
    run.interrupt()
    outcome = run.end()
    assert outcome.code == 130, outcome.err
    assert outcome.lines[-1].endswith("give the same command again to go on")
    assert done.items() <= {it.name: it.stat().st_mtime_ns for it in parts.iterdir()}.items()

    outcome = Run(*words(source, out, gallery)).end()
    assert outcome.code == 0, outcome.err
    assert f"{len(done)} " not in outcome.lines[0]  # Ctrl-C came after more
    assert "segments are done already" in outcome.err
    assert out.read_bytes() == undisturbed.read_bytes()
    assert left(tmp_path) == ["in.mkv", "out.mp4", "undisturbed.mp4"]


# ---- inputs and options ------------------------------------------------------------------------

VARIABLE = [n * 1000 + (n % 3) * 137 for n in range(40)]
INPUTS: dict[str, dict[str, Any]] = {
    "variable rate": {"pts": VARIABLE},
    "begins later": {"pts": [n * 1000 + 2500 for n in range(40)]},
    "rotated": {"rotation": 90},
    "open GOP": {"options": {"qp": "20", "g": "7", "bf": "3", "x264-params": "open-gop=1"}},
    "one key frame": {"options": {"qp": "20", "g": "250", "x264-params": "scenecut=0"}},
    "intra refresh": {"options": {"qp": "20", "g": "6", "intra-refresh": "1", "bf": "0"}},
    "10 bits": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
}
RUNS: dict[str, dict[str, Any]] = {
    "a part": {"start": 3.5, "end": 31.0},
    "a duration": {"start": 2.0, "duration": 30.0},
    "a higher rate": {"fps": 2},
    "a lower rate": {"fps": Fraction(1, 2), "duration": 37.0},
    "a size": {"scale": None, "size": (96, 64)},
    "other looks": {"tint": 0.3, "tile": 16, "scale": 2},
}


def compare(source: Path, tmp_path: Path, gallery: Gallery, **options: Any) -> dict[str, Any]:
    """A film in segments has the times, the sound and the rest of one that was made at once."""
    once, joined = tmp_path / "once.mp4", tmp_path / "joined.mp4"
    plain = render(source, once, gallery=gallery, **{**OPTIONS, **options})
    report = render(source, joined, gallery=gallery, resume=True, **{**OPTIONS, **options})
    found, expected = contents(joined), contents(once)
    if "codec" in options:
        del found["header"], expected["header"]
    assert found == expected
    same = ("frames_in", "frames_out", "dropped", "repeated", "drops")
    assert {name: report[name] for name in same} == {name: plain[name] for name in same}
    segments = report["film"]["segments"]
    assert len(segments) > 1
    first = segments[0]["frames"]
    # The first segment is what a film is that begins like it.
    assert sum(it["frames"] for it in segments) == len(pictures(joined)) > first
    return report


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(name: str, gallery: Gallery, here: HereEngine, tmp_path: Path) -> None:
    details = {"sound": ["ac3"]} | INPUTS[name]
    if "codec" in details:
        need_encoder(details["codec"])
    source = film(tmp_path / "in.mp4", **details)
    deep = {"codec": "libx265"} if name == "10 bits" else {}
    compare(source, tmp_path, gallery, **deep)


def damaged(path: Path) -> Path:
    source = film(path, options={"qp": "20", "bf": "2"})
    data = bytearray(source.read_bytes())
    for at in range(len(data) * 5 // 8, len(data) * 7 // 8, 701):
        data[at] ^= 0x55
    source.write_bytes(data)
    return source


@pytest.mark.parametrize("kind", [HereEngine, EagerEngine])
def test_a_damaged_film(
    kind: type[HereEngine], gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """How a decoder conceals damage depends on the number of its threads."""
    source, out = damaged(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    engine = use(monkeypatch, kind())
    report = render(source, out, gallery=gallery, resume=True, **OPTIONS)
    assert len(pictures(out)) == report["frames_out"] > 30
    assert report["film"]["made"] == len(report["film"]["segments"])
    assert len(engine.done) - (kind is EagerEngine) <= report["film"]["made"]


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_frame_is_not_as_planned(
    is_damaged: bool,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
    program: Program,
    tmp_path: Path,
) -> None:
    """A film that is damaged further on is planned again, and another one is refused."""

    class Failing(EagerEngine):
        has_failed = False

        def run(self, function: Any, tasks: Any, **_: Any) -> Iterator[tuple[int, Any]]:
            if not self.has_failed:
                self.has_failed = True
                assert next(task for task in tasks if task is not None)
                raise SourceError("its frames are not as planned")
            yield from super().run(function, tasks)

    path, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    source = damaged(path) if is_damaged else film(path)
    use(monkeypatch, Failing())
    if is_damaged:
        render(source, out, gallery=gallery, resume=True, **OPTIONS)
        assert len(pictures(out)) > 30
    else:
        outcome = program(*words(source, out, gallery))
        assert outcome.code == 1
        assert "its frames are not as planned" in outcome.err
        parts = tmp_path / "out.mkv.parts"
        assert len([*parts.glob("plan-*")]) == 1  # for the next time
        assert f"0 of 4 segments are done, in {parts}; " in outcome.err


def test_the_last_frame_lasts_as_in_one_run(
    gallery: Gallery, here: HereEngine, tmp_path: Path
) -> None:
    """Films of browsers do not say how long frames last."""
    source = film(tmp_path / "in.mkv", pts=[n * 1000 + 30_000 * (n == 39) for n in range(40)])
    data = source.read_bytes()
    id_, void = b"\x23\xe3\x83", b"\xec"  # Matroska's DefaultDuration
    at = data.index(id_)
    size = data[at + 3] & 0x7F
    source.write_bytes(
        data[:at] + void + bytes([0x80 | (size + 2)]) + bytes(size + 2) + data[at + 4 + size :]
    )
    with av.open(str(source)) as container:
        assert not any(it.duration for it in container.demux(video=0))
    compare(source, tmp_path, gallery)


@pytest.mark.parametrize("name", RUNS)
def test_options(name: str, gallery: Gallery, here: HereEngine, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", sound=["ac3"], pts=VARIABLE)
    compare(source, tmp_path, gallery, **RUNS[name])


# ---- what is kept, and what is not --------------------------------------------------------------


def test_segments_are_the_parts_of_the_film(
    gallery: Gallery, here: HereEngine, tmp_path: Path
) -> None:
    """A run of a part from one segment to another makes the same pictures: they join."""
    open_gop = {"qp": "20", "g": "7", "bf": "3", "x264-params": "open-gop=1"}
    source = film(tmp_path / "in.mp4", options=open_gop)
    joined, part = tmp_path / "joined.mkv", tmp_path / "part.mkv"
    options = {**OPTIONS, "codec": "ffv1", "gallery": gallery}
    segments = render(source, joined, resume=True, **options)["film"]["segments"]
    (_, begin, _, end) = (it["start_s"] for it in segments)
    render(source, part, start=begin, end=end, **options)
    first = segments[0]["frames"]
    made = pictures(joined)[first : first + segments[1]["frames"] + segments[2]["frames"]]
    # The next segment begins anew, where the part goes on.
    alike = segments[1]["frames"]
    assert pictures(part)[:alike] == made[:alike]


class StoppedError(Exception):
    pass


class StoppingEngine(HereEngine):
    """Is stopped after two tasks."""

    def run(self, *places: Any, **more: Any) -> Iterator[tuple[int, Any]]:
        for number, result in enumerate(super().run(*places, **more)):
            yield result
            if number == 1:
                raise StoppedError


@pytest.mark.slow
def test_what_is_done_is_kept_while_options_and_film_are_the_same(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = {**OPTIONS, "gallery": gallery, "resume": True}

    def again(engine: HereEngine, **more: Any) -> list[str]:
        monkeypatch.setattr(films, "open_engine", lambda *_, **__: engine)
        if isinstance(engine, StoppingEngine):
            with pytest.raises(StoppedError):
                render(source, out, **{**options, **more})
        else:
            assert render(source, out, **{**options, **more})["film"]["made"] == len(engine.done)
        return engine.done

    parts = tmp_path / "out.mp4.parts"
    assert again(StoppingEngine()) == ["segment 3", "segment 1"]
    assert again(StoppingEngine(), tint=0.5) == ["segment 3", "segment 1"]
    assert len([*parts.glob("segment-*")]) == 2
    (damaged, _) = parts.glob("segment-*")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert len(again(HereEngine(), tint=0.5)) == 3
    assert again(StoppingEngine()) == ["segment 3", "segment 1"]
    source.unlink()
    film(source, 39)
    assert len(again(HereEngine())) == 4
    assert left(tmp_path) == ["in.mp4", "out.mp4"]


def test_another_look_takes_the_plan_that_is_there(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another part of the film has another one, and all of the old one goes."""
    source, parts = film(tmp_path / "in.mp4"), tmp_path / "out.mp4.parts"
    planned: list[int] = []

    class Counted(Planning):
        def plan(self) -> Plan:
            planned.append(len(self.frames))
            return super().plan()

    def begin(**options: Any) -> None:
        use(monkeypatch, StoppingEngine())
        with pytest.raises(StoppedError):
            render(source, tmp_path / "out.mp4", resume=True, **{**OPTIONS, **options})
        names = [name.partition("-")[0] for name in left(parts)]
        assert sorted(names) == sorted([*kinds, "lock", "plan", "segment", "segment", "tracks"])

    monkeypatch.setattr(films, "Planning", Counted)
    kinds: list[str] = []
    begin(gallery=gallery)
    begin(gallery=gallery, tint=0.5)
    assert planned == [40]
    write_photos(tmp_path / "photos", 4)
    kinds = ["gallery"]
    begin(gallery=tmp_path / "photos", end=30)
    assert planned == [40, 30]
    kinds = []
    begin(gallery=gallery, end=30)
    assert planned == [40, 30]


def test_segments_are_rendered_while_the_film_is_planned(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, program: Program, tmp_path: Path
) -> None:
    """An interrupt keeps them, and those of other options until the plan is whole."""
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    parts = tmp_path / "out.mp4.parts"
    use(monkeypatch, HereEngine())
    render(source, tmp_path / "other.mp4", gallery=gallery, resume=True, **OPTIONS)

    class Interrupted(EagerEngine):
        def run(self, function: Any, tasks: Any, **_: Any) -> Iterator[tuple[int, Any]]:
            yield next(super().run(function, tasks))
            raise KeyboardInterrupt

    use(monkeypatch, Interrupted())
    for more in (("--tint", "0.5"), ()):
        outcome = program(*words(source, out, gallery, "--resume", *more))
        assert outcome.code == 130
        assert "1 of 1 or more segments are done, in " in outcome.err
        assert outcome.lines[-1].endswith("give the same command again to go on")
    assert len([*parts.glob("segment-00000-*")]) == 2
    assert not [*parts.glob("plan-*")]

    engine = use(monkeypatch, EagerEngine())
    outcome = program(*words(source, out, gallery, "--resume", "--json"))
    report = json.loads(outcome.out)
    assert engine.done == ["segment 2", "segment 3", "segment 4"]
    assert (report["film"]["made"], report["film"]["kept"]) == (3, 1)
    made = sum(segment["frames"] for segment in report["film"]["segments"][1:])
    assert report["fps"] == pytest.approx(made / report["duration_s"], rel=0.02)
    assert "1 of 4 segments are done already" in outcome.err
    assert "out.mp4: removed segments of other options, gallery or film: 1" in outcome.err
    assert out.read_bytes() == (tmp_path / "other.mp4").read_bytes()
    assert left(tmp_path) == ["in.mp4", "other.mp4", "out.mp4"]


def run_options(source: Path, target: Path, **options: Any) -> RunOptions:
    mosaic = MosaicSettings(scale=1, tile_px=8)
    outputs = (str(target),)
    return RunOptions(input=str(source), outputs=outputs, mosaic=mosaic, resume=True, **options)


def test_the_number_of_frames_is_a_guess_until_the_plan_is_whole(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = film(tmp_path / "in.mp4", pts=[n * 1000 + 5000 * (n > 4) for n in range(40)])
    options = run_options(source, tmp_path / "out.mp4", fps=Fraction(2))
    use(monkeypatch, EagerEngine())
    told: list[FilmProgress] = []
    begun_s, told_s = time.monotonic(), dict[str, list[float]]()

    def tell(progress: FilmProgress) -> None:
        told.append(replace(progress))
        told_s.setdefault(progress.phase, []).append(time.monotonic() - begun_s)

    monkeypatch.setattr("livemosaic.cluster.film_report.peak_rss_mb", lambda: 1e6)
    with films.Film(options, parse_outputs(options), gallery=gallery, started_s=begun_s) as its:
        assert not its.is_planned
        its.run(tell)
        assert its.is_planned
    report = its.report()
    # All segments are done before the film gets its first frame.
    assert told_s["rendering"][-1] - 0.001 < report["first_frame_s"] < told_s["joining"][0] + 0.001
    assert report["peak_rss_mb"] == 1e6
    rendering = [it for it in told if it.phase == "rendering"]
    assert (rendering[0].frames, rendering[0].total) == (0, 90)
    assert [it.frames for it in rendering] == sorted(it.frames for it in rendering)
    assert (rendering[-1].frames, rendering[-1].total) == (90, 90)
    assert {it.phase for it in told} == {"rendering", "joining"}


class TellingEngine(HereEngine):
    """Has another task in the middle whenever one is done."""

    def run(
        self, *places: Any, on_progress: Callable[[int], None] | None = None, **more: Any
    ) -> Iterator[tuple[int, Any]]:
        assert on_progress is not None
        for number, result in super().run(*places, **more):
            on_progress(4 + 11)  # of this one and another
            yield number, result
            on_progress(11 if len(self.done) < 4 else 0)


def test_progress_never_goes_back(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: TellingEngine())
    told: list[int] = []
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = {**OPTIONS, "gallery": gallery, "resume": True}
    render(source, out, on_progress=lambda it: told.append(it.frames_out), **options)
    assert told == sorted(told)
    assert told[-1] == 40


def test_an_interrupt_before_the_first_segment_says_how_to_go_on(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, program: Program, tmp_path: Path
) -> None:
    class Interrupted(HereEngine):
        def run(self, function: Any, tasks: Any, **_: Any) -> Iterator[tuple[int, Any]]:
            list(tasks)
            raise KeyboardInterrupt

    monkeypatch.setattr(films, "open_engine", lambda *_, **__: Interrupted())
    outcome = program(*words(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", gallery))
    assert outcome.code == 130
    assert "0 of 4 segments are done, in " in outcome.err
    assert (tmp_path / "out.mp4.parts").is_dir()


def test_two_runs_do_not_make_the_same_film(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = {**OPTIONS, "gallery": gallery, "resume": True}

    class Second(HereEngine):
        def run(self, *places: Any, **more: Any) -> Iterator[tuple[int, Any]]:
            with pytest.raises(UsageError, match="another run makes it"):
                render(source, out, **options)
            return super().run(*places, **more)

    monkeypatch.setattr(films, "open_engine", lambda *_, **__: Second())
    render(source, out, **options)


def test_a_run_that_is_refused_leaves_the_folder_of_the_other(tmp_path: Path) -> None:
    """Also while there is nothing in it yet."""
    folder = tmp_path / "out.mp4.parts"
    with own_parts(folder, "out.mp4"):
        with pytest.raises(UsageError, match="another run makes it"), own_parts(folder, "out.mp4"):
            pass
        assert left(folder) == ["lock"]
    assert not folder.exists()


def test_an_end_while_the_film_is_opened_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, photos = film(tmp_path / "in.mp4"), tmp_path / "photos"
    write_photos(photos, 4)

    def end(*_: Any, **__: Any) -> None:
        assert (tmp_path / "out.mp4.parts" / "gallery-0").exists()
        remove_unfinished()
        assert left(tmp_path) == ["in.mp4", "photos"]
        raise StoppedError

    monkeypatch.setattr("livemosaic.cluster.refusals.open_pipeline", end)
    with pytest.raises(StoppedError):
        render(source, tmp_path / "out.mp4", gallery=photos, resume=True, **OPTIONS)


def test_other_files_in_the_folder_stay(gallery: Gallery, here: HereEngine, tmp_path: Path) -> None:
    folder = tmp_path / "out.mp4.parts"
    folder.mkdir()
    names = [".notes", "gallery-of-mum.jpg", "plan-b.txt", "segment-1.mp4"]
    for name in names:
        (folder / name).touch()
    render(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", gallery=gallery, resume=True, **OPTIONS)
    assert left(folder) == names


@pytest.mark.parametrize("kept", ["", "plan-", "segment-00000-"])
def test_the_folder_stays_for_a_plan_or_a_segment(kept: str, tmp_path: Path) -> None:
    """Not for what a run needs besides: packets, a gallery, a killed run's files."""
    folder = tmp_path / "out.mp4.parts"
    digest = "0123456789abcdef"
    with own_parts(folder, "out.mp4"):
        for name in (f"tracks-{digest}", "gallery-0", f".livemosaic-workers.{digest}.part"):
            (folder / name).touch()
        if kept:
            (folder / f"{kept}{digest}").touch()
    assert folder.exists() == bool(kept)


def test_a_file_of_the_name_of_the_lock_stays(tmp_path: Path) -> None:
    folder = tmp_path / "out.mp4.parts"
    folder.mkdir()
    (folder / "lock").write_text("of another program")
    with own_parts(folder, "out.mp4"):
        pass
    assert left(folder) == ["lock"]


@pytest.mark.parametrize("kind", ["file", "dead link", "long name"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_read(
    kind: str, tmp_path: Path
) -> None:
    out = tmp_path / ("a" * 248 + ".mp4" if kind == "long name" else "out.mp4")
    folder = tmp_path / f"{out.name}.parts"
    put_in_the_way(folder, kind)
    source = tmp_path / "no-film.mp4"
    source.write_text("no film")
    before = left(tmp_path)
    problem = "too long; choose" if kind == "long name" else "in the way"
    with pytest.raises(SinkError, match=rf"\.mp4\.parts: .*{problem}"):
        render(source, out, resume=True, **OPTIONS)
    assert left(tmp_path) == before


@pytest.mark.parametrize(
    ("engine", "fix"),
    [({"resume": True}, "again"), ({"cluster": "tcp://127.0.0.1:1"}, "machines share")],
)
def test_a_segment_that_does_not_appear(
    engine: dict[str, Any],
    fix: str,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Or late, as on a network folder."""

    class Elsewhere(HereEngine):
        def run(self, *places: Any, **more: Any) -> Iterator[tuple[int, Any]]:
            yield from super().run(*places, **more)
            late = max((tmp_path / "out.mp4.parts").glob("segment-*"))
            away.append(late.rename(tmp_path / "away"))
            away.append(late)

    def appear(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) == 2.0:
            away[0].rename(away[1])

    away: list[Path] = []
    slept: list[float] = []
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: Elsewhere())
    monkeypatch.setattr(films, "WAITS_S", (0.0, 1.0))
    monkeypatch.setattr("time.sleep", appear)
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = {**OPTIONS, "gallery": gallery, **engine}
    with pytest.raises(SinkError, match=rf"segment-.*does not appear.*{fix}"):
        render(source, out, **options)
    away.clear()
    slept.clear()
    monkeypatch.setattr(films, "WAITS_S", (0.0, 1.0, 2.0))
    assert render(source, out, **options)["film"]["made"] == 1
    assert left(tmp_path) == ["in.mp4", "out.mp4"]


def test_stopping_while_a_segment_does_not_appear(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Elsewhere(HereEngine):
        def run(self, *places: Any, **more: Any) -> Iterator[tuple[int, Any]]:
            yield from super().run(*places, **more)
            for path in (tmp_path / "out.mp4.parts").glob("segment-*"):
                path.unlink()

    slept: list[float] = []

    def stop(seconds: float) -> None:
        slept.append(seconds)
        if seconds:
            its.stop()

    use(monkeypatch, Elsewhere())
    options = run_options(film(tmp_path / "in.mp4", 3), tmp_path / "out.mp4")
    with films.Film(options, parse_outputs(options), gallery=gallery) as its:
        monkeypatch.setattr("time.sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            its.run(lambda _: None)
    assert sum(slept) < 1


def test_a_worker_that_goes_on_after_the_run_leaves_nothing(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of other machines do. Their unfinished files keep the folder."""
    waiting: list[tuple[Callable[[Any], Any], Any]] = []

    class Cancelling(HereEngine):
        def run(
            self, function: Callable[[Any], Any], tasks: Iterable[Any], **_: Any
        ) -> Iterator[tuple[int, Any]]:
            waiting.append((function, next(task for task in tasks if task is not None)))
            raise KeyboardInterrupt
            yield

    use(monkeypatch, Cancelling())
    source, parts = film(tmp_path / "in.mp4", 15), tmp_path / "out.mp4.parts"
    with pytest.raises(KeyboardInterrupt):
        render(source, tmp_path / "out.mp4", gallery=gallery, resume=True, **OPTIONS)
    assert not parts.exists()
    parts.mkdir()
    as_a_worker(*waiting[0])
    assert left(tmp_path) == ["in.mp4"]


def test_each_file_is_verified_once(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole: list[str] = []

    class Counted(PacketFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            whole.append(path.name)

    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = {**OPTIONS, "gallery": gallery, "resume": True}
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: StoppingEngine())
    with pytest.raises(StoppedError):
        render(source, out, **options)
    for module in ("film", "segment", "plan"):
        monkeypatch.setattr(f"livemosaic.cluster.{module}.PacketFile", Counted)
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: HereEngine())
    render(source, out, **options)
    segments = [name for name in whole if name.startswith("segment-")]
    assert len(segments) == len(set(segments)) == 4


@pytest.mark.parametrize("linked", [True, False])
def test_galleries_of_photos_are_copied_for_other_machines_once(
    linked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared, photos = tmp_path / "out.mp4.parts" / "gallery-0", tmp_path / "photos"
    copied: list[Path] = []
    made: list[tuple[int, int]] = []

    class Interrupted(HereEngine):
        def run(self, function: Any, tasks: Any, **_: Any) -> Iterator[tuple[int, Any]]:
            assert [*tasks]  # the plan is whole now, and stays
            made.append((len(copied), shared.stat().st_size))
            raise KeyboardInterrupt

    def link(source: Path, target: Path, link: Callable[..., None] = os.link) -> None:
        copied.append(target)
        if not linked:
            raise OSError("another disk")
        link(source, target)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: Interrupted())
    source = film(tmp_path / "in.mp4")
    options = {**OPTIONS, "gallery": photos, "cluster": "tcp://127.0.0.1:1"}
    write_photos(photos, 4)
    for count in (4, 4, 5):
        write_photos(photos / "more", count - 4)
        with pytest.raises(KeyboardInterrupt):
            render(source, tmp_path / "out.mp4", **options)
    assert [number for number, _ in made] == [1, 1, 2]
    assert made[1][1] < made[2][1]
    assert {*copied} == {shared}


def test_a_damaged_copy_of_a_gallery_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, photos = film(tmp_path / "in.mp4"), tmp_path / "photos"
    write_photos(photos, 150)
    options = {**OPTIONS, "gallery": photos, "resume": True}
    use(monkeypatch, StoppingEngine())
    with pytest.raises(StoppedError):
        render(source, tmp_path / "out.mp4", **options)
    copy = tmp_path / "out.mp4.parts" / "gallery-0"
    data, samples = bytearray(copy.read_bytes()), fingerprint(copy)
    data[(len(data) - 2**16) * 7 // 15 + 2**16 + 5] ^= 1  # between two samples
    copy.unlink()  # it was a link
    copy.write_bytes(data)
    assert fingerprint(copy) == samples
    use(monkeypatch, HereEngine())
    render(source, tmp_path / "out.mp4", **options)
    assert len(pictures(tmp_path / "out.mp4")) == 40


class ChangingEngine(EagerEngine):
    """Calls a function when the first task is done."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self.change = change

    def run(self, *places: Any, **more: Any) -> Iterator[tuple[int, Any]]:
        for result in super().run(*places, **more):
            yield result
            self.change()


def test_a_large_picture_changes_between_the_samples_of_films(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, away = film(tmp_path / "in.mp4", 15), tmp_path / "away.bmp"
    cv2.imwrite(str(away), np.zeros((1000, 1000, 3), np.uint8))
    before = fingerprint(away)

    def change() -> None:
        data = bytearray(away.read_bytes())
        data[100_000:110_000] = b"\xff" * 10_000
        away.write_bytes(data)
        assert fingerprint(away) == before

    use(monkeypatch, ChangingEngine(change))
    options = {**OPTIONS, "away": away, "privacy": True, "resume": True}
    with pytest.raises(OptionError, match=r"away\.bmp.*: it has changed since the film began"):
        render(source, tmp_path / "out.mp4", gallery=gallery, **options)


@pytest.mark.parametrize("outside", ["original", "blur", "#20a060"])
def test_a_file_has_the_name_of_a_word(
    outside: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(outside).touch()
    options = RunOptions(input="in.mp4", outside=outside)
    assert not [*named_images(options)]
    assert absolute_options(options).outside == outside
    options = replace(options, outside="a.png")
    assert [*named_images(options)] == [("outside", Path("a.png"))]
    assert absolute_options(options).outside == str(tmp_path / "a.png")


@pytest.mark.parametrize("what", ["gallery", "outside", "away"])
def test_what_pictures_are_made_of_changes_while_the_film_is_made(
    what: str,
    make_gallery: Callable[..., Gallery],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """No segment is made of another gallery than the first ones."""
    source, file = film(tmp_path / "in.mp4"), tmp_path / f"{what}.png"
    contents: list[bytes] = []
    if what == "gallery":
        for count in (100, 120):
            path = make_gallery(count, clusters=10).path
            assert path is not None
            contents.append(path.read_bytes())
    else:
        for value in (60, 90):
            cv2.imwrite(str(file), np.full((48, 64, 3), value, np.uint8))
            contents.append(file.read_bytes())

    def put(content: bytes) -> None:
        new = tmp_path / "new"
        new.write_bytes(content)
        new.replace(file)

    options = {**OPTIONS, "resume": True, what: str(file)}
    if what == "away":
        options |= {"away": file, "privacy": True}
    put(contents[0])
    use(monkeypatch, ChangingEngine(lambda: put(contents[1])))
    with pytest.raises(
        LivemosaicError, match=rf"{what}\.png.*: it has changed since the film began"
    ):
        render(source, tmp_path / "out.mp4", **options)
    use(monkeypatch, HereEngine())
    assert render(source, tmp_path / "out.mp4", **options)["film"]["kept"] == 0
    render(source, tmp_path / "other.mp4", **options)
    assert pictures(tmp_path / "out.mp4") == pictures(tmp_path / "other.mp4")


@pytest.mark.parametrize("when", ["opened", "made"])
def test_the_film_changes_while_it_is_made(
    when: str,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The plan of the old one is not taken for the new one, and nothing counts as complete."""
    caplog.set_level("INFO", "livemosaic")
    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    other = film(tmp_path / "other.mkv", pts=[n * 1000 + (n > 4) for n in range(40)])

    def change() -> None:
        if other.exists():
            other.replace(source)

    def open_and_change(*places: Any, **more: Any) -> Any:
        opened = open_input(*places, **more)
        change()
        return opened

    if when == "opened":
        monkeypatch.setattr(films, "open_input", open_and_change)
    use(monkeypatch, ChangingEngine(change) if when == "made" else HereEngine())
    options = {**OPTIONS, "gallery": gallery, "resume": True}
    with pytest.raises(SourceError, match=r"in\.mkv: it has changed since the film began"):
        render(source, out, **options)
    assert not [it for it in caplog.messages if "completed" in it]
    use(monkeypatch, HereEngine())
    assert render(source, out, **options)["film"]["kept"] == 0
    assert len(pictures(out)) == 40


def test_another_engine_goes_on_with_a_gallery_of_photos(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, photos = film(tmp_path / "in.mp4"), tmp_path / "photos"
    write_photos(photos, 4)
    options = {**OPTIONS, "gallery": photos}
    use(monkeypatch, StoppingEngine())
    with pytest.raises(StoppedError):
        render(source, tmp_path / "out.mp4", resume=True, **options)
    engine = use(monkeypatch, HereEngine())
    cluster = "tcp://127.0.0.1:1"
    report = render(source, tmp_path / "out.mp4", cluster=cluster, **options)
    assert (report["film"]["kept"], len(engine.done)) == (2, 2)


@pytest.mark.parametrize("linked", [True, False])
def test_another_run_builds_the_gallery_anew_meanwhile(
    linked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The film goes on with its own. The same film, given again, builds nothing."""
    source, photos, cache = film(tmp_path / "in.mp4"), tmp_path / "photos", tmp_path / "cache"
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(cache))
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: fail(OSError("another disk")))
    write_photos(photos, 4)
    options = {**OPTIONS, "gallery": photos, "resume": True}

    def change() -> None:
        before = left(cache)
        write_photos(photos / "more", len([*photos.rglob("*.jpg")]) - 3)
        with pytest.raises(UsageError, match="another run makes it"):
            render(source, tmp_path / "out.mp4", **options)
        assert left(cache) == before
        open_gallery(photos)
        assert left(cache) != before

    use(monkeypatch, ChangingEngine(change))
    assert render(source, tmp_path / "out.mp4", **options)["film"]["made"] == 4
    assert left(tmp_path) == ["cache", "in.mp4", "out.mp4", "photos"]


def fail(error: Exception) -> None:
    raise error


def test_a_film_with_a_gallery_of_photos_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    source, photos = film(tmp_path / "in.mp4"), tmp_path / "photos"
    write_photos(photos, 4)
    with pytest.raises(OptionError, match="codec mpeg4 has no times"):
        render(source, tmp_path / "out.mp4", gallery=photos, codec="mpeg4", resume=True, **OPTIONS)
    assert left(tmp_path) == ["in.mp4", "photos"]


def test_hardware_is_refused_whether_it_is_there_or_not(tmp_path: Path) -> None:
    source, output = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(OptionError, match=r"h264_nvenc cannot be joined exactly; use libx264, "):
        render(source, output, codec="h264_nvenc", resume=True, **OPTIONS)
    assert left(tmp_path) == ["in.mp4"]


def test_each_option_changes_the_pictures_of_a_film_or_none() -> None:
    """A new option has to be named here: if it does, segments of another value are not kept."""
    changing = """profile tile columns scale size match tint calm variety min_distance max_uses
        min_uses fine palette overlay overlay_luma activity seed area outside mirror privacy away
        freeze spotlight codec preset crf alpha hdr"""
    others = """gallery fit crops no_mirror frames_of_videos focus watch guests auto_approve
        fullscreen display figures qr on_close capture reconnect on_demand realtime start end
        duration max_latency fps format preview map map_paths overwrite resume cluster web osc
        config no_config json quiet progress"""
    assert [*OF_PICTURES] == changing.split()
    assert {it.name for it in ALL_OPTIONS} == {*changing.split(), *others.split()}


def test_settings_for_live_runs_keep_the_segments(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, program: Program, tmp_path: Path
) -> None:
    source, settings = film(tmp_path / "in.mp4"), tmp_path / "settings.toml"
    command = words(source, tmp_path / "out.mp4", gallery, "--resume", "--config", str(settings))
    settings.write_text("[run]\nmax_latency = 80\n")
    use(monkeypatch, StoppingEngine())
    assert program(*command).code == 1
    settings.write_text('[run]\nmax_latency = 90\nreconnect = "never"\nfigures = true\n')
    use(monkeypatch, HereEngine())
    outcome = program(*command)
    assert outcome.code == 0, outcome.err
    assert "2 of 4 segments are done already" in outcome.err


def test_warnings_of_the_input_come_once(
    gallery: Gallery, here: HereEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide, wider, source = (tmp_path / f"{it}.ts" for it in ("wide", "wider", "in"))
    film(wide, 15)
    items = [Frame.from_bgr(it, pts=n) for n, it in enumerate(moving_pictures(15, size=(96, 48)))]
    make(wider, items, rate=1, time_base=Fraction(1, 1000), pts=[n * 1000 for n in range(15, 30)])
    source.write_bytes(wide.read_bytes() + wider.read_bytes())
    report = render(source, tmp_path / "out.mp4", gallery=gallery, resume=True, **OPTIONS)
    assert len(report["film"]["segments"]) > 1
    texts = [it.getMessage() for it in caplog.records if "changes its size" in it.getMessage()]
    assert len(texts) == 1


def test_warnings_when_the_input_is_opened_come_once(
    gallery: Gallery, here: HereEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers open it again."""
    once, source = film(tmp_path / "once.ts"), tmp_path / "in.ts"
    with av.open(str(once)) as first, av.open(str(source), "w") as target:
        video = target.add_stream_from_template(first.streams.video[0])
        data = target.add_data_stream("klv")
        target.start_encoding()
        for packet in first.demux(video=0):
            if packet.size:
                telemetry = av.Packet(b"telemetry")
                telemetry.pts = telemetry.dts = packet.dts
                packet.stream, telemetry.stream, telemetry.time_base = video, data, packet.time_base
                target.mux([packet, telemetry])
    report = render(source, tmp_path / "out.mp4", gallery=gallery, resume=True, **OPTIONS)
    assert len(report["film"]["segments"]) > 1
    texts = [it.getMessage() for it in caplog.records if "is left out" in it.getMessage()]
    assert len(texts) == 1


def test_several_galleries(gallery: Gallery, here: HereEngine, tmp_path: Path) -> None:
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    assert gallery.path is not None
    both = [str(gallery.path), "emoji"]
    assert len(render(source, out, gallery=both, resume=True, **OPTIONS)["film"]["segments"]) == 4
    images = list(np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(OptionError, match="in memory"):
        render(source, out, gallery=images, resume=True, **OPTIONS)


def test_numbered_pictures_may_become_more(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, name = tmp_path / "out.mp4", str(tmp_path / "%03d.png")
    numbered = moving_pictures(31, size=SIZE)
    for number, picture in enumerate(numbered[:30]):
        cv2.imwrite(name % number, picture)
    options = {**OPTIONS, "gallery": gallery, "resume": True, "fps": 1}
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: StoppingEngine())
    with pytest.raises(StoppedError):
        render(name, out, **options)
    cv2.imwrite(name % 30, numbered[30])
    monkeypatch.setattr(films, "open_engine", lambda *_, **__: HereEngine())
    render(name, out, **options)
    assert len(pictures(out)) == 31
