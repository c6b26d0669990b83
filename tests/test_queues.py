"""The queues between two stages: order, limits, both ways to end, and nothing kept alive."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from livemosaic.media.frame import StatusEvent
from livemosaic.pipeline.queues import BlockingQueue, Closed, Ended, LatestQueue

from .fakes import TIMEOUT_S, frame, packet


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
def queue() -> Iterator[BlockingQueue[Any]]:
    made: BlockingQueue[Any] = BlockingQueue(2)
    yield made
    made.cancel()


def test_everything_comes_in_order(queue: BlockingQueue[Any]) -> None:
    taker = Thread(lambda: list(queue))
    for number in range(100):
        queue.put(number)
    queue.finish()
    assert taker.outcome() == list(range(100))


def test_who_puts_waits_for_room(queue: BlockingQueue[Any]) -> None:
    queue.put(0)
    queue.put(1)
    third = Thread(lambda: queue.put(2))
    assert not third.done.is_set()  # can be true at no time before the next line
    assert next(iter(queue)) == 0
    assert third.outcome() is None


def test_packets_take_no_frame_s_place(queue: BlockingQueue[Any]) -> None:
    packets = [packet(n) for n in range(50)]
    queue.put(0)
    for item in packets:
        queue.put(item)
    queue.put(1)
    queue.finish()
    assert list(queue) == [0, *packets, 1]


def test_packets_have_a_limit_of_their_own() -> None:
    queue: BlockingQueue[Any] = BlockingQueue(2, max_packets=3)
    for n in range(3):
        queue.put(packet(n))
    fourth = Thread(lambda: queue.put(packet(3)))
    assert not fourth.done.is_set()
    queue.put("frame")  # has room of its own
    next(iter(queue))
    assert fourth.outcome() is None


def test_finish_gives_out_what_is_there_and_takes_no_more(queue: BlockingQueue[Any]) -> None:
    queue.put(0)
    queue.put(1)
    waiting = Thread(lambda: queue.put(2))
    queue.finish()
    assert isinstance(waiting.outcome(), Closed)
    with pytest.raises(Closed):
        queue.put(3)
    assert list(queue) == [0, 1]


def test_cancel_wakes_both_sides_and_forgets() -> None:
    full: BlockingQueue[Any] = BlockingQueue(1)
    picture = np.zeros(4)
    gone = weakref.ref(picture)
    full.put(picture)
    del picture
    putting = Thread(lambda: full.put(1))
    full.cancel()
    assert isinstance(putting.outcome(), Closed)
    assert gone() is None

    empty: BlockingQueue[Any] = BlockingQueue(1)
    taking = Thread(lambda: list(empty))
    empty.cancel()
    assert isinstance(taking.outcome(), Closed)


def test_a_picture_that_was_taken_is_not_kept_alive(queue: BlockingQueue[Any]) -> None:
    """The mosaic paints in place on a picture that nothing refers to."""
    pictures = [np.zeros(4), np.zeros(4)]
    gone = [weakref.ref(picture) for picture in pictures]
    for picture in pictures:
        queue.put(picture)
    del pictures, picture
    items = iter(queue)
    item = next(items)
    del item
    item = next(items)
    assert gone[0]() is None
    assert gone[1]() is item


# ---- newest wins ----------------------------------------------------------------------------


def test_the_newest_frame_takes_the_place_of_the_one_that_waits() -> None:
    slot: LatestQueue[Any] = LatestQueue()
    for number in range(5):
        slot.put(frame(number))
    assert slot.dropped == 4
    taken = slot.take(0)
    assert taken is not None
    assert taken.pts == 4
    assert slot.take(0) is None
    slot.finish()
    with pytest.raises(Ended):
        slot.take(0)


def test_packets_are_not_dropped_with_the_frames_around_them() -> None:
    slot: LatestQueue[Any] = LatestQueue(2)
    items = [packet(0), frame(0), packet(1), frame(1), packet(2), frame(2)]
    for item in items:
        slot.put(item)
    slot.finish()
    assert list(slot) == [item for item in items if item is not items[1]]
    assert slot.dropped == 1


def test_packets_that_wait_are_bounded() -> None:
    slot: LatestQueue[Any] = LatestQueue(max_packets=3)
    packets = [packet(n) for n in range(10)]
    for item in packets:
        slot.put(item)
    slot.finish()
    assert list(slot) == packets[-3:]
    assert slot.dropped == 0  # frames are counted


def test_a_status_gives_way_without_being_counted() -> None:
    slot: LatestQueue[Any] = LatestQueue()
    slot.put(StatusEvent("reconnecting"))
    slot.put(frame(1))
    assert slot.dropped == 0
    slot.put(StatusEvent("reconnecting"))
    assert slot.dropped == 1


def test_a_dropped_picture_is_let_go_of() -> None:
    slot: LatestQueue[Any] = LatestQueue()
    first = np.zeros(4)
    gone = weakref.ref(first)
    slot.put(first)
    del first
    slot.put(np.ones(4))
    assert gone() is None
