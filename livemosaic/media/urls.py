"""Paths and addresses: reading them, and removing what may be secret before they are shown."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import UsageError, did_you_mean

_FILE_URL = re.compile(r"(?is)file:(?=/)(?://([^/]*))?(/.*|)")
# Not %04d, which numbers the pictures of a sequence, and no control characters.
_ESCAPES = re.compile(r"(?:%[2-9a-fA-F][0-9a-fA-F])+")


def local_path(text: str) -> str:
    """The path in a `file:` address; other texts unchanged.

    `UsageError` if the address has another machine's name, or no absolute path; or if the text is
    an address of the network that is not valid, and no file has such a name.
    """
    url = _FILE_URL.fullmatch(text)
    if url is None:
        odd = not is_url(text) and (_NETWORK_URL.match(text) or _IN_ANOTHER.fullmatch(text))
        if odd and not os.path.lexists(text):
            raise UsageError(
                f"{public_name(text)}: not a valid address, and no such file; write "
                "PROTOCOL://HOST/PATH"
            )
        return text
    host, path = url.groups()
    if (host or "localhost").lower() != "localhost" or not path:
        raise UsageError(
            f"{public_name(text)}: a file's address has its absolute path, and no other machine; "
            "write file:///FOLDER/NAME, or the path alone"
        )
    path = _ESCAPES.sub(lambda escapes: unquote(escapes[0], errors="surrogateescape"), path)
    return re.sub(r"^/(?=[a-zA-Z]:)", "", path) if os.name == "nt" else path


def lower_scheme(text: str) -> str:
    """An address with its protocol in lower case, as FFmpeg needs it; other texts unchanged."""
    scheme, rest = text.partition("://")[::2]
    return f"{scheme.lower()}://{rest}" if is_url(text) else text


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


# Only what is known to be harmless is shown. Of parameters, that is the value of these:
_HARMLESS = re.compile(
    "bitrate|buffer_size|camera|channel|codec|compression|fifo_size|format|fps|framerate|height|"
    "latency|listen|mode|overrun_nonfatal|pkt_size|profile|quality|rate|resolution|reuse|size|"
    "stream|subtype|timeout|transport|transtype|ttl|videocodec|width",
    re.IGNORECASE,
)
_HARMLESS_VALUE = re.compile(r"[\d.:x]{,12}(?:\.[a-z]{,4})?|[a-z]{,9}")
# Some cameras have parameters in the path, as in /user=NAME_password=WORD_channel=1; there the next
# parameter ends a value.
_IN_PATH = re.compile(r"([^/&;=_]*)=((?:(?!_[^_/&;=]*=)[^/&;])*)")
_PARAMETER_NAME = re.compile(r"[a-zA-Z_-]{,24}")
# A key in a path is long and mixes letters and digits, or has groups of four.
_KEY = re.compile(
    r"(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[\da-zA-Z~]{16,}|[\w~-]{40,}|[\da-z]{4}(?:-[\da-z]{4}){3,}"
)
_HOST = re.compile(r"(\[[\da-fA-F:.%]*\]|[\w.*-]*)(:\d{,5})?")
_NETWORK = (
    "ftp|gopher|https?|icecast|mmsh?|mmst|rist|rtmp[a-z]*|rtp|rtsp[a-z]?|sftp|srt|srtp|tcp|tls|udp"
)
_NETWORK_URL = re.compile(rf"\s*(?:{_NETWORK}):(?!\s)", re.I)
# One slash is enough, and for FFmpeg none.
_MAYBE_URL = re.compile(rf"(?s)\s*((?:(?:{_NETWORK}):|[a-zA-Z][a-zA-Z0-9+.-]+:/)/*)(.*)", re.I)
_IN_ANOTHER = re.compile(
    rf"(?s)(.*?[:|,\]](?=(?:{_NETWORK}):)|.*?(?=[a-z][a-z0-9+.-]{{1,30}}://))(.*)", re.I
)
_HIDDEN = "***"

_USUAL = ("rtsp", "rtmp", "http", "https", "udp", "tcp", "srt", "rtsps", "rtmps", "ftp")
_RARE = (
    "amqp async bluray cache concat concatf crypto data dtls fd ffrtmpcrypt ffrtmphttp file gopher "
    "gophers hls httpproxy icecast ipfs ipns mmsh mmst pipe prompeg rist rtmpe rtmpt rtmpte rtmpts "
    "rtp rtspt rtspu sap sctp sftp smb srtp subfile tee tls udplite unix zmq"
)
# Of FFmpeg, whether this one has them or not.
PROTOCOLS = frozenset([*_USUAL, *_RARE.split()])


def protocol_problem(url: str) -> str:
    """Why the protocol of an address cannot be used, and what to do."""
    protocol = url.partition(":")[0].lower()
    if protocol in PROTOCOLS:
        return (
            f"this PyAV's FFmpeg has no protocol {protocol}:// (wheels on PyPI do not have all); "
            "build PyAV for an FFmpeg that has it, or convert with the program ffmpeg, see "
            "docs/streams.md"
        )
    near = did_you_mean(protocol, _USUAL) or f"use {', '.join(_USUAL[:-1])} or {_USUAL[-1]}"
    return f"the protocol {protocol}:// is unknown; {near}"


def public_name(text: str) -> str:
    """A path or address without anything that could be secret: of an address, its host and port,
    the path and the parameters that are known to be harmless."""
    url = _MAYBE_URL.fullmatch(text)
    if url is None:
        nested = _IN_ANOTHER.fullmatch(text)  # such as cache:http://HOST/NAME
        if nested is None:
            return text
        around, inner = nested.groups()
        around = around if re.fullmatch(r"(?:\w{2,}:)+", around) else ""
        return around + (_HIDDEN if "|" in inner or not around else public_name(inner))
    scheme, rest = url.groups()
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif not _HOST.fullmatch(host):  # a password contains / ? or #
        rest = rest.rpartition("@")[2]
    place = re.fullmatch(r"(?s)([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", rest)
    assert place is not None  # it matches any text
    host, path, query, fragment = place.groups(default="")
    if not _HOST.fullmatch(host):
        return scheme + _HIDDEN
    if scheme.lower().startswith("rtmp"):
        # rtmp://HOST/APPLICATION/KEY: the key allows to send in the user's name.
        path = re.sub(r"(?s)^(/[^/]+(?=/))?/.+", rf"\1/{_HIDDEN}", path)
    path = "/".join(map(_public_segment, path.split("/")))
    query = re.sub(r"[^?&;]+", lambda it: _public_parameter(it[0]), query)
    return scheme + host + path + query + (f"#{_HIDDEN}" if fragment else "")


def _public_segment(segment: str) -> str:
    if "=" in segment:
        return _IN_PATH.sub(lambda it: _public_parameter(it[0]), segment)
    return _KEY.sub(_HIDDEN, segment)


def _public_parameter(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals or not _PARAMETER_NAME.fullmatch(name):
        return _HIDDEN
    is_harmless = _HARMLESS.fullmatch(name) and _HARMLESS_VALUE.fullmatch(value)
    return f"{name}={value if is_harmless else _HIDDEN}"
