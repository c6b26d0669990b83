"""The server of the control page, on a thread of its own with its own loop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..control.state import Control
from .app import Application
from .listener import Listener
from .photos.catalogue import Catalogue
from .photos.limits import network_of
from .photos.routes import THREADS
from .viewfinder import Viewfinder

_log = logging.getLogger("livemosaic")

_MAX_CONNECTIONS = 150  # of which `MAX_FOR_GUESTS` leaves some to hosts
# A further one is closed at once: each takes one of the files that the system lets a process open.
MAX_OPEN, MAX_OPEN_OF_ADDRESS = 180, 64
_BACKLOG = 64  # that are accepted in a row, before any is closed
_MAX_MESSAGE = 4096  # bytes that a page may send
IDLE_S = 10.0  # until a connection without a request is closed
_END_S = 1  # for answers under way, at the end
_JOIN_S = 0.5


class ControlPage(Viewfinder):
    """A sink whose pictures, and the state of `control`, a server shows until the sink ends."""

    def __init__(
        self,
        listener: Listener,
        control: Control,
        pixel_aspect: Fraction,
        catalogue: Catalogue | None = None,
    ) -> None:
        super().__init__(pixel_aspect, self._end)
        self._listener, self._control = listener, control
        self._catalogue = catalogue or Catalogue()
        control.guests_url = listener.guest_url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="livemosaic web", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        """End the server, on any thread."""
        self._ending.set()
        self._catalogue.close()  # so that no upload waits for a photo that is decoded
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # the mosaic goes on
            _log.debug("control page", exc_info=error)
            self._control.warn(f"control page: it has ended: {error}; the outputs go on")
        finally:
            self._catalogue.close()
            self._listener.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_error)
        self._loop.set_default_executor(ThreadPoolExecutor(THREADS, "livemosaic files"))
        self._catalogue.start()
        application = Application(
            self._control,
            self,
            self._listener,
            self._catalogue,
            lambda: len(server.server_state.connections),
        )
        config = uvicorn.Config(
            application.asgi,
            http=_Protocol,
            ws="websockets-sansio",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level=logging.CRITICAL + 1,  # its messages have addresses with the token
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            backlog=_BACKLOG,
            ws_max_size=_MAX_MESSAGE,
            ws_per_message_deflate=False,  # JPEG is compressed already
            timeout_graceful_shutdown=_END_S,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([self._listener.socket]))
        feeding = asyncio.create_task(application.feed.run())
        stopping = asyncio.create_task(self._stop.wait())
        if self._ending.is_set():
            self._stop.set()
        await asyncio.wait((serving, feeding, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        feeding.cancel()
        stopping.cancel()
        await asyncio.gather(serving, feeding, stopping, return_exceptions=True)
        serving.result()
        if not feeding.cancelled():
            feeding.result()


def _log_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Not on the terminal, as the loop does it: the mosaic goes on."""
    _log.debug("control page: %s", context["message"], exc_info=context.get("exception"))


class _Protocol(H11Protocol):
    """Closes a connection that is one too many, or on which no whole request comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_OPEN or self._of_address() > MAX_OPEN_OF_ADDRESS:
            transport.abort()
            return
        self.loop.call_later(IDLE_S, self._close_if_idle, None)

    def _of_address(self) -> int:
        """How many connections its address has; 0 for this computer, where a tunnel may end."""
        if self.client is None or ipaddress.ip_address(self.client[0]).is_loopback:
            return 0
        clients = (getattr(it, "client", None) for it in self.connections)
        own = network_of(self.client[0])
        return sum(client is not None and network_of(client[0]) == own for client in clients)

    def _close_if_idle(self, last: object) -> None:
        """Close the connection if there was no request after the `last` one."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it has gone, or is a WebSocket
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is last:
            self.transport.close()
        else:
            self.loop.call_later(IDLE_S, self._close_if_idle, self.cycle if is_idle else None)
