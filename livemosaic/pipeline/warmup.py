"""Delays settings whose kernels are not compiled yet; the picture goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..media.frame import Frame
from ..mosaic.mosaic import Mosaic
from ..mosaic.settings import MosaicSettings


class WarmUp:
    """Decides which settings the mosaic can use at once, and warms it up for the others.

    On a machine's first use, another match compiles for 4 s, and another tile size for 1 s. During
    that time a picture that stood still would ignore privacy mode.
    """

    def __init__(
        self,
        mosaic: Mosaic,
        settings: MosaicSettings,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
    ) -> None:
        self._mosaic, self._spawn = mosaic, spawn
        self._current = settings
        self._warm = {_kernels(settings)}
        self._busy = self._finished = False

    def available(self, wanted: MosaicSettings, last: Frame | None) -> MosaicSettings:
        """The settings to use now: `wanted`, with the current values where kernels are missing.

        Without a `last` frame there is no picture that can stand still: `wanted` is used at once.
        """
        kernels = _kernels(wanted)
        if last is None or kernels in self._warm:
            self._warm.add(kernels)
            self._current = wanted
            return wanted
        if not self._busy:  # one at a time: of many settings in a row, only the last counts
            self._busy = True
            self._start(wanted, last)
        now = self._current
        return replace(wanted, match=now.match, tile_px=now.tile_px, tint=now.tint, fine=now.fine)

    def _start(self, wanted: MosaicSettings, last: Frame) -> None:
        def warm_up() -> None:
            deep_colour = None if last.deep is None else last.deep.colour
            of_frames = (last.width, last.height, last.colour, deep_colour)
            self._mosaic.warm_up_kernels(wanted, *of_frames)
            self._warm.add(_kernels(wanted))
            self._finished = True
            end()

        def end() -> None:
            self._busy = False

        self._spawn("warm-up", warm_up, end)

    def take_finished(self) -> bool:
        """Whether a warm-up has finished since the last call: `available` may return more now."""
        finished, self._finished = self._finished, False
        return finished


def _kernels(settings: MosaicSettings) -> tuple[object, ...]:
    """The part of the live settings that selects the kernels."""
    return settings.match, settings.tile_px, settings.tint > 0, settings.fine != "none"
