"""Discontinuities: recordings joined into one file, whose times begin anew or leap ahead."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import fraction, shift_packet

_ZERO_S = Fraction(0)
# A step back in decoding order by less than 16 pictures is disorder: encoders reorder no more. But
# 16 pictures take long at a low rate, and no time where a rate is misread, so there are limits.
_REORDERED, _MIN_BACK_S, _MAX_BACK_S = 16, Fraction(1, 4), Fraction(1)
# In formats whose times may leap ahead, a gap of this length is a leap; ffmpeg's value.
_LEAP_S = Fraction(10)
# Packets of other tracks that may wait for the picture to step as they did, and pictures that may
# come before it: demuxers give a packet of unknown length only when the next one begins.
_MAX_WAITING, _MAX_LATE = 100, 2
# For this time after a discontinuity, other tracks may have packets from before it.
_TAIL_S = 1


class Discontinuity:
    """Shifts the packets of a container so that times continue at each discontinuity.

    The video track shows where that is: it steps back, or leaps ahead without sound in the gap.
    Other tracks step a little earlier or later, and get the same shift.

    Parameters
    ----------
    video : index of the video track's stream
    origin_s : the container's time that becomes 0
    leaps : whether a leap ahead is a discontinuity, and not a pause
    """

    def __init__(
        self, video: int, *, rate: Fraction, origin_s: Fraction = _ZERO_S, leaps: bool = False
    ) -> None:
        self._video = video
        self._step_s = 1 / rate
        self._back_s = min(_MAX_BACK_S, max(_MIN_BACK_S, _REORDERED / rate))
        self._leap_s = max(_LEAP_S, _REORDERED / rate) if leaps else None
        self.removed_s = _ZERO_S  # length of the gaps that were removed
        self._shift_s = self._shift_before_s = -origin_s  # now, and before the discontinuity
        # Shifted times: of decoding by stream, and the latest of sound and of pictures.
        self._last_s: dict[int, Fraction] = {}
        self._sound_s: Fraction | None = None
        self._picture_s: Fraction | None = None
        self._began_s = _ZERO_S  # the video's shifted time at the last discontinuity
        self._waiting: list[Any] = []
        self._late = 0  # pictures since packets wait

    def __call__(self, packet: Any) -> Iterator[Any]:
        """Yield the packets that are ready once `packet` is in, shifted in place."""
        if packet.stream_index != self._video:
            yield from self._other_track(packet)
            return
        at_s = _seconds(packet, packet.dts)
        self._late += 1
        if at_s is not None:
            if self._is_discontinuity(packet, at_s):
                self._late, self._began_s = _MAX_LATE, at_s + self._shift_s
            self._last_s[self._video] = at_s + self._shift_s
            if at_s + self._shift_s - self._began_s > _TAIL_S:
                self._shift_before_s = self._shift_s
            picture_s = _seconds(packet, packet.pts)
            if picture_s is not None:
                picture_s += self._shift_s
                self._picture_s = max(picture_s, self._picture_s or picture_s)
        if self._late >= _MAX_LATE:
            yield from self.flush()
        yield shift_packet(packet, self._shift_s)

    def flush(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            yield self._placed(packet)

    def _is_discontinuity(self, packet: Any, at_s: Fraction) -> bool:
        """Whether the video's times break here; sets the shift that continues them."""
        last_s = self._last_s.get(self._video)
        if last_s is None or not self._steps(at_s, last_s):
            return False
        sound_s = last_s if self._sound_s is None else self._sound_s
        if self._is_leap(at_s, last_s) and not self._is_leap(at_s, sound_s):
            return False  # the sound goes on: only the picture pauses
        self._shift_before_s = self._shift_s
        self._shift_s = last_s + self._step_s - at_s
        picture_s = _seconds(packet, packet.pts)
        if picture_s is not None and self._picture_s is not None:
            self._shift_s = max(self._shift_s, self._picture_s + self._step_s - picture_s)
        self.removed_s += max(_ZERO_S, self._shift_before_s - self._shift_s)
        return True

    def _steps(self, at_s: Fraction, last_s: Fraction) -> bool:
        """Whether a track that was at `last_s` does not continue at `at_s` (not shifted)."""
        return last_s - (at_s + self._shift_s) > self._back_s or self._is_leap(at_s, last_s)

    def _is_leap(self, at_s: Fraction, last_s: Fraction) -> bool:
        return self._leap_s is not None and at_s + self._shift_s - last_s > self._leap_s

    def _other_track(self, packet: Any) -> Iterator[Any]:
        at_s = _seconds(packet, packet.dts)
        last_s = self._last_s.get(packet.stream_index)
        if at_s is None or last_s is None or packet.stream.type != "audio":
            steps = False
        else:
            steps = self._steps(at_s, last_s)
        if (steps or self._waiting) and len(self._waiting) < _MAX_WAITING:
            self._late = self._late if self._waiting else 0
            self._waiting.append(packet)
            return
        yield from self.flush()
        yield self._placed(packet)

    def _placed(self, packet: Any) -> Any:
        """A packet of another track, with the shift that continues its track."""
        at_s = _seconds(packet, packet.dts)
        if at_s is None:
            return shift_packet(packet, self._shift_s)
        # Subtitles have gaps, so they have to be near the picture.
        leader = packet.stream_index if packet.stream.type == "audio" else self._video
        near_s = self._last_s.get(leader, at_s + self._shift_s)
        shift_s = min(
            (self._shift_s, self._shift_before_s), key=lambda shift_s: abs(at_s + shift_s - near_s)
        )
        self._last_s[packet.stream_index] = at_s + shift_s
        if packet.stream.type == "audio":
            self._sound_s = max(at_s + shift_s, self._sound_s or at_s + shift_s)
        return shift_packet(packet, shift_s)


def _seconds(packet: Any, ticks: int | None) -> Fraction | None:
    base = fraction(packet.time_base)
    return None if ticks is None or base is None else ticks * base
