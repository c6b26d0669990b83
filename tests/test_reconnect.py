"""Sources that go away and come back, on fakes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from livemosaic.errors import RefusedError, SourceError, UsageError
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame, StatusEvent, TrackPacket
from livemosaic.sources.base import Source
from livemosaic.sources.continuity import StreamContinuity
from livemosaic.sources.reconnect import Backoff, ReconnectingSource
from tests.fakes import RATE, SIZE, TIMEOUT_S, FakeSource, Gate, frame, packet


def at(number: int, captured_s: float, **changes: Any) -> Frame:
    return replace(frame(number), captured_s=captured_s, **changes)


def opener(*results: Any) -> Callable[[], Source]:
    """Gives the results one after the other; exceptions are raised."""
    queue = iter(results)

    def open() -> Source:
        result: Source | BaseException = next(queue)
        if isinstance(result, BaseException):
            raise result
        return result

    return open


def reconnecting(*results: Any, **options: Any) -> ReconnectingSource:
    options = {"backoff": Backoff(0.001, 0.002), **options}
    return ReconnectingSource(opener(*results), name="camera", **options)


@pytest.mark.parametrize("reconnect", ["sometimes", -2])
def test_reconnect_is_checked(reconnect: str | int) -> None:
    with pytest.raises(UsageError, match=rf"^reconnect.*{reconnect}"):
        reconnecting(FakeSource([]), reconnect=reconnect)


@pytest.mark.parametrize("lost", [[], [SourceError("camera: unplugged")]], ids=["end", "error"])
def test_goes_on_after_the_end(lost: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    one = FakeSource([at(0, 10.0), at(1, 10.04), *lost])
    one.bad_frames = 2
    two = FakeSource([at(0, 12.0), at(1, 12.04)])
    two.bad_frames = 1
    source = reconnecting(one, SourceError("camera: away"), two, RefusedError("camera: gone"))
    items = []
    for item in source:
        items.append(item)
        if source.reconnects and len(items) == 5:
            source.interrupt()
    times = [i.time_s if isinstance(i, Frame) else i for i in items]
    # As the clock went on: 12.0 - 10.04 after 0.04.
    assert times == [0.0, 0.04, StatusEvent("reconnecting"), 2.0, 2.04]
    assert source.reconnects == 1
    assert source.bad_frames == 3
    assert one.closed == 1
    source.close()
    assert two.closed == 1
    why = "camera: unplugged" if lost else "camera: the stream has ended"
    assert caplog.records[0].getMessage() == f"{why}; reconnecting"


def test_refusal_is_final_only_for_what_was_never_there() -> None:
    with pytest.raises(RefusedError, match="no such path"):
        reconnecting(RefusedError("camera: no such path"), reconnect="always")
    with pytest.raises(RefusedError, match="no such path"):
        reconnecting(
            SourceError("camera: off"), RefusedError("camera: no such path"), reconnect="always"
        )
    source = reconnecting(
        FakeSource([at(0, 0.0)]), RefusedError("camera: no such path"), FakeSource([at(0, 1.0)])
    )
    given = iter(source)
    assert [type(next(given)) for _ in range(3)] == [Frame, StatusEvent, Frame]


def test_attempts_are_counted_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    off = SourceError("camera: off")
    source = reconnecting(
        FakeSource([at(0, 0.0)]), off, FakeSource([at(0, 1.0)]), off, off, off, reconnect=2
    )
    items: list[Any] = []
    with pytest.raises(SourceError, match=r"camera: off.* 2 attempts"):
        items.extend(source)
    assert [type(item) for item in items] == [Frame, StatusEvent, Frame, StatusEvent]
    source.close()


def test_never() -> None:
    source = reconnecting(FakeSource([at(0, 0.0)]), reconnect="never")
    assert len(list(source)) == 1
    source = reconnecting(FakeSource([SourceError("camera: broken")]), reconnect="never")
    with pytest.raises(SourceError, match="camera: broken"):
        list(source)


def test_other_errors_are_not_ours() -> None:
    with pytest.raises(ZeroDivisionError):
        reconnecting(ZeroDivisionError())
    source = reconnecting(FakeSource([ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        list(source)
    source = reconnecting(FakeSource([]), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        list(source)


def test_waits_double_up_to_the_longest_with_jitter() -> None:
    chances = iter([0.5, 0.0, 1.0, 0.5, 0.5])
    backoff = Backoff(0.25, 1.0, jitter=0.2, chance=lambda: next(chances))
    assert [backoff.next_s() for _ in range(4)] == pytest.approx([0.25, 0.5 * 0.8, 1.2, 1.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.25)


class CountedBackoff(Backoff):
    """Waits that pass at once, and are noted."""

    def __init__(self) -> None:
        super().__init__(0.25, 1.0, jitter=0)
        self.waits_s: list[float] = []

    def next_s(self) -> float:
        self.waits_s.append(super().next_s())
        return 0.0


def test_waits_before_attempts(caplog: pytest.LogCaptureFixture) -> None:
    backoff = CountedBackoff()
    off = SourceError("camera: off")
    with pytest.raises(SourceError, match="4 attempts"):
        reconnecting(off, off, off, off, off, reconnect=4, backoff=backoff)
    assert backoff.waits_s == [0.25, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(("lasted_s", "waits_s"), [(1.0, [0.25, 0.5]), (60.0, [0.25, 0.25])])
def test_waits_begin_anew_after_a_stable_source(lasted_s: float, waits_s: list[float]) -> None:
    now_s = [1000.0]

    def pass_time() -> None:
        now_s[0] += lasted_s

    backoff = CountedBackoff()
    sources = [FakeSource([at(0, 0.0), pass_time]) for _ in range(3)]
    source = reconnecting(*sources, backoff=backoff, clock=lambda: now_s[0])
    items = iter(source)
    assert [type(next(items)) for _ in range(5)] == [Frame, StatusEvent] * 2 + [Frame]
    assert backoff.waits_s == waits_s


def test_interrupt_while_opening_closes_what_comes_too_late() -> None:
    gate = Gate()
    late = FakeSource([])
    closed = threading.Event()
    late.close = closed.set  # type: ignore[method-assign]
    results = iter([FakeSource([at(0, 0.0)]), late])

    def open() -> Source:
        result = next(results)
        if result is late:
            gate()
        return result

    source = ReconnectingSource(open, name="camera")
    items: list[Any] = []
    thread = threading.Thread(target=lambda: items.extend(source))
    thread.start()
    gate.reached()
    source.interrupt()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert [type(item) for item in items] == [Frame, StatusEvent]
    gate.open()
    assert closed.wait(TIMEOUT_S)


# ---- what is stream ----------------------------------------------------------------------


def track(codec: str = "aac", *, rate: int = 48000, channels: int = 2, kind: str = "audio") -> Any:
    return SimpleNamespace(
        type=kind,
        codec_context=SimpleNamespace(
            codec=SimpleNamespace(canonical_name=codec),
            extradata=b"\x11",
            sample_rate=rate,
            layout=SimpleNamespace(nb_channels=channels),
        ),
    )


def continuity(**changes: Any) -> StreamContinuity:
    return StreamContinuity(replace(FakeSource([]).info, **changes), name="camera")


def through(stream: StreamContinuity, *items: Any) -> list[Any]:
    return [out for item in items for out in stream(item)]


def test_times_of_one_source_are_its_own() -> None:
    """Also when the network was late: what was slow does not become a gap."""
    frames = [at(0, 1.0), at(1, 1.04), at(2, 3.5), at(3, 3.5), at(4, 3.5)]
    assert [f.pts for f in through(continuity(), *frames)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("jump", [90_000, -10])
def test_a_clock_that_is_set_moves_nothing(jump: int) -> None:
    frames = [at(0, 1.0), at(1, 1.04), at(2 + jump, 1.08), at(3 + jump, 1.12)]
    assert [f.pts for f in through(continuity(), *frames)] == [0, 1, 2, 3]


def test_another_time_base_after_coming_back() -> None:
    stream = continuity()
    through(stream, at(0, 1.0), at(1, 1.04))
    stream.restart(FakeSource([]).info)
    base = Fraction(1, 90_000)
    frames = [
        at(pts, captured_s, time_base=base, duration=3600)
        for pts, captured_s in ((500_000, 2.04), (503_600, 2.08))
    ]
    found = through(stream, *frames)
    assert [(f.pts, f.time_base, f.duration) for f in found] == [
        (26, 1 / RATE, 1),
        (27, 1 / RATE, 1),
    ]


def test_tracks_that_fit_go_on_in_the_same_times() -> None:
    first = (track(), track("pcm_alaw"))
    stream = continuity(tracks=first)
    through(stream, at(0, 1.0), at(25, 2.0))
    stream.restart(replace(FakeSource([]).info, tracks=(track(), track("pcm_alaw", rate=8000))))
    sound = [packet(pts, time_base=Fraction(1, 48000), track=n) for n in (0, 1) for pts in (0, 9)]
    for item in sound:
        item.packet.dts = item.packet.pts
    # Only the first picture tells how far to shift.
    assert through(stream, sound[0], sound[2]) == []
    found = through(stream, at(0, 4.0), sound[1], sound[3])
    assert [type(item) for item in found] == [Frame, TrackPacket]
    assert found[0].time_s == 3.0
    assert (found[1].packet.pts, found[1].packet.dts) == (9 + 3 * 48000,) * 2


def test_a_track_that_is_coded_otherwise_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    stream = continuity(tracks=(track(),))
    for other in (track("mp3"), track(rate=44100), track(channels=6)):
        through(stream, at(0, 1.0))
        stream.restart(replace(FakeSource([]).info, tracks=(other,)))
        assert len(through(stream, at(0, 2.0), packet(0))) == 1
    assert [r.getMessage() for r in caplog.records] == [
        "camera: its audio has another coding after the reconnect: left out"
    ]


def test_another_size_shape_and_colour(caplog: pytest.LogCaptureFixture) -> None:
    stream = continuity()
    info = replace(FakeSource([]).info, width=24, height=48, sample_aspect_ratio=Fraction(2))
    through(stream, at(0, 1.0))
    stream.restart(info)
    full = Colour("bt601", full_range=True)
    y, u, v = (
        np.full(s, 255 if s == (48, 24) else 128, np.uint8) for s in ((48, 24), (24, 12), (24, 12))
    )
    (found,) = through(stream, Frame(y, u, v, full, pts=0, captured_s=2.0))
    assert (found.width, found.height) == SIZE
    assert found.colour == FakeSource([]).info.colour
    # 24 wide pixels are as 48 square ones: 8 columns of bars on both sides.
    assert (found.y[:, 8:56] == 235).all()
    assert (found.y[:, :8] == 16).all()
    assert "24x48: fitted into 64x48" in caplog.text


@pytest.fixture(autouse=True)
def _warnings_are_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "livemosaic")
