"""Matching: which tile each cell gets. Two ways, each with a module of its own."""

from __future__ import annotations

from .base import Matcher
from .clusters import ClusterMatcher
from .layout import LayoutMatcher

__all__ = ["ClusterMatcher", "LayoutMatcher", "Matcher"]
