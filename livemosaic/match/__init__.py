"""Matching: which tile each cell gets. Two ways, and for single pictures a slower one."""

from __future__ import annotations

from .base import Matcher
from .by_clusters import ClusterMatcher
from .by_layout import LayoutMatcher
from .index import layout_index
from .thorough import ThoroughMatcher

__all__ = ["ClusterMatcher", "LayoutMatcher", "Matcher", "ThoroughMatcher", "layout_index"]
