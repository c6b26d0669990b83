"""The pipeline: it owns every thread, hand-over, deadline and shutdown.

source --> intake --> hand-over --> stage( Mosaic ) --> hand-over --> outlet --> sink
                                                   \\--> hand-over --> outlet --> sink
"""

from __future__ import annotations

from .pipeline import Pipeline, Progress, output_info

__all__ = ["Pipeline", "Progress", "output_info"]
