"""What can be chosen about a mosaic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Literal

from ..errors import UsageError

if TYPE_CHECKING:
    from .grid import Grid

__all__ = ["MosaicSettings"]


@dataclass(frozen=True, slots=True)
class MosaicSettings:
    """What can be chosen about a mosaic; see `livemosaic run --help` for each in words."""

    tile_px: int | None = None
    columns: int | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    round_up: bool = False
    live: bool = False  # what is not given is chosen for somebody who watches
    thorough: bool = False  # for a single picture: the best mosaic, for as long as it takes
    match: Literal["layout", "clusters"] = "layout"
    tint: float = 0.8
    calm: float = 0.5
    variety: float = 0.4
    min_distance: int = 3
    max_uses: int = 0
    palette: int = 150
    overlay: float = 0.2
    overlay_luma: bool = False
    activity: float = 16.0
    seed: int = 0

    def for_grid(self, grid: Grid) -> MosaicSettings:
        """The same, with exactly this grid, whatever the input's size."""
        return replace(
            self,
            tile_px=grid.tile_px,
            columns=None,
            scale=None,
            size=(grid.width, grid.height),
            round_up=False,
        )

    def __post_init__(self) -> None:
        for name, number in (
            ("tile", self.tile_px),
            ("columns", self.columns),
            ("min-distance", self.min_distance),
            ("max-uses", self.max_uses),
            ("palette", self.palette),
            ("seed", self.seed),
        ):
            if number is not None and not isinstance(number, Integral):
                raise UsageError(f"--{name} {number!r}: must be a whole number")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise UsageError(f"--scale {self.scale:g}: must be above 0")
        if self.size is not None and not (
            len(self.size) == 2 and all(isinstance(side, Integral) for side in self.size)
        ):
            raise UsageError(f"--size {self.size!r}: must be two whole numbers, width and height")
        for name, value, low, high in (
            ("tint", self.tint, 0.0, 1.0),
            ("calm", self.calm, 0.0, 1.0),
            ("variety", self.variety, 0.0, 1.0),
            ("min-distance", self.min_distance, 0, 100),
            ("max-uses", self.max_uses, 0, 2**31 - 1),
            ("overlay", self.overlay, 0.0, 1.0),
            ("activity", self.activity, 0.0, 255.0),
            ("palette", self.palette, 1, 4096),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise UsageError(f"--{name} {value:g}: must be from {low:g} to {high:g}")
        if self.match not in ("layout", "clusters"):
            raise UsageError(f"--match {self.match}: choose layout or clusters")
