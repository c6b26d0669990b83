"""The control page, and the same by HTTP and JSON, for a run that goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import SinkError

if TYPE_CHECKING:
    from fractions import Fraction

    from ..control.state import Control
    from .listener import Listener
    from .server import ControlPage

__all__ = ["listen", "open_page"]


def listen(address: str) -> Listener:
    """Reserve the address of a control page.

    Raises
    ------
    SinkError : a package is missing, the port is taken, or the host is none of this computer
    """
    try:
        import starlette
        import uvicorn
        import websockets
    except ImportError as error:
        raise SinkError(
            f"control page: the package {error.name} is missing; install it with: "
            f"{sys.executable} -m pip install 'livemosaic[web]'"
        ) from None
    del starlette, uvicorn, websockets
    from .listener import Listener

    return Listener(address)


def open_page(listener: Listener, control: Control, pixel_aspect: Fraction) -> ControlPage:
    """Open the control page of a run: a sink that owns the listener from here on."""
    from .server import ControlPage

    return ControlPage(listener, control, pixel_aspect)
