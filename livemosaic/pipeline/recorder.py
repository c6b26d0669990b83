"""Recordings: writers that come and go while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..control.state import Control
from ..errors import LivemosaicError
from ..sinks.base import Sink
from .sink_writer import SinkWriter
from .threads import ThreadGroup

__all__ = ["Recorder"]

_logger = logging.getLogger("livemosaic")


class Recorder:
    """Records into a file of its own when that is wanted; what fails about it ends nothing else.

    Parameters
    ----------
    control : says whether it is wanted
    threads : of the pipeline
    open_recording : makes a sink
    writer : makes a writer of it
    over : whether nothing more will come

    Attributes
    ----------
    writers : what is recorded now, and what was and is not finished yet
    finished : reports of the recordings that were kept, see `SinkWriter.report`
    """

    def __init__(
        self,
        control: Control,
        threads: ThreadGroup,
        *,
        open_recording: Callable[[], Sink],
        writer: Callable[[Sink], SinkWriter],
        over: Callable[[], bool],
    ) -> None:
        self._control, self._threads = control, threads
        self._open, self._writer, self._over = open_recording, writer, over
        self._current: SinkWriter | None = None
        self.writers: Sequence[SinkWriter] = ()
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
        if any(writer.ended for writer in self.writers):
            self.finished += [o.report() for o in self.writers if o.kept]
            self.writers = [o for o in self.writers if not o.ended]
        current, wanted = self._current, self._control.state.recording
        if wanted == (current is not None):
            return
        if current is not None:
            current.queue.finish()
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
        self._current = recording = self._writer(sink)
        recording.thread = self._threads.create(
            f"sink {sink.name}", partial(self._record, recording), awaited=True
        )
        self.writers = [*self.writers, recording]
        recording.thread.start()
        if self._over():  # meanwhile
            recording.queue.finish()

    def _record(self, recording: SinkWriter) -> None:
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
            recording.queue.cancel()  # nobody is to wait for it
            if self._current is recording:
                self._current = None
