"""Recordings that were joined into one file: the times of each go on where those before it end."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import fraction

__all__ = ["Discontinuity"]

_ZERO_S = Fraction(0)
# Seconds. A step back in decoding order by less than 16 pictures, the most that a coder may
# rearrange, is disorder; but 16 are a long time at a low rate, and none where a rate is misread.
_PICTURES, _LEAST_S, _MOST_S = 16, Fraction(1, 4), Fraction(1)
# Where times may leap ahead without anything being between, so much is a leap, as for ffmpeg.
_LEAP_S = Fraction(10)
# Packets of other tracks that wait for the picture to step as they did, and pictures that may
# still come before: readers give a packet of no known length only once the next one begins.
_MAX_HELD, _MAX_LATE = 100, 2
# Seconds of picture behind a joint for which other tracks may still give what was before it.
_TAIL_S = 1


class Discontinuity:
    """Shifts the packets of a container so that times go on where a recording begins anew.

    The picture says where that is: it steps back, or leaps ahead and no sound fills the gap. Other
    tracks do so a little earlier or later; they get the same shift, so that they stay with the
    picture.

    Parameters
    ----------
    video : number of the picture's stream
    rate : nominal frames/s
    origin_s : seconds of the container's time that are to be 0
    leaps : whether a leap ahead is a new beginning, too, and not a pause

    Attributes
    ----------
    left_out_s : seconds between recordings that were taken out
    """

    def __init__(
        self, video: int, *, rate: Fraction, origin_s: Fraction = _ZERO_S, leaps: bool = False
    ) -> None:
        self._video = video
        self._step_s = 1 / rate
        self._back_s = min(_MOST_S, max(_LEAST_S, _PICTURES / rate))
        self._leap_s = max(_LEAP_S, _PICTURES / rate) if leaps else None
        self.left_out_s = _ZERO_S
        self._heard_s: Fraction | None = None  # the latest time of any sound, shifted
        self._shift_s = self._before_s = -origin_s  # now, and before the last beginning
        self._last_s: dict[int, Fraction] = {}  # decoding time by stream, shifted
        self._shown_s: Fraction | None = None  # the picture's latest presentation time, shifted
        self._held: list[Any] = []
        self._began_s = _ZERO_S  # the picture's time of the last beginning, shifted
        self._late = 0  # pictures since something waits

    def __call__(self, packet: Any) -> Iterator[Any]:
        """Yield the packets that are ready once `packet` is in, shifted in place."""
        if packet.stream_index != self._video:
            yield from self._beside(packet)
            return
        at_s = _seconds(packet, packet.dts)
        self._late += 1
        if at_s is not None:
            if self._begins_anew(packet, at_s):
                self._late, self._began_s = _MAX_LATE, at_s + self._shift_s
            self._last_s[self._video] = at_s + self._shift_s
            if at_s + self._shift_s - self._began_s > _TAIL_S:
                self._before_s = self._shift_s
            shown_s = _seconds(packet, packet.pts)
            if shown_s is not None:
                shown_s += self._shift_s
                self._shown_s = max(shown_s, self._shown_s or shown_s)
        if self._late >= _MAX_LATE:
            yield from self.flush()
        yield _shifted(packet, self._shift_s)

    def flush(self) -> Iterator[Any]:
        """Yield what waits."""
        held, self._held = self._held, []
        for packet in held:
            yield self._placed(packet)

    def _begins_anew(self, packet: Any, at_s: Fraction) -> bool:
        last_s = self._last_s.get(self._video)
        if last_s is None or not self._steps(at_s, last_s):
            return False
        heard_s = last_s if self._heard_s is None else self._heard_s
        if self._is_leap(at_s, last_s) and not self._is_leap(at_s, heard_s):
            return False  # only the picture pauses
        self._before_s = self._shift_s
        self._shift_s = last_s + self._step_s - at_s
        shown_s = _seconds(packet, packet.pts)
        if shown_s is not None and self._shown_s is not None:
            self._shift_s = max(self._shift_s, self._shown_s + self._step_s - shown_s)
        self.left_out_s += max(_ZERO_S, self._before_s - self._shift_s)
        return True

    def _steps(self, at_s: Fraction, last_s: Fraction) -> bool:
        """Whether `at_s` (not shifted) is where nothing goes on that was at `last_s`."""
        return last_s - (at_s + self._shift_s) > self._back_s or self._is_leap(at_s, last_s)

    def _is_leap(self, at_s: Fraction, last_s: Fraction) -> bool:
        return self._leap_s is not None and at_s + self._shift_s - last_s > self._leap_s

    def _beside(self, packet: Any) -> Iterator[Any]:
        at_s = _seconds(packet, packet.dts)
        last_s = self._last_s.get(packet.stream_index)
        if at_s is None or last_s is None or packet.stream.type != "audio":
            steps = False
        else:
            steps = self._steps(at_s, last_s)
        if (steps or self._held) and len(self._held) < _MAX_HELD:
            self._late = self._late if self._held else 0
            self._held.append(packet)
            return
        yield from self.flush()
        yield self._placed(packet)

    def _placed(self, packet: Any) -> Any:
        """A packet of another track, by the shift that it needs to go on without a jump."""
        at_s = _seconds(packet, packet.dts)
        if at_s is None:
            return _shifted(packet, self._shift_s)
        # Texts have gaps: for them it is the picture that they must be near to.
        leader = packet.stream_index if packet.stream.type == "audio" else self._video
        near_s = self._last_s.get(leader, at_s + self._shift_s)
        shift_s = min(
            (self._shift_s, self._before_s), key=lambda shift_s: abs(at_s + shift_s - near_s)
        )
        self._last_s[packet.stream_index] = at_s + shift_s
        if packet.stream.type == "audio":
            self._heard_s = max(at_s + shift_s, self._heard_s or at_s + shift_s)
        return _shifted(packet, shift_s)


def _seconds(packet: Any, ticks: int | None) -> Fraction | None:
    base = fraction(packet.time_base)
    return None if ticks is None or base is None else ticks * base


def _shifted(packet: Any, shift_s: Fraction) -> Any:
    base = fraction(packet.time_base)
    if shift_s and base is not None:
        ticks = round(shift_s / base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
    return packet
