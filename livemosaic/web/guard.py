"""Who may ask, and how much: host, origin, token, size and time of every request."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import problem_of
from .listener import Listener

_log = logging.getLogger("livemosaic")

_MAX_BODY = 65_536  # bytes
BODY_S = 10.0
_MAX_FIELDS = 100  # of an address

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

    def __init__(self, app: ASGIApp, listener: Listener) -> None:
        self._app, self._listener = app, listener

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
                response = refusal(status, problem, is_page=scope["path"] == "/")
                await response(scope, receive, answer)
            return
        try:
            await self._app(scope, receive if is_socket else _limited(receive), answer)
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
        if not self._has_token(scope, headers):
            return 401, "the token is missing or wrong; use the address that livemosaic printed"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > _MAX_BODY:
            return 413, f"the request has over {_MAX_BODY} bytes"
        return None

    def _has_token(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            try:
                query = parse_qs(
                    scope["query_string"].decode("latin-1"), max_num_fields=_MAX_FIELDS
                )
            except ValueError:  # there are more
                return False
            token = query.get("token", [""])[0].encode("utf-8", "replace")
        return secrets.compare_digest(token.strip(), self._listener.token.encode())


def _limited(receive: Receive) -> Receive:
    """Receive a body of limited size, in limited time."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        # After the body, `receive` waits for the end of the connection, however long.
        if received < 0:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_S)
        except TimeoutError:
            raise HTTPException(408, "the rest of the request did not come") from None
        received += len(message.get("body", b""))
        if received > _MAX_BODY:
            raise HTTPException(413, f"the request has over {_MAX_BODY} bytes")
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
