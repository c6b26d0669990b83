"""The address of the control page: its socket, its token and its name for people."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import socket

from ..errors import UsageError
from ..listening import bound, bound_host, in_url, own_address
from ..parse import listen_address

# A token of one's own keeps the address from run to run, for OBS and Stream Decks.
_TOKEN, _GUEST_TOKEN = "LIVEMOSAIC_WEB_TOKEN", "LIVEMOSAIC_GUEST_TOKEN"
_MIN_TOKEN = 16  # characters


class Listener:
    """A socket that listens, before anything answers.

    Parameters
    ----------
    address : [HOST:]PORT
    guests : whether guests may upload photos

    Attributes
    ----------
    names : hosts that a browser may name
    token : for all requests; of the environment variable LIVEMOSAIC_WEB_TOKEN, or a new one
    guest_token : for uploads only; of LIVEMOSAIC_GUEST_TOKEN, or a new one; empty without guests
    url : the control page's address with the token
    guest_url : that of the upload page; empty without guests
    is_local : whether only this computer reaches it
    """

    def __init__(self, address: str, *, guests: bool = False) -> None:
        host, port = listen_address(address)
        self.token = _token(_TOKEN)
        self.guest_token = _token(_GUEST_TOKEN) if guests else ""
        if self.guest_token == self.token:
            raise UsageError(f"{_GUEST_TOKEN}: it is the same as {_TOKEN}; set another one")
        self.socket = bound("control page", host, port)
        ip = bound_host(self.socket)
        self.is_local = ip.is_loopback
        self.host = in_url(own_address(self.socket.family) if ip.is_unspecified else host)
        self.port = self.socket.getsockname()[1]
        own = socket.gethostname().lower()
        self.names = frozenset({"localhost", host.lower(), own, f"{own}.local"})

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/?token={self.token}"

    @property
    def guest_url(self) -> str:
        if not self.guest_token:
            return ""
        return f"http://{self.host}:{self.port}/upload?token={self.guest_token}"

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


def _token(variable: str) -> str:
    token = os.environ.get(variable, "")
    if not token:
        return secrets.token_urlsafe(16)
    if re.fullmatch(rf"[A-Za-z0-9_-]{{{_MIN_TOKEN},}}", token) is None:
        problem = f"it must be at least {_MIN_TOKEN} letters, digits, - and _; set another one"
        raise UsageError(f"{variable}: {problem}")
    return token
