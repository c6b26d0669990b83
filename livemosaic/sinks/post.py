"""Sending by HTTP POST. FFmpeg can do it, but does not read whether the server has taken it."""

from __future__ import annotations

import base64
import errno
import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable

from ..media.ffmpeg import av

_KEPT = "%/:?#[]@!$&'()*+,;=~"  # of an address; all others but letters and digits are escaped
# Statuses that have errors of FFmpeg; others are in their hundred's.
_KNOWN = {400, 401, 403, 404}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A server that points to another one has not taken the data, which cannot be sent again."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, parts: Iterable[bytes], *, limit_s: float) -> int:
    """Send parts as they come; return 0, or the code of FFmpeg's error if the server refuses.

    `limit_s` is for the connection, for each part, and for the answer.
    """
    address = urllib.parse.urlsplit(urllib.parse.quote(url, safe=_KEPT))
    user, _, host = address.netloc.rpartition("@")
    headers = {"Content-Type": "application/octet-stream", "User-Agent": "livemosaic"}
    if user:
        login = base64.b64encode(urllib.parse.unquote_to_bytes(user)).decode()
        headers["Authorization"] = f"Basic {login}"
    request = urllib.request.Request(
        address._replace(netloc=host).geturl(), parts, headers, method="POST"
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as FFmpeg does
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)
    try:
        opener.open(request, timeout=limit_s).close()
    except urllib.error.HTTPError as error:
        kind = str(error.code) if error.code in _KNOWN else f"{4 + (error.code >= 500)}XX"
        return int(av.error.tag_to_code(b"\xf8" + kind.encode()))
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            return errno.ETIMEDOUT
        if isinstance(cause, ssl.SSLError | http.client.HTTPException):
            return errno.ECONNRESET
        code = getattr(cause, "errno", None)
        return code if code is not None and code > 0 else errno.EIO
    return 0
