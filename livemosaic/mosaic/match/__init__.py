"""Matching: the tile of each cell. A module for each way; `MosaicSettings.match` names one.

To add a way: write a module with a `Matcher`, and add its line to `MATCHERS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import MosaicSettings
    from .base import Matcher

__all__ = ["MATCHERS", "matcher_class"]

# Module and class of each way; imported when it is used, as `livemosaic --help` lists the names.
MATCHERS = {
    "layout": ("layout", "LayoutMatcher"),
    "clusters": ("clusters", "ClusterMatcher"),
}


_THOROUGH = ("refine", "RefiningMatcher")


def matcher_class(settings: MosaicSettings) -> type[Matcher]:
    """The matcher that settings ask for."""
    module, class_name = _THOROUGH if settings.thorough else MATCHERS[settings.match]
    found: type[Matcher] = getattr(import_module(f".{module}", __name__), class_name)
    return found
