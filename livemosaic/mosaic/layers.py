"""The layers of a stream: cells of all sizes, which of them split, and which are matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..jit import I32, U8, Bools
from .grid import ANALYSIS_PX
from .layer import CellTiles, Face, Layer
from .match.base import Matcher
from .settings import MosaicSettings
from .spotlight import Spotlight


@dataclass(frozen=True, slots=True)
class CellCounts:
    """How many cells of one frame were matched, composed and changed."""

    total: int = 0
    active: int = 0  # that needed a match, in this frame or a later one
    deferred: int = 0  # active ones that wait for a later frame
    touched: int = 0  # that were composed again with the same tile
    changed: int = 0  # whose tile is another one than before
    split: int = 0  # cells, not in the total, that are shown by four finer ones

    def share(self, name: str) -> float:
        """A count as a share of all cells, 0..1; among them those that are split, because these may
        be matched, to see whether a photo would fit again."""
        count: int = getattr(self, name)
        return count / max(self.total + self.split, 1)

    @property
    def split_share(self) -> float:
        """Of the largest cells, those shown by finer ones: each split makes four cells of one."""
        return self.split / max(self.total - 3 * self.split, 1)


class Scene(NamedTuple):
    """What the match knows of a frame: a picture, and of the largest cells the rest."""

    bgr: U8  # with `Layers.px` pixels on each side of a cell
    state: U8  # (rows, columns), from `Activity`
    active_pixels: U8  # likewise
    urgency: I32  # (cells,), how urgent it is to match them
    hidden: Bools  # (cells,), of which nothing is seen
    pinned: Bools  # (cells,), which keep their tile
    outdated: Bools  # (cells,), to be composed; the match adds those that show another tile


class Matched(NamedTuple):
    """What became of the cells in a match."""

    active: int  # that needed one
    changed: int  # from a tile to another one
    cells: list[I32]  # that were matched, of each layer


class Layers:
    """The cells of each size, the largest first: each finer layer splits those of the one before.

    Attributes
    ----------
    all : the layers
    whole : the first of them, whose cells cover the picture
    px : pixels on each side of one of its cells that are enough to match the finest ones
    """

    def __init__(self, matchers: Sequence[Matcher], settings: MosaicSettings) -> None:
        self._settings = settings
        self.all: list[Layer] = []
        for matcher in matchers:
            self.all.append(Layer(matcher, self.all[-1] if self.all else None))
        self.whole = self.all[0]
        self.px = max(ANALYSIS_PX, self.whole.matcher.points << (len(self.all) - 1))

    def show_all(self, chosen: Sequence[CellTiles]) -> None:
        """Show tiles that were chosen elsewhere; `UsageError` if they are for other cells."""
        shapes = [(it.grid.rows, it.grid.columns) for it in chosen]
        if shapes != [(it.grid.rows, it.grid.columns) for it in self.all]:
            raise UsageError(
                "layers: the cells are others than those of the settings; use the same"
            )
        for layer, its in zip(self.all, chosen, strict=True):
            layer.ids = its.tile_ids.reshape(-1).astype(np.int32)
            layer.flips = its.flips.reshape(-1).copy()

    def update_settings(self, settings: MosaicSettings) -> None:
        """Use settings that keep tiles, see `Matcher.update_settings`."""
        self._settings = settings
        for layer in self.all:
            layer.matcher.update_settings(settings)

    def follow(self, matchers: Sequence[Matcher], gone: Bools) -> bool:
        """Go on with matchers for a later state of the gallery, see `Layer.follow`."""
        for matcher, layer in zip(matchers, self.all, strict=True):
            matcher.update_settings(self._settings)
            if not layer.follow(matcher, gone):
                return False
        if self._room() < 0:  # so many photos have left
            self.join_all()
        return True

    # ---- a frame -------------------------------------------------------------------------------

    def join_all(self) -> None:
        """Which cells split is decided anew in the next match."""
        for layer in self.all[1:]:
            layer.leave(np.flatnonzero(layer.ids >= 0))
        for layer in self.all:
            layer.split[:] = False

    def show(self, spotlights: Sequence[Spotlight], outdated: Bools) -> Bools:
        """Let cells show the photos in the spotlight; which they are, bool (cells,). Those that
        showed others are `outdated`."""
        pinned = np.zeros(self.whole.grid.cells, np.bool_)
        for it in spotlights:
            pinned[it.cell] = True
            outdated[it.cell] |= self.whole.show(it.cell, it.tile)
        return pinned

    def split_faces(self, faces: Sequence[Face], size: tuple[int, int], fixed: Bools) -> None:
        """With `fine="faces"`, split the cells at faces, which are in a picture of a size; those in
        `fixed`, bool (cells,) of the largest cells, stay as they are."""
        if self._settings.fine == "faces":
            for layer in self.all[:-1]:
                layer.split_faces(faces, size, fixed[layer.coarse], self._room)

    def match(
        self, scene: Scene, max_cells: int | None, on_stage: Callable[[str], None]
    ) -> Matched:
        """Match the cells of each size that need it, at most `max_cells` of all. With
        `fine="detail"`, split those that their photos do not fit."""
        active = changed = 0
        matched: list[I32] = []
        for layer in self.all:
            coarser = layer.coarser
            if coarser is not None and not coarser.split.any() and not layer.is_shown:
                break
            left = None if max_cells is None else max_cells - sum(map(len, matched))
            needed, other, cells = self._match(layer, scene, left, on_stage)
            active, changed = active + needed, changed + other
            matched.append(cells)
        return Matched(active, changed, matched)

    def _match(
        self, layer: Layer, scene: Scene, max_cells: int | None, on_stage: Callable[[str], None]
    ) -> tuple[int, int, I32]:
        """Match the cells of a layer that need it; how many these are, how many show another tile
        than before, and which were matched."""
        is_whole, splits = layer is self.whole, layer is not self.all[-1]
        visible = layer.visible
        if is_whole:
            allowed, urgency = ~scene.pinned, scene.urgency
        else:
            hidden = scene.hidden[layer.coarse]
            layer.split &= visible
            layer.matcher.visible = visible & ~(hidden & (layer.ids >= 0))
            urgency = layer.observe(scene.bgr, scene.state, scene.active_pixels)
            allowed = visible & ~hidden
        by_details = splits and self._settings.fine == "detail"
        if not by_details:  # else they are matched, to see whether a photo would fit again
            allowed = allowed & ~layer.split
        needed = visible & (layer.ids < 0) & ~layer.split
        active, cells = layer.waiting.select(urgency, allowed, needed, max_cells)
        before = layer.ids.copy(), layer.flips.copy()
        if len(cells):
            layer.matcher.describe(cells)
        if is_whole:
            on_stage("features")
        if len(cells):
            layer.match(cells, active)
            if by_details:
                layer.split_details(scene.bgr, cells, self._settings.tint, self._room)
        if splits or not is_whole:
            layer.leave(np.flatnonzero((layer.ids >= 0) & (layer.split | ~visible)))
        shown = layer.ids >= 0
        other = (layer.ids != before[0]) | ((layer.flips != before[1]) & shown)
        scene.outdated[layer.coarse[other]] = True
        return active, int(np.count_nonzero(other & shown & (before[0] >= 0))), cells

    def counts(self, matched: Matched, outdated: Bools, painted: int) -> CellCounts:
        """What became of the cells, of which so many were painted, in those that are outdated."""
        pairs = zip(self.all, matched.cells, strict=False)
        new = sum(layer.count(outdated, cells) for layer, cells in pairs)
        return CellCounts(
            sum(layer.shown for layer in self.all),
            matched.active,
            deferred=matched.active - sum(map(len, matched.cells)),
            touched=painted - new,
            changed=matched.changed,
            split=self._splits,
        )

    @property
    def _splits(self) -> int:
        """How many cells are split."""
        return sum(int(np.count_nonzero(layer.split)) for layer in self.all)

    def _room(self) -> int:
        """How many more cells may split: there are photos for so many more."""
        return (self.whole.matcher.most_cells - self.whole.grid.cells) // 3 - self._splits
