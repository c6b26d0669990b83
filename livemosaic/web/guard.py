"""Who may ask, and how much: host, origin, token, size and time of every request."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import problem_of
from .json_response import JSONResponse
from .listener import Listener
from .photos.guest_folder import ID
from .photos.limits import MAX_REQUEST, MAX_REQUEST_S

_log = logging.getLogger("livemosaic")

_MAX_BODY = 65_536  # bytes
BODY_S = 10.0
_MAX_FIELDS = 100  # of an address
MAX_FOR_GUESTS = 100  # connections in all, above which only hosts are answered
_CROWDED = {"Retry-After": "5", "Connection": "close"}

_PAGES = ("/", "/upload")
_UPLOADS = "POST", "/api/photos"
# All that the token of guests is good for: the page, uploads, and the state of a photo whose id one
# has, which only its sender gets.
_FOR_GUESTS = re.compile(rf"(GET|HEAD) (/upload|/api/photos/{ID.pattern})|POST /api/photos")

# For what is no page: nothing of it may run, and no other page may show or read it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # addresses have the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def refusal(status: int, problem: str, *, is_page: bool = False) -> Response:
    """An answer that says why, for programs in JSON, for people in plain text."""
    if is_page:
        return PlainTextResponse(f"livemosaic: {problem}\n", status)
    return JSONResponse({"error": problem}, status)


class Guard:
    """Refuses foreign requests before the application sees them, and limits the others."""

    def __init__(self, app: ASGIApp, listener: Listener, connections: Callable[[], int]) -> None:
        self._app, self._listener, self._connections = app, listener, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] in ("http.response.start", "websocket.accept"):
                began = True
                given = {name.lower() for name, _ in message.get("headers", ())}
                own = ((name.lower().encode(), text.encode()) for name, text in HEADERS.items())
                added = [(name, text) for name, text in own if name not in given]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        is_socket = scope["type"] == "websocket"
        if refused := self._refused(scope):
            status, problem = refused
            if is_socket:
                await send({"type": "websocket.close", "code": 1008})
            else:
                response = refusal(status, problem, is_page=scope["path"] in _PAGES)
                if status == 503:
                    response.headers.update(_CROWDED)
                await response(scope, receive, answer)
            return
        if not is_socket:
            receive = _limited(receive, *self._limits(scope))
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # the server's own log would have the address, with the token
            _log.debug("control page", exc_info=error)
            if not began and not is_socket:
                await refusal(500, problem_of(error))(scope, receive, answer)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Status and problem of a request that is refused."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"origin", b"authorization"):
                return 400, f"{name.decode()}: it is there twice"
            headers[name] = value
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._listener.is_own(host):
            return 421, "this computer has another name; use the address that livemosaic printed"
        origin = headers.get(b"origin")
        if origin is not None and origin != f"http://{host}".encode("latin-1"):
            return 403, "a page of another origin asks; only livemosaic's own may"
        if problem := self._token_problem(scope, headers):
            return problem
        length, (most, _) = headers.get(b"content-length", b"0"), self._limits(scope)
        if length.isdigit() and int(length[:20]) > most:
            return 413, _too_long(most)
        return None

    def _limits(self, scope: Scope) -> tuple[int, float]:
        """The bytes and seconds that the body of a request may take."""
        uploads = self._listener.guest_token and (scope.get("method"), scope["path"]) == _UPLOADS
        return (MAX_REQUEST, MAX_REQUEST_S) if uploads else (_MAX_BODY, BODY_S)

    def _token_problem(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and problem of a request without a token that is good for it."""
        token, listener = self._token(scope, headers), self._listener
        if secrets.compare_digest(token, listener.token.encode()):
            return None
        guest_token = listener.guest_token.encode()
        if not secrets.compare_digest(token, guest_token) or not guest_token:
            return 401, "the token is missing or wrong; use the address that livemosaic printed"
        if _FOR_GUESTS.fullmatch(f"{scope.get('method')} {scope['path']}") is None:
            return 403, "this token is for guests, who can only upload photos"
        if self._connections() > MAX_FOR_GUESTS:
            return 503, "there are too many guests; try again in a moment"
        return None

    def _token(self, scope: Scope, headers: dict[bytes, bytes]) -> bytes:
        """The token of a request, empty if there is none."""
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            try:
                query = parse_qs(
                    scope["query_string"].decode("latin-1"), max_num_fields=_MAX_FIELDS
                )
            except ValueError:  # there are more
                return b""
            token = query.get("token", [""])[0].encode("utf-8", "replace")
        return token.strip()


def _too_long(most: int) -> str:
    return f"the request has over {most} bytes"


def _limited(receive: Receive, most: int, seconds: float) -> Receive:
    """Receive a body of limited size, in limited time, without that of the application's work."""
    received, rest_s = 0, seconds

    async def limited() -> Message:
        nonlocal received, rest_s
        # After the body, `receive` waits for the end of the connection, however long.
        if received < 0:
            return await receive()
        began_s = time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), min(BODY_S, max(rest_s, 0.0)))
        except TimeoutError:
            raise HTTPException(408, "the rest of the request did not come") from None
        rest_s -= time.monotonic() - began_s
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, _too_long(most))
        if message["type"] == "http.request" and not message.get("more_body", False):
            received = -1
        return message

    return limited


def json_error(_: Any, error: Exception) -> Response:
    """The answer for an error of the application."""
    if not isinstance(error, HTTPException):
        return refusal(500, problem_of(error))
    response = refusal(error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response
