"""Sockets on which the control page and OSC wait for others."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from .errors import SinkError, words_of

_BACKLOG = 64

_HOSTS = "name an address of this computer, or 0.0.0.0 for all of them"

# Addresses of documentation, which nothing is sent to: the system only chooses its own address.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def bound(
    owner: str, host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """A socket at an address of this computer, which listens if it is one of streams.

    Parameters
    ----------
    owner : for messages
    port : 0 for a free one

    Raises
    ------
    SinkError : the port is taken or not allowed, or the host is none of this computer
    """
    name = f"{owner}: {in_url(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SinkError(f"{name}: there is no such host; {_HOSTS}") from None
    family, kind, protocol, _, where = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        if kind == socket.SOCK_STREAM:
            if sys.platform != "win32":  # there it would share the port with another program
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(where)
            opened.listen(_BACKLOG)
        else:
            opened.bind(where)
    except OSError as error:
        opened.close()
        raise SinkError(f"{name}: {_problem(error)}") from None
    return opened


def bound_host(listening: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of this computer at which a socket waits; an unspecified one for all of them."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0])


def in_url(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def own_address(family: int) -> str:
    """The address by which others on the network reach this computer; loopback without one."""
    for kind in dict.fromkeys((family, *_ELSEWHERE)):
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((_ELSEWHERE[socket.AddressFamily(kind)], 9))
                return str(probe.getsockname()[0])
            except OSError:  # there is no network of this kind
                continue
    return "127.0.0.1"


def _problem(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port; choose another one, or 0 for a free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this computer has no such address; {_HOSTS}"
    if error.errno == errno.EACCES:
        return "the system does not allow this port; choose one above 1023"
    return f"{words_of(error)}; choose another address"
