"""The process of a poster, as important as the tests: others may need all processors."""

from livemosaic import priority
from livemosaic.pipeline.poster import serve

priority.lower_priority = lambda: None
serve()
