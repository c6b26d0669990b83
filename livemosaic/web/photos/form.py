"""Reads a form with files (multipart/form-data) while it comes, so that it is never in memory."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# It warns of each bad form, on the terminal.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)

_MAX_FIELDS = 100
_MAX_BOUNDARY = 70  # RFC 2046


class BadForm(Exception):
    """The body is no whole form; the message is the reason."""


class FormEvent(NamedTuple):
    """What has come: a field begins, with its name; a piece of its value; the field is whole."""

    kind: Literal["begin", "data", "end"]
    value: bytes = b""


def boundary_of(content_type: str) -> bytes | None:
    """What separates the fields of a form; None if it is no form with files."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    return (
        boundary if kind == b"multipart/form-data" and 0 < len(boundary) <= _MAX_BOUNDARY else None
    )


class _Events:
    """The events of the parser, until they are taken. Of a field's headers only its name is used;
    the name of a file is not even read."""

    def __init__(self) -> None:
        self.waiting: list[FormEvent] = []
        self.fields = 0
        self.is_whole = False
        self._header, self._value, self._disposition = b"", b"", b""

    def on_part_begin(self) -> None:
        self._disposition = b""
        self.fields += 1

    def on_header_begin(self) -> None:
        self._header, self._value = b"", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self.waiting.append(FormEvent("begin", options.get(b"name", b"")))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.waiting.append(FormEvent("data", data[start:end]))

    def on_part_end(self) -> None:
        self.waiting.append(FormEvent("end"))

    def on_end(self) -> None:
        self.is_whole = True


async def form_events(body: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[FormEvent]:
    """What comes of a form; `BadForm` if it is none, or ends too early."""
    events = _Events()
    names = [name for name in dir(events) if name.startswith("on_")]
    try:
        parser = MultipartParser(boundary, {name: getattr(events, name) for name in names})  # type: ignore[arg-type]
        async for data in body:
            parser.write(data)
            if events.fields > _MAX_FIELDS:
                raise BadForm(f"the form has over {_MAX_FIELDS} fields")
            waiting, events.waiting = events.waiting, []
            for event in waiting:
                yield event
        parser.finalize()
    except FormParserError:
        raise BadForm("the body is not a valid form") from None
    if not events.is_whole:
        raise BadForm("the form is cut off; send it again")
