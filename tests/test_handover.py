"""What stands between two stages: order, limits, both ways to end, and nothing kept alive."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from livemosaic.handover import Closed, WaitingHandover

from .fakes import TIMEOUT_S, packet


class Thread(threading.Thread):
    """Runs a function; `outcome` waits for what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.done = threading.Event()
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._work()
        except Closed as error:
            self._outcome = error
        self.done.set()

    def outcome(self) -> Any:
        assert self.done.wait(TIMEOUT_S), "the thread does not end"
        return self._outcome


@pytest.fixture
def handover() -> Iterator[WaitingHandover[Any]]:
    made: WaitingHandover[Any] = WaitingHandover(2)
    yield made
    made.cancel()


def test_everything_comes_in_order(handover: WaitingHandover[Any]) -> None:
    taker = Thread(lambda: list(handover))
    for number in range(100):
        handover.put(number)
    handover.finish()
    assert taker.outcome() == list(range(100))


def test_who_puts_waits_for_room(handover: WaitingHandover[Any]) -> None:
    handover.put(0)
    handover.put(1)
    third = Thread(lambda: handover.put(2))
    assert not third.done.is_set()  # can be true at no time before the next line
    assert next(iter(handover)) == 0
    assert third.outcome() is None


def test_packets_take_no_frame_s_place(handover: WaitingHandover[Any]) -> None:
    packets = [packet(n) for n in range(50)]
    handover.put(0)
    for item in packets:
        handover.put(item)
    handover.put(1)
    handover.finish()
    assert list(handover) == [0, *packets, 1]


def test_packets_have_a_limit_of_their_own(
    handover: WaitingHandover[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livemosaic.handover._MAX_PACKETS", 3)
    for n in range(3):
        handover.put(packet(n))
    fourth = Thread(lambda: handover.put(packet(3)))
    assert not fourth.done.is_set()
    handover.put("frame")  # has room of its own
    next(iter(handover))
    assert fourth.outcome() is None


def test_finish_gives_out_what_is_there_and_takes_no_more(handover: WaitingHandover[Any]) -> None:
    handover.put(0)
    handover.put(1)
    waiting = Thread(lambda: handover.put(2))
    handover.finish()
    assert isinstance(waiting.outcome(), Closed)
    with pytest.raises(Closed):
        handover.put(3)
    assert list(handover) == [0, 1]


def test_cancel_wakes_both_sides_and_forgets() -> None:
    full: WaitingHandover[Any] = WaitingHandover(1)
    picture = np.zeros(4)
    gone = weakref.ref(picture)
    full.put(picture)
    del picture
    putting = Thread(lambda: full.put(1))
    full.cancel()
    assert isinstance(putting.outcome(), Closed)
    assert gone() is None

    empty: WaitingHandover[Any] = WaitingHandover(1)
    taking = Thread(lambda: list(empty))
    empty.cancel()
    assert isinstance(taking.outcome(), Closed)


def test_a_picture_that_was_taken_is_not_kept_alive(handover: WaitingHandover[Any]) -> None:
    """The mosaic paints in place on a picture that nobody holds."""
    pictures = [np.zeros(4), np.zeros(4)]
    gone = [weakref.ref(picture) for picture in pictures]
    for picture in pictures:
        handover.put(picture)
    del pictures, picture
    items = iter(handover)
    item = next(items)
    del item
    item = next(items)
    assert gone[0]() is None
    assert gone[1]() is item
