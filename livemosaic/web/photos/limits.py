"""How much guests may send: bytes, photos in a minute and in all.

A guest is the id that the upload page makes, with the address that it comes from. It is no cookie:
a cookie would follow the phone to other programs of this host, and all that it could add is to be
harder to change. The limit of the address stops a guest that sends another id with each photo; it
has room for the phones of a party that share an address.
"""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MAX_PHOTO = 25_000_000  # bytes
MAX_FILES = 20  # of a request
MAX_REQUEST = MAX_FILES * MAX_PHOTO
MAX_REQUEST_S = 300.0  # of waiting for what a request sends
MAX_UPLOADS = 16  # that are received at the same time; the others wait
MAX_UPLOADS_OF_ADDRESS = 8  # so that slow ones from one address leave turns to the others
GUEST_MINUTE, GUEST_ALL = 20, 200  # photos of a guest
ADDRESS_MINUTE, ADDRESS_ALL = 400, 4000  # photos from an address
COSTLY_MINUTE, COSTLY_ALL = 2, 100  # from an address, that each keep the decoder from all others
MAX_PHOTOS = 5000  # in the folder
MAX_FOLDER = 4_000_000_000  # bytes
KEEP_FREE = 1_000_000_000  # bytes of the disk

_MINUTE_S = 60.0
_MAX_SENDERS = 10_000
_GUEST = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Refused(Exception):
    """A photo is not taken; the message is the reason.

    `retry_s` says when it may be sent again, if it may; `was_costly`, that it has taken as much
    time as a photo may.
    """

    def __init__(
        self, problem: str, *, retry_s: float | None = None, was_costly: bool = False
    ) -> None:
        super().__init__(problem)
        self.retry_s, self.was_costly = retry_s, was_costly


class _Counts:
    """How many photos each sender has sent in the last minute, and in all."""

    def __init__(
        self, minute: int, in_all: int, clock: Callable[[], float], *, reached: str
    ) -> None:
        """`reached` says what the sender has sent when it has sent all that it may."""
        self._minute, self._all, self._clock, self._reached = minute, in_all, clock, reached
        self._senders: OrderedDict[str, tuple[deque[float], int]] = OrderedDict()

    def check(self, name: str) -> None:
        """`Refused` if the sender has sent as many as it may."""
        times, count = self._senders.get(name, (deque[float](), 0))
        if count >= self._all:
            raise Refused(self._reached.format(self._all))
        while times and self._clock() - times[0] >= _MINUTE_S:
            times.popleft()
        if len(times) >= self._minute:
            wait_s = _MINUTE_S - (self._clock() - times[0])
            problem = f"there are too many photos; wait {math.ceil(wait_s)} s and send it again"
            raise Refused(problem, retry_s=wait_s)

    def add(self, name: str) -> None:
        times, count = self._senders.pop(name, (deque[float](), 0))
        times.append(self._clock())
        self._senders[name] = times, count + 1
        if len(self._senders) > _MAX_SENDERS:  # the one that has been silent longest
            self._senders.popitem(last=False)


class Quota:
    """Counts the photos of guests and of addresses."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        own = "you have sent {} photos, as many as one may"
        of_all = "{} photos have come from your network, as many as may"
        slow = "{} photos from your network took too long to read; it may send no more"
        self._guests = _Counts(GUEST_MINUTE, GUEST_ALL, clock, reached=own)
        self._addresses = _Counts(ADDRESS_MINUTE, ADDRESS_ALL, clock, reached=of_all)
        self._costly = _Counts(COSTLY_MINUTE, COSTLY_ALL, clock, reached=slow)

    def check(self, address: str, guest: str) -> None:
        """`Refused` if this guest may send no photo now."""
        self._guests.check(_name(address, guest))
        self._addresses.check(network_of(address))
        self._costly.check(network_of(address))

    def take(self, address: str, guest: str) -> None:
        """Count a photo; `Refused` if it is one too many."""
        self.check(address, guest)
        self._guests.add(_name(address, guest))
        self._addresses.add(network_of(address))

    def add_costly(self, address: str) -> None:
        """Count a photo that has kept the decoder from others."""
        self._costly.add(network_of(address))


def _name(address: str, guest: str) -> str:
    return f"{network_of(address)} {guest if _GUEST.fullmatch(guest) else ''}"


def network_of(address: str) -> str:
    """What one sender has: an address of IPv4, 2**64 addresses of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
