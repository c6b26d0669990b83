"""The window: what it shows, and its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import sinks
from ..control.state import Control
from ..sinks.base import RunContext

if TYPE_CHECKING:
    from ..media.frame import StreamInfo
    from .window import WindowSink

__all__ = ["parse_output"]

sinks.register(sinks.Kind("window", __name__, {"window": "window"}))


@dataclass(frozen=True, kw_only=True)
class WindowDestination(sinks.Destination):
    """`window`. The options are for recordings."""

    is_display: bool = True
    for_screen: bool = True
    has_keys: bool = True
    encodes: bool = True

    def supported_options(self) -> set[str]:
        from ..sinks.formats import FORMATS, supported_options

        return supported_options(FORMATS["mkv"], self.options)

    def check(self) -> None:
        from ..sinks.formats import FORMATS, find_codec

        find_codec(FORMATS["mkv"], self.options, output="a recording")

    def open(self, info: StreamInfo, context: RunContext) -> WindowSink:
        from .window import WindowSink

        return WindowSink(info, control=context.control or Control(), display=context.display)


def parse_output(spec: str, options: sinks.FileOptions) -> WindowDestination:
    return WindowDestination(name=spec, options=options, location=spec)
