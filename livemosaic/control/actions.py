"""The actions that the window's keys, the control page, HTTP and OSC share: one table.

A new action needs a line in `ACTIONS`: `POST /api/actions/NAME`, the OpenAPI document,
`/livemosaic/NAME` of OSC and the documentation follow. A key for it is a line in `window/keys.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .state import Control

# The messages of switches, on and off. Functions that write recordings send their own.
_MESSAGES = {
    "mirror": ("mirrored", "not mirrored"),
    "freeze": ("frozen", "not frozen"),
    "privacy": ("privacy mode on", "privacy mode off"),
}


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    Attributes
    ----------
    help : in a few words
    do : runs it, on any thread; returns the new state of what it switches, or None for what
        happens later; a message for viewers is left in the control. `UsageError` if it is not
        possible now
    switches : the live option that it turns on or off; empty if there is none
    """

    help: str
    do: Callable[[Control], dict[str, Any] | None]
    switches: str = ""


def switch(control: Control, field: str) -> str:
    """Turn a field of the live state on or off; return the message, which viewers get, too."""
    value = not getattr(control.state, field)
    control.change(**{field: value})
    on, off = _MESSAGES.get(field, ("", ""))
    text, status = on if value else off, control.live_stats().source
    message = f"{text}; {status}" if text and status else text
    if message:
        control.notify(message)
    return message


def _switch(field: str, control: Control) -> dict[str, Any]:
    switch(control, field)
    return {field: getattr(control.state, field)}


# fmt: off
ACTIONS: Mapping[str, Action] = {
    "snapshot": Action("write the next picture as PNG into the current folder of the run",
                       lambda control: control.request_snapshot()),
    "snap": Action("take a photo of those in front of the camera, which joins the gallery",
                   lambda control: control.snap()),
    "poster": Action("make a poster of the next picture, and its map, in the run's current folder",
                     lambda control: control.request_poster()),
    "record": Action("start a recording in the current folder of the run, or end it",
                     partial(_switch, "recording"), "recording"),
    "privacy": Action("turn privacy mode on or off", partial(_switch, "privacy"), "privacy"),
    "freeze": Action("keep the last picture, or let it move again",
                     partial(_switch, "freeze"), "freeze"),
    "quit": Action("end the run; its outputs are finished", lambda control: control.quit()),
}
# fmt: on
