"""The control page, and the same by HTTP and JSON, for a run that goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from ..control.state import Control
    from ..gallery.live import LiveGallery
    from .listener import Listener
    from .photos.catalogue import Catalogue
    from .server import ControlPage

__all__ = ["catalogue", "listen", "open_guests", "open_page"]


def listen(address: str, *, guests: bool = False) -> Listener:
    """Reserve the address of a control page, and a token of its own for guests.

    Raises
    ------
    SinkError : a package is missing, the port is taken, or the host is none of this computer
    UsageError : a token of the environment is too short, or is that of guests, too
    """
    try:
        import python_multipart
        import segno
        import starlette
        import uvicorn
        import websockets
    except ImportError as error:
        raise SinkError(
            f"control page: the package {error.name} is missing; install it with: "
            f"{sys.executable} -m pip install 'livemosaic[web]'"
        ) from None
    del python_multipart, segno, starlette, uvicorn, websockets
    from .listener import Listener

    return Listener(address, guests=guests)


def open_guests(folder: str) -> Path:
    """The absolute path of the folder of guests' photos, which is made if there is none.

    Raises
    ------
    OptionError : it cannot be made, or is none
    """
    from .photos.guest_folder import open_folder

    return open_folder(folder)


def catalogue(
    live: LiveGallery | None,
    folders: Sequence[str],
    guests: Path | None,
    *,
    auto_approve: bool = False,
) -> Catalogue:
    """The photos that join a run, see `Catalogue`."""
    from .photos.catalogue import Catalogue

    return Catalogue(live, folders, guests, auto_approve=auto_approve)


def open_page(
    listener: Listener,
    control: Control,
    pixel_aspect: Fraction,
    catalogue: Catalogue | None = None,
) -> ControlPage:
    """Open the control page of a run: a sink that owns the listener, and the catalogue of its
    photos, from here on."""
    from .server import ControlPage

    return ControlPage(listener, control, pixel_aspect, catalogue)
