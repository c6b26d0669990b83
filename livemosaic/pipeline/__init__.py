"""The pipeline: it owns every thread, hand-over, deadline and shutdown.

source --> reader --> hand-over --> stage( Mosaic ) --> hand-over --> writer --> sink
                                                   \\--> hand-over --> writer --> sink
"""

from __future__ import annotations

from .pipeline import Pipeline, Progress, output_info

__all__ = ["Pipeline", "Progress", "output_info"]
