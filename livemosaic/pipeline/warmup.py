"""Settings that need other kernels wait until these are there; the picture goes on meanwhile."""

from __future__ import annotations

from dataclasses import replace

from ..media.frame import Frame
from ..mosaic.mosaic import Mosaic
from ..mosaic.settings import MosaicSettings
from .threads import Spawn

__all__ = ["WarmUp"]


class WarmUp:
    """Says which settings can be shown at once, and has the mosaic learn others besides.

    What was never used on a machine is compiled first: 4 s for another match, 1 s for another size
    of tiles. A picture that stood still so long would also show who has just asked to be hidden.

    Parameters
    ----------
    mosaic : the filter
    settings : what it begins with
    spawn : runs a function on a thread of that name
    """

    def __init__(self, mosaic: Mosaic, settings: MosaicSettings, spawn: Spawn) -> None:
        self._mosaic, self._spawn = mosaic, spawn
        self._shown = settings
        self._known = {_kernels(settings)}
        self._at_work = False
        self._ended = False

    def shown(self, wanted: MosaicSettings, last: Frame | None) -> MosaicSettings:
        """What of `wanted` can be shown now, before or behind the frame `last`; all of it where
        there is no picture yet that could stand still."""
        kernels = _kernels(wanted)
        if last is None or kernels in self._known:
            self._known.add(kernels)
            self._shown = wanted
            return wanted
        if not self._at_work:  # one after the other: of many that are wanted, the last counts
            self._at_work = True
            self._learn(wanted, last)
        now = self._shown
        return replace(wanted, match=now.match, tile_px=now.tile_px, tint=now.tint)

    def _learn(self, wanted: MosaicSettings, last: Frame) -> None:
        def learn() -> None:
            self._mosaic.warm_up_kernels(wanted, last.width, last.height, last.colour)
            self._known.add(_kernels(wanted))
            self._at_work = False
            self._ended = True

        self._spawn("rehearsal", learn)

    def take_ended(self) -> bool:
        """Whether one has ended since the last call, so that more may be shown now."""
        ended, self._ended = self._ended, False
        return ended


def _kernels(settings: MosaicSettings) -> tuple[object, ...]:
    """What the choice of kernels depends on, among the settings that change while it runs."""
    return settings.match, settings.tile_px, settings.tint > 0
