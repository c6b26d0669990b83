"""Packets that wait between receiving and decoding, and those that are dropped."""

from __future__ import annotations

import threading

import pytest

from livemosaic.sources.network.packet_queue import Arrival, PacketQueue
from tests.fakes import TIMEOUT_S


def arrivals(queue: PacketQueue) -> list[Arrival]:
    """The waiting packets; the queue is empty then."""
    queue.finish()
    found = []
    while (arrival := queue.get(0)) is not None:
        found.append(arrival)
    return found


def fill(
    queue: PacketQueue, *, seconds: float, keys: tuple[float, ...], sound: bool = True
) -> None:
    """Pictures at 10 per second that stay in the queue; key frames at `keys` seconds."""
    for n in range(round(seconds * 10)):
        at_s = n / 10
        assert queue.put(Arrival(n, None, at_s, key=at_s in keys))
        if sound:
            assert queue.put(Arrival(f"sound {n}", 0, at_s))


def test_order_is_kept() -> None:
    queue = PacketQueue()
    fill(queue, seconds=0.3, keys=(0,))
    assert [a.packet for a in arrivals(queue)] == [0, "sound 0", 1, "sound 1", 2, "sound 2"]
    assert queue.dropped == 0


def test_late_pictures_are_let_go_up_to_the_newest_key() -> None:
    queue = PacketQueue()
    fill(queue, seconds=0.6, keys=(0, 0.2, 0.4))
    found = arrivals(queue)
    pictures = [(a.packet, a.after_gap) for a in found if a.track is None]
    assert pictures == [(4, True), (5, False)]
    assert len([a for a in found if a.track == 0]) == 6  # of the sound nothing
    assert queue.dropped == 4


def test_a_short_delay_is_caught_up_with() -> None:
    queue = PacketQueue()
    fill(queue, seconds=0.5, keys=(0, 0.2))
    assert len(arrivals(queue)) == 10


def test_without_a_key_only_a_hopeless_delay_costs_pictures() -> None:
    queue = PacketQueue()
    fill(queue, seconds=2.0, keys=(0,), sound=False)
    assert queue.dropped == 0
    queue.put(Arrival("late", None, 2.0))
    assert queue.dropped == 21
    # Nothing can be decoded before the next key.
    queue.put(Arrival("useless", None, 2.1))
    queue.put(Arrival("key", None, 2.2, key=True))
    assert [(a.packet, a.after_gap) for a in arrivals(queue)] == [("key", True)]
    assert queue.dropped == 22


def test_memory_is_bounded_without_a_reader() -> None:
    queue = PacketQueue()
    for n in range(10_000):
        queue.put(Arrival(n, 0, n / 50))
    assert len(arrivals(queue)) < 4_100


def test_the_receiver_waits_where_it_sets_the_pace() -> None:
    queue = PacketQueue()
    queue.waits = True
    put = threading.Semaphore(0)

    def receive() -> None:
        for n in range(1000):
            if not queue.put(Arrival(n, None, float(n))):
                return
            put.release()

    thread = threading.Thread(target=receive)
    thread.start()
    for taken in range(500):
        assert put.acquire(timeout=TIMEOUT_S)
        arrival = queue.get(TIMEOUT_S)
        assert arrival is not None
        assert arrival.packet == taken
    queue.close()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert queue.dropped == 0


def test_error_comes_after_what_was_received() -> None:
    queue = PacketQueue()
    queue.put(Arrival(0, None, 0.0))
    queue.finish(KeyError("lost"))
    assert queue.get(0) is not None
    with pytest.raises(KeyError):
        queue.get(0)


def test_nothing_for_too_long() -> None:
    with pytest.raises(TimeoutError):
        PacketQueue().get(0.01)


def test_close_wakes_who_waits_and_ends_everything() -> None:
    queue = PacketQueue()
    threading.Timer(0.05, queue.close).start()
    assert queue.get(TIMEOUT_S) is None
    assert not queue.put(Arrival(0, None, 0.0))
    queue.finish(KeyError("too late"))
    assert queue.get(0) is None
