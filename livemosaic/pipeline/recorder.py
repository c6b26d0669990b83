"""Recordings: sinks that start and end while the pipeline runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..control.state import Control
from ..errors import problem_of
from ..sinks.base import Sink
from .queues import Closed
from .sink_writer import FanOut, SinkWriter

_logger = logging.getLogger("livemosaic")


@dataclass(slots=True)
class Recorder:
    """Starts and ends recordings as the control's state says.

    An error of a recording ends nothing else. Without `open_recording` there are no recordings.
    """

    control: Control
    fan_out: FanOut
    open_recording: Callable[[], Sink] | None
    make_writer: Callable[[Sink], SinkWriter]
    _current: SinkWriter | None = field(default=None, init=False)
    _finished: list[dict[str, Any]] = field(default_factory=list, init=False)

    @property
    def name(self) -> str:
        """The current recording's file; empty when there is none."""
        current = self._current  # another thread may reset the attribute
        return current.sink.name if current is not None else ""

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Reports of the completed recordings, see `SinkWriter.report`."""
        last = [writer.report() for writer in self.fan_out.recordings if writer.completed]
        return self._finished + last

    def update(self) -> None:
        """Start or end a recording as the control's state says. Always on the same thread."""
        if self.open_recording is None:
            return
        recordings = self.fan_out.recordings
        ended = [writer for writer in recordings if writer.ended]
        if ended:  # release their encoders' memory
            self._finished += [writer.report() for writer in ended if writer.completed]
            self.fan_out.recordings = [writer for writer in recordings if writer not in ended]
        if self.control.state.recording == (self._current is not None):
            return
        if self._current is not None:
            self._current.queue.finish()
            self._current = None
        elif not self.fan_out.finished:  # after the input's end `recording` may still be set
            self._start(self.open_recording)

    def _start(self, open_recording: Callable[[], Sink]) -> None:
        try:
            sink = open_recording()
            recording = self.make_writer(sink)
        except Exception as error:
            self._report_failure(error)
            self.control.change(recording=False)
            return
        self._current = recording
        try:
            recording.start(self._run)
        except RuntimeError as error:  # the system starts no more threads
            self._report_failure(error)
            self.control.change(recording=False)
            self._current = None
            recording.abort()
            return
        self.fan_out.recordings = [*self.fan_out.recordings, recording]
        if self.fan_out.finished:  # meanwhile
            recording.queue.finish()

    def _run(self, recording: SinkWriter) -> None:
        """Write a recording to its end, on its own thread."""
        try:
            recording.run()
            self.control.inform(f"saved {recording.sink.name}")
        except Closed:  # the run is cancelled
            raise
        except Exception as error:
            self._report_failure(error)
            if self._current is recording:  # the next one may have started already
                self.control.change(recording=False)
        finally:
            recording.queue.cancel()  # the mosaic worker must not wait for room
            if self._current is recording:
                self._current = None

    def _report_failure(self, error: Exception) -> None:
        _logger.debug("a recording", exc_info=error)
        self.control.warn(problem_of(error))
