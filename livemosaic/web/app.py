"""The application: the page, settings, statistics, actions, pictures, and the feed of a page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ..control.actions import ACTIONS
from ..control.live_values import change_values, counted_values
from ..control.state import Control
from ..errors import OptionError, UsageError
from ..media.qr_code import qr_svg
from . import schema
from .feed import Feed
from .guard import Guard, json_error
from .history import stats_json
from .json_response import JSONResponse
from .listener import Listener
from .page import page_and_policy
from .parameters import whole_parameter
from .photos.catalogue import Catalogue
from .photos.routes import PhotoRoutes
from .viewfinder import MAX_WIDTH, MIN_WIDTH, Over, Shape, Viewfinder

_SNAPSHOT_QUALITY, _STREAM_QUALITY = 92, 85
_MAX_STREAMS = 16
_BOUNDARY = "picture"

# A browser that shows a picture alone, as OBS does, places it by a style of its own.
_STYLED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_PICTURE = {"Content-Security-Policy": _STYLED}


class Application:
    """The answers to all requests; `connections` says how many there are at the moment."""

    def __init__(
        self,
        control: Control,
        viewfinder: Viewfinder,
        listener: Listener,
        catalogue: Catalogue,
        connections: Callable[[], int],
    ) -> None:
        self._control, self._viewfinder = control, viewfinder
        self._catalogue = catalogue
        self.feed = Feed(control, viewfinder, catalogue)
        self._streams = 0
        self._page, self._policy = page_and_policy("control", "livemosaic")
        routes = [
            Route("/", self._show_page),
            Route("/api/settings", self._settings, methods=["GET", "PATCH"]),
            Route("/api/stats", self._stats),
            Route("/api/actions/{name}", self._act, methods=["POST"]),
            Route("/snapshot.jpg", self._snapshot),
            Route("/stream.mjpg", self._stream),
            Route("/guests.svg", self._guests_code),
            Route("/openapi.json", self._openapi),
            WebSocketRoute("/feed", self.feed.serve),
            *PhotoRoutes(control, catalogue).routes,
        ]
        if listener.guest_token:
            self._upload = page_and_policy("upload", "Your photo on the wall")
            routes.append(Route("/upload", self._show_upload))
        handlers = {HTTPException: json_error, Exception: json_error}
        app = Starlette(routes=routes, exception_handlers=handlers)
        self.asgi: ASGIApp = Guard(app, listener, connections)

    async def _show_page(self, _: Request) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def _show_upload(self, _: Request) -> Response:
        page, policy = self._upload
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(schema.openapi(self._control))

    async def _settings(self, request: Request) -> Response:
        if request.method == "PATCH":
            await self._change(request)
        changes, values = counted_values(self._control)
        return JSONResponse(values, headers={schema.CHANGES_HEADER: str(changes)})

    async def _change(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, "content-type: must be application/json")
        try:
            values = json.loads(await request.body(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise HTTPException(400, "the body is not valid JSON") from None
        if not isinstance(values, dict):
            raise HTTPException(400, 'the body must be an object, such as {"overlay": 0.3}')
        try:
            change_values(self._control, values)
        except UsageError as error:
            raise HTTPException(400, _words(error)) from None

    async def _stats(self, _: Request) -> Response:
        stats = stats_json(self._control.live_stats(), waiting=self._catalogue.waiting)
        return JSONResponse(stats)

    async def _act(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ACTIONS:
            raise HTTPException(404, f"no such action; there are {', '.join(ACTIONS)}")
        try:
            state = ACTIONS[name].do(self._control)
        except UsageError as error:
            raise HTTPException(409, str(error)) from None
        return JSONResponse({name: True}, 202) if state is None else JSONResponse(state)

    async def _snapshot(self, request: Request) -> Response:
        shape = Shape(_width(request), _SNAPSHOT_QUALITY)
        try:
            picture = await self._viewfinder.encoded(shape)
        except UsageError as error:
            raise HTTPException(503, str(error)) from None
        return Response(picture, media_type="image/jpeg", headers=_PICTURE)

    async def _guests_code(self, _: Request) -> Response:
        address = self._control.guests_url
        if not address:
            raise HTTPException(404, "there are no guests; start livemosaic with --guests FOLDER")
        return Response(qr_svg(address), media_type="image/svg+xml")

    async def _stream(self, request: Request) -> Response:
        shape = Shape(_width(request), _STREAM_QUALITY)
        if self._streams >= _MAX_STREAMS:
            raise HTTPException(503, f"there are {_MAX_STREAMS} streams; close one")
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        if request.method == "HEAD":
            return Response(media_type=kind, headers=_PICTURE)
        self._streams += 1  # before anything is sent, so that others see it
        pictures = self._pictures(shape)
        return _Stream(pictures, self._end_stream, media_type=kind, headers=_PICTURE)

    def _end_stream(self) -> None:
        self._streams -= 1

    async def _pictures(self, shape: Shape) -> AsyncIterator[bytes]:
        """The parts of a stream. A slow receiver gets fewer pictures, not late ones."""
        number = 0
        try:
            while True:
                number = await self._viewfinder.newer(number)
                picture = await self._viewfinder.encoded(shape)
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                # Programs show a picture when the next boundary is there.
                yield f"--{_BOUNDARY}\r\n{head}".encode() + picture + b"\r\n"
        except Over:
            return


class _Stream(StreamingResponse):
    """Calls `on_end` when it ends, also if it has not begun."""

    def __init__(
        self, parts: AsyncIterator[bytes], on_end: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(parts, **options)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


def _width(request: Request) -> int | None:
    return whole_parameter(request, "width", MIN_WIDTH, MAX_WIDTH)


def _words(error: UsageError) -> str:
    return f"{error.option}: {error.problem}" if isinstance(error, OptionError) else str(error)


def _refuse(name: str) -> Any:
    raise ValueError(name)  # NaN and infinity are no JSON
