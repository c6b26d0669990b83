"""Matching: the tile of each cell. A module for each way; `MosaicSettings.match` names one.

To add a way: write a module with a `Matcher`, and add its line to `MATCHERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import MosaicSettings
    from .base import Matcher

__all__ = ["MATCHERS", "matcher_class", "unused_by"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way of matching. It is imported when it is used, as `livemosaic --help` lists the names.

    Attributes
    ----------
    module, class_name : its `Matcher`
    uses : options that have an effect with some ways only, and with this one
    thorough : module and class of the `Matcher` for single pictures; None for the same
    """

    module: str
    class_name: str
    uses: frozenset[str] = frozenset()
    thorough: tuple[str, str] | None = None


MATCHERS = {
    "layout": Way(
        "layout",
        "LayoutMatcher",
        frozenset({"calm", "variety", "min_distance", "max_uses", "min_uses"}),
        thorough=("refine", "RefiningMatcher"),
    ),
    "clusters": Way("clusters", "ClusterMatcher", frozenset({"palette", "seed"})),
}


def unused_by(match: str) -> frozenset[str]:
    """The options that have an effect with other ways of matching only."""
    of_all = frozenset[str]().union(*(way.uses for way in MATCHERS.values()))
    return of_all - MATCHERS[match].uses


def matcher_class(settings: MosaicSettings) -> type[Matcher]:
    """The matcher that settings ask for."""
    way = MATCHERS[settings.match]
    module, class_name = way.module, way.class_name
    if settings.thorough and way.thorough is not None:
        module, class_name = way.thorough
    found: type[Matcher] = getattr(import_module(f".{module}", __name__), class_name)
    return found
