"""Paths and addresses: reading them, and removing credentials before they are shown."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import UsageError

_FILE_URL = re.compile(r"(?is)file:(?=/)(?://([^/]*))?(/.*|)")
# Not %04d, which numbers the pictures of a sequence, and no control characters.
_ESCAPES = re.compile(r"(?:%[2-9a-fA-F][0-9a-fA-F])+")


def local_path(text: str) -> str:
    """The path in a `file:` address; other texts unchanged.

    `UsageError` if the address has another machine's name, or no absolute path.
    """
    url = _FILE_URL.fullmatch(text)
    if url is None:
        return text
    host, path = url.groups()
    if (host or "localhost").lower() != "localhost" or not path:
        raise UsageError(
            f"{text}: a file's address has its absolute path, and no other machine; write "
            "file:///FOLDER/NAME, or the path alone"
        )
    path = _ESCAPES.sub(lambda escapes: unquote(escapes[0], errors="surrogateescape"), path)
    return re.sub(r"^/(?=[a-zA-Z]:)", "", path) if os.name == "nt" else path


def is_url(text: str) -> bool:
    """Whether `text` is a network address (and not a path, not even `C:\\clip.mp4`)."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text) is not None


def split_url(url: str) -> SplitResult:
    """The parts of a network address; `UsageError` if it is not valid."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(
            f"{public_name(url)}: not a valid address ({error}); write PROTOCOL://HOST/PATH"
        ) from None


# Parts of the names of parameters whose values are secret. Some cameras have parameters in the
# path, as in /user=NAME_password=WORD_channel=1; there the next parameter ends a value.
_SECRET = "user|usr|login|pas|pw|token|jwt|key|secret|auth|sig|credential|session|streamid"
_SECRET_IN_PATH = re.compile(
    rf"(?i)([/&;_][^/&;=]*(?:{_SECRET})[^/&;=]*=)(?:(?!_[^_/&;=]*=)[^/&;#])*"
)
_SECRET_IN_QUERY = re.compile(rf"(?i)([?&;][^&;=]*(?:{_SECRET})[^&;=]*=)[^&;#]*")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]@]*)(:\d*)?")
_MAYBE_URL = re.compile(r"(?s)\s*([a-zA-Z][a-zA-Z0-9+.-]+:/+)(.*)")  # one slash is enough


def public_name(text: str) -> str:
    """A path or address without user name, password, tokens and stream keys."""
    url = _MAYBE_URL.fullmatch(text)
    if url is None:
        return text
    scheme, rest = url.groups()
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif not _HOST.fullmatch(host):  # a password contains / ? or #
        rest = rest.rpartition("@")[2]
    if scheme.lower().startswith("rtmp"):
        # rtmp://HOST/APPLICATION/KEY: the key allows to send in the user's name.
        rest = re.sub(r"^([^/]*/[^/]+/)[^?]+", r"\1***", rest)
    path, mark, query = rest.partition("?")
    path = _SECRET_IN_PATH.sub(r"\1***", path)
    return scheme + path + _SECRET_IN_QUERY.sub(r"\1***", mark + query)
