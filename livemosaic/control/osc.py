"""Changes and actions by Open Sound Control (OSC), as lighting desks and Stream Decks send them.

A packet has no token: its sender can do what the keys of the window do, and cannot name files.
"""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UsageError, did_you_mean, problem_of, shown
from ..listening import bound, bound_host, in_url, own_address
from ..option import Option
from ..parse import listen_address
from ..tile_size import EVEN_TILE
from .actions import ACTIONS
from .live_values import LIVE_VALUES, change_values
from .osc_packet import BadPacket, Value, arguments, messages
from .state import Control

_log = logging.getLogger("livemosaic")

_PREFIX = "/livemosaic/"
_ON = 0.5  # the least number that turns something on

# All packets of a step are one change. In a flood, the others wait in the system's buffer, which is
# small and drops those for which it has no room.
_STEP_S = 1 / 60
_MAX_PACKETS, _MAX_WORK_S = 256, 0.002  # of a step
_MAX_BYTES = 8192  # of a packet

_WARN_S = 5.0  # from one warning to the next
_POLL_S = 0.2  # until an idle thread sees that it is to end
_JOIN_S = 0.5


class OscMessages:
    """Takes packets, and changes the control.

    Of several values for an option only the newest counts. Used by one thread.
    """

    def __init__(self, control: Control, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._control, self._clock = control, clock
        self._waiting: dict[str, bytes] = {}  # arguments by option
        self._quiet_until_s = -math.inf

    def take(self, packet: bytes) -> None:
        """Take a packet: actions are done, changes wait for `apply`. Never raises."""
        if len(packet) > _MAX_BYTES:
            self._warn(f"a packet of more than {_MAX_BYTES:,} bytes; send smaller ones")
            return
        try:
            for address, data in messages(packet):
                if address.startswith(_PREFIX):
                    self._take(address.removeprefix(_PREFIX), data)
        except BadPacket as error:
            self._warn(f"a packet that is not valid: {error}")

    def apply(self) -> None:
        """Make the changes that wait, all at once; without the wrong ones. Never raises."""
        waiting, self._waiting = self._waiting, {}
        values: dict[str, Any] = {}
        for name, data in waiting.items():
            try:
                values[name] = option_value(LIVE_VALUES[name], arguments(data))
            except BadPacket as error:
                self._warn(f"{_PREFIX}{name}: {error}")
        if values and not self._change(values, warns=len(values) == 1):
            for name, value in values.items() if len(values) > 1 else ():
                self._change({name: value}, warns=True)

    def _take(self, name: str, data: bytes) -> None:
        values = arguments(data) if name in ACTIONS else []
        if name in ACTIONS and (name not in LIVE_VALUES or not values):
            value = values[0] if values else True
            if isinstance(value, bool | int | float) and not value >= _ON:
                return  # the button was released
            self.apply()  # what came before
            try:
                ACTIONS[name].do(self._control)
            except Exception as error:  # a message costs no more than itself
                self._warn(f"{_PREFIX}{name}: {problem_of(error)}")
        elif name in LIVE_VALUES:
            if name == "profile":  # it sets others, which may follow
                self.apply()
            self._waiting[name] = data
        elif not self._is_quiet:
            known = [*LIVE_VALUES, *ACTIONS]
            hint = did_you_mean(name[:100], known) or f"there are {', '.join(known)}"
            self._warn(f"no address {shown(_PREFIX + name)}; {hint}")

    def _change(self, values: dict[str, Any], *, warns: bool) -> bool:
        """Whether the values are valid, and used."""
        try:
            change_values(self._control, values)
            return True
        except UsageError as error:
            if warns:
                self._warn(f"{_PREFIX}{error}")
        except Exception as error:
            _log.debug("osc", exc_info=error)
            self._warn(problem_of(error))
        return False

    def _warn(self, problem: str) -> None:
        """Warn, but not with every packet of a fader that moves."""
        if not self._is_quiet:
            self._quiet_until_s = self._clock() + _WARN_S
            self._control.warn(f"osc: {problem}")

    @property
    def _is_quiet(self) -> bool:
        return self._clock() < self._quiet_until_s


def option_value(known: Option, values: Sequence[Value]) -> Any:
    """The value of an option for the arguments of a message; `BadPacket` for too few or too many.

    A desk has only faders and buttons: any number is on or off for a switch, and is rounded for an
    option of whole or even numbers. The option's own bounds are not checked.
    """
    if len(values) > 1 and all(isinstance(value, str) for value in values):
        return list(values)  # such as the photos of a gallery
    if len(values) != 1:
        raise BadPacket(f"{len(values)} arguments; send one")
    value = values[0]
    if not isinstance(value, int | float) or not math.isfinite(value):
        return value
    if known.is_switch:
        return value >= _ON
    if known.kind.json == "integer" and not isinstance(value, bool):
        step = 2 if known.kind is EVEN_TILE else 1
        return step * round(value / step) if isinstance(value, float) else value
    return value


class OscReceiver:
    """Receives packets by UDP, on a thread of its own from `start` to `close`.

    Raises
    ------
    SinkError : the port is taken or not allowed, or the host is none of this computer
    """

    def __init__(self, address: str) -> None:
        host, port = listen_address(address)
        self._socket = bound("osc", host, port, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        where = bound_host(self._socket)
        self._is_open_to_others = not where.is_loopback
        host = own_address(self._socket.family) if where.is_unspecified else host
        self.address = f"{in_url(host)}:{self.port}"
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, control: Control) -> None:
        """Apply what comes to a control from now on."""
        _log.info("osc: listening at %s (UDP)", self.address)
        if self._is_open_to_others:
            _log.warning(
                "osc: %s: OSC has no token: every device that reaches this address can change the "
                "picture and end the run; take --osc %d for this computer only",
                self.address, self.port,
            )  # fmt: skip
        run, name = self._run, "livemosaic osc"
        self._thread = threading.Thread(target=run, args=(control,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and free the port."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._socket.close()

    def _run(self, control: Control) -> None:
        received = OscMessages(control)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._ending.is_set():
                if selector.select(_POLL_S):
                    self._read(received)
                    received.apply()
                    self._ending.wait(_STEP_S)

    def _read(self, received: OscMessages) -> None:
        """Take the packets that are there, as many as a step allows."""
        until_s = time.thread_time() + _MAX_WORK_S
        for _ in range(_MAX_PACKETS):
            try:
                packet = self._socket.recv(_MAX_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:  # Windows: it is larger
                continue
            received.take(packet)
            if time.thread_time() > until_s:
                return
