"""Values in the address of a request."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

_MAX_DIGITS = 9


def whole_parameter(request: Request, name: str, low: int, high: int) -> int | None:
    """A whole number from the address, None without one; `HTTPException` if it is wrong."""
    text = request.query_params.get(name)
    if text is None:
        return None
    is_whole = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    if not (is_whole and low <= int(text) <= high):
        raise HTTPException(400, f"{name}: must be a whole number from {low} to {high}")
    return int(text)
