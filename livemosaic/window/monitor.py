"""The monitors of this computer, of which `--display` names one."""

from __future__ import annotations

from ..errors import OptionError, SinkError, SourceError
from ..sources.screen import Place, list_screens


def monitor(number: int) -> Place:
    """The place of a monitor, numbered from 1.

    Raises
    ------
    OptionError : there is no such monitor
    SinkError : the system does not tell
    """
    try:
        screens = list_screens("window", pictures=False)
    except SourceError as error:
        raise SinkError(str(error)) from None
    for screen in screens:
        if screen.number == number:
            return screen.place
    listing = ", ".join(
        f"{it.number} ({f'{it.name} ' * bool(it.name)}{it.place})" for it in screens
    )
    raise OptionError("display", number, f"there is no such display; choose one of {listing}")
