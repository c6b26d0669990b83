"""Matching: which tile each cell gets. Two ways, and for single pictures a slower one."""

from __future__ import annotations

from .base import Matcher
from .clusters import ClusterMatcher
from .index import layout_index
from .layout import LayoutMatcher
from .refine import RefiningMatcher

__all__ = ["ClusterMatcher", "LayoutMatcher", "Matcher", "RefiningMatcher", "layout_index"]
