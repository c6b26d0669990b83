"""The address of the control page: its socket, its token and its name for people."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import secrets
import socket
import sys

from ..errors import SinkError, UsageError, words_of
from ..parse import web_address

# A token of one's own keeps the address from run to run, for OBS and Stream Decks.
_TOKEN = "LIVEMOSAIC_WEB_TOKEN"
_MIN_TOKEN = 16  # characters

_BACKLOG = 64

# Addresses of documentation, which nothing is sent to: the system only chooses its own address.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


class Listener:
    """A socket that listens, before anything answers.

    Attributes
    ----------
    names : hosts that a browser may name
    token : for all requests; of the environment variable LIVEMOSAIC_WEB_TOKEN, or a new one
    url : the control page's address with the token
    """

    def __init__(self, address: str) -> None:
        host, port = web_address(address)
        self.token = _token()
        self.socket = _bound(host, port)
        bound = self.socket.getsockname()[0]
        is_everywhere = ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
        self.host = _in_url(_own_address(self.socket.family) if is_everywhere else host)
        self.port = self.socket.getsockname()[1]
        own = socket.gethostname().lower()
        self.names = frozenset({"localhost", host.lower(), own, f"{own}.local"})

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/?token={self.token}"

    def is_own(self, host: str) -> bool:
        """Whether the Host of a request is this computer's.

        A foreign page can let its own name point here (DNS rebinding), but not an address in
        numbers: the browser would have asked there.
        """
        name = host.lower().rpartition(":")[0] if _has_port(host) else host.lower()
        if name.strip("[]") in self.names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdecimal() and not host.endswith("]")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _token() -> str:
    token = os.environ.get(_TOKEN, "")
    if not token:
        return secrets.token_urlsafe(16)
    if re.fullmatch(rf"[A-Za-z0-9_-]{{{_MIN_TOKEN},}}", token) is None:
        raise UsageError(
            f"{_TOKEN}: it must be at least {_MIN_TOKEN} letters, digits, - and _; set another one"
        )
    return token


def _bound(host: str, port: int) -> socket.socket:
    name = f"control page: {_in_url(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SinkError(f"{name}: there is no such host; {_HOSTS}") from None
    family, kind, protocol, _, where = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would share the port with another program
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        raise SinkError(f"{name}: {_problem(error)}") from None
    return opened


_HOSTS = "name an address of this computer, or 0.0.0.0 for all of them"


def _problem(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port; choose another one, or 0 for a free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this computer has no such address; {_HOSTS}"
    if error.errno == errno.EACCES:
        return "the system does not allow this port; choose one above 1023"
    return f"{words_of(error)}; choose another address"


def _own_address(family: int) -> str:
    """The address by which others on the network reach this computer; loopback without one."""
    for kind in dict.fromkeys((family, *_ELSEWHERE)):
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((_ELSEWHERE[socket.AddressFamily(kind)], 9))
                return str(probe.getsockname()[0])
            except OSError:  # there is no network of this kind
                continue
    return "127.0.0.1"
