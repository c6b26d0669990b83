"""The feed of a page, over a WebSocket: pictures that it asks for, changes, messages, statistics.

A page sends `{"picture": WIDTH}` when it has shown the last picture, and gets the next newer one as
a binary message. So it is never late, however slow the connection. Texts are JSON objects with a
`type`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..control.live_values import counted_values, unused
from ..control.state import Control, LiveStats
from ..errors import UsageError
from .history import COLUMNS, History, stats_json
from .photos.catalogue import Catalogue
from .viewfinder import MAX_WIDTH, MIN_WIDTH, Over, Shape, Viewfinder

_PREVIEW_QUALITY = 75
_MIN_INTERVAL_S = 1 / 20  # from one picture of a page to the next
_MAX_PAGES = 32
_REPLACED = ("values", "pages", "photos")
_LIMITED, _MAX_WAITING = ("message", "stats"), 16  # of these, so many wait for a page
_STATS_S = 1.0

_TRY_LATER, _UNSUPPORTED = 1013, 1003  # codes of WebSockets


class Feed:
    """Serves all pages, on the thread of its loop."""

    def __init__(self, control: Control, viewfinder: Viewfinder, catalogue: Catalogue) -> None:
        self._control, self._viewfinder, self._catalogue = control, viewfinder, catalogue
        self._history = History()
        self._photos: object = None  # as the pages know them
        self._pages: set[_Page] = set()

    async def run(self) -> None:
        """Sample the statistics and pass changes on, until it is cancelled."""
        loop = asyncio.get_running_loop()

        def tell(message: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._pass_on, message)

        end = self._control.listen(tell)
        try:
            while True:
                await asyncio.sleep(_STATS_S)
                stats = self._control.live_stats()
                line = self._history.add(stats)
                if self._pages:
                    self._send({"type": "stats", "now": self._now(stats), "line": line})
                photos = self._catalogue.changes, stats.photos
                if photos != self._photos:
                    self._photos = photos
                    self._send({"type": "photos"})
        finally:
            end()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it goes."""
        await socket.accept()
        if len(self._pages) >= _MAX_PAGES:
            await socket.close(_TRY_LATER, "there are too many pages; close one")
            return
        page = _Page(socket)
        page.add(
            {
                "type": "start",
                "columns": COLUMNS,
                "lines": list(self._history.lines),
                "now": self._now(self._control.live_stats()),
                "guests": self._control.guests_url,
                **self._values(),
            }
        )
        self._pages.add(page)
        self._send_count()
        jobs = [asyncio.create_task(job) for job in (page.send_texts(), self._answer(page))]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pages.discard(page)
            self._send_count()
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _answer(self, page: _Page) -> None:
        """Send the pictures that a page asks for."""
        number = 0
        while True:
            try:
                asked = json.loads(await page.socket.receive_text())["picture"]
                width = min(max(int(asked), MIN_WIDTH), MAX_WIDTH)
            except WebSocketDisconnect:
                return
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                await page.socket.close(_UNSUPPORTED)
                return
            asked_s = time.monotonic()
            try:
                number = await self._viewfinder.newer(number)
            except Over:
                return
            with contextlib.suppress(UsageError):
                picture = await self._viewfinder.encoded(Shape(width, _PREVIEW_QUALITY))
                await page.socket.send_bytes(picture)
            rest_s = _MIN_INTERVAL_S - (time.monotonic() - asked_s)
            if rest_s > 0:
                await asyncio.sleep(rest_s)

    def _pass_on(self, message: str) -> None:
        if not self._pages:
            return
        if message:
            self._send({"type": "message", "text": message})
        else:
            self._send({"type": "values", **self._values()})

    def _send(self, item: dict[str, Any]) -> None:
        for page in self._pages:
            page.add(item)

    def _send_count(self) -> None:
        self._send({"type": "pages", "count": len(self._pages)})

    def _now(self, stats: LiveStats) -> dict[str, Any]:
        return stats_json(stats, waiting=self._catalogue.waiting)

    def _values(self) -> dict[str, Any]:
        changes, values = counted_values(self._control)
        return {"changes": changes, "values": values, "unused": unused(self._control)}


class _Page:
    """The texts that wait for one page. A newer one of `_REPLACED` takes the place of the older; of
    `_LIMITED`, only the newest ones wait."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self._waiting: deque[dict[str, Any]] = deque()
        self._added = asyncio.Event()

    def add(self, item: dict[str, Any]) -> None:
        if item["type"] in _REPLACED:
            self._waiting = deque(it for it in self._waiting if it["type"] != item["type"])
        self._waiting.append(item)
        limited = [it for it in self._waiting if it["type"] in _LIMITED]
        if len(limited) > _MAX_WAITING:
            self._waiting.remove(limited[0])
        self._added.set()

    async def send_texts(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            while self._waiting:
                await self.socket.send_text(json.dumps(self._waiting.popleft()))
