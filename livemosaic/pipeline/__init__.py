"""The pipeline: threads, queues and limits between source, mosaic and sinks.

source -> SourceReader -> queue -> MosaicWorker -> FanOut -> queue -> SinkWriter -> sink
                                                         \\-> queue -> SinkWriter -> sink
"""

from __future__ import annotations

from .pipeline import Pipeline, output_info
from .report import Progress

__all__ = ["Pipeline", "Progress", "output_info"]
