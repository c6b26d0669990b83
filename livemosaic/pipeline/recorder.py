"""Recordings: outlets that come and go while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..control.state import Control
from ..errors import LivemosaicError
from ..sinks.base import Sink
from .sink_writer import Outlet
from .threads import Crew

__all__ = ["Recorder"]

_logger = logging.getLogger("livemosaic")


class Recorder:
    """Records into a file of its own when that is wanted; what fails about it ends nothing else.

    Parameters
    ----------
    control : says whether it is wanted
    crew : of the pipeline
    open_recording : makes a sink
    outlet : makes an outlet of it
    over : whether nothing more will come

    Attributes
    ----------
    outlets : what is recorded now, and what was and is not finished yet
    finished : reports of the recordings that were kept, see `Outlet.report`
    """

    def __init__(
        self,
        control: Control,
        crew: Crew,
        *,
        open_recording: Callable[[], Sink],
        outlet: Callable[[Sink], Outlet],
        over: Callable[[], bool],
    ) -> None:
        self._control, self._crew = control, crew
        self._open, self._outlet, self._over = open_recording, outlet, over
        self._current: Outlet | None = None
        self.outlets: Sequence[Outlet] = ()
        self.finished: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Of the file that is recorded into now, empty for none."""
        current = self._current  # which may end at any moment
        return current.sink.name if current is not None else ""

    def obey(self) -> None:
        """Begin or end a recording, as is wanted now. Always called by the same thread."""
        # What has ended is let go of, with all that its encoder held. A new sequence each time: the
        # mosaic's thread may be in the middle of the old one.
        if any(outlet.ended for outlet in self.outlets):
            self.finished += [o.report() for o in self.outlets if o.kept]
            self.outlets = [o for o in self.outlets if not o.ended]
        current, wanted = self._current, self._control.wanted.recording
        if wanted == (current is not None):
            return
        if current is not None:
            current.handover.finish()
            self._current = None
        elif not self._over():  # it ends with the input, although it is still wanted
            self._begin()

    def _begin(self) -> None:
        try:
            sink = self._open()
        except LivemosaicError as error:
            self._control.say(str(error))
            self._control.change(recording=False)
            return
        self._current = recording = self._outlet(sink)
        recording.thread = self._crew.enlist(
            f"sink {sink.name}", partial(self._record, recording), awaited=True
        )
        self.outlets = [*self.outlets, recording]
        recording.thread.start()
        if self._over():  # meanwhile
            recording.handover.finish()

    def _record(self, recording: Outlet) -> None:
        """Serve a recording to its end, on its own thread."""
        try:
            recording.serve()
            self._control.say(f"saved {recording.sink.name}")
            _logger.info("recorded: %s", recording.sink.name)
        except LivemosaicError as error:
            self._control.say(str(error))
            _logger.warning("%s", error)
            if self._current is recording:  # and not one that was begun since
                self._control.change(recording=False)
        finally:
            recording.handover.cancel()  # nobody is to wait for it
            if self._current is recording:
                self._current = None
