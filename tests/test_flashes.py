"""The meter of flashes, with cameras and times that are made up."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.doctor.flashes import FlashMeter, NotSeen

F32 = NDArray[np.float32]
PERIOD_S = 1 / 30
SHAPE = (18, 32)


class Light:
    """When it was on."""

    def __init__(self) -> None:
        self.changes: list[float] = []  # on, off, on ...

    def share(self, began_s: float, ended_s: float) -> float:
        """For which share of this time it was on."""
        if ended_s <= began_s:
            return float(sum(at_s <= began_s for at_s in self.changes) % 2)
        edges = [min(max(at_s, began_s), ended_s) for at_s in self.changes]
        if len(edges) % 2:
            edges.append(ended_s)
        return sum(edges[1::2]) / (ended_s - began_s) - sum(edges[::2]) / (ended_s - began_s)


@dataclass
class Camera:
    """A camera that sees the light, and the rest of the way to the window."""

    delay_s: float = 0.05  # from the end of an exposure to the window
    jitter_s: float = 0.0  # at most so much more
    period_s: float = PERIOD_S
    exposure_s: float = 0.0
    rolling_s: float = 0.0  # from the first row's exposure to the last row's
    dark: float = 40.0
    gain: float = 150.0  # levels that the light adds
    noise: float = 0.0
    size: tuple[int, int, int, int] = (6, 10, 10, 16)  # top, bottom, left, right of the light
    echo: float = 0.0  # share of the light that the window's own picture adds, elsewhere
    adapts: float = 0.0  # how much darker the whole becomes while the light is on
    lost: Callable[[float], bool] = lambda at_s: False  # when something hides the light

    def picture(self, light: Light, at_s: float, noise: np.random.Generator) -> F32:
        picture = np.full(SHAPE, self.dark, np.float32)
        top, bottom, left, right = self.size
        if not self.lost(at_s):
            for row in range(top, bottom):
                ended_s = at_s - self.rolling_s * (1 - row / SHAPE[0])
                on = light.share(ended_s - self.exposure_s, ended_s)
                picture[row, left:right] += self.gain * on
            late_s = at_s - self.delay_s - self.period_s
            picture[12:18, 20:32] += self.echo * self.gain * light.share(late_s, late_s)
        picture -= self.adapts * light.share(at_s - 0.3, at_s) * picture
        picture += noise.normal(0, self.noise, SHAPE) if self.noise else 0
        return picture.clip(0, 255)


def measure(camera: Camera, *, changes: int = 60, seed: int = 1, find_s: float = 30) -> FlashMeter:
    """Let a camera look at the light to the end, as fast as it goes."""
    noise, pauses, light = np.random.default_rng(seed), random.Random(seed), Light()
    meter = FlashMeter(changes=changes, find_s=find_s, pause=pauses)
    meter.start(100.0)
    captured_s, shown_s = 98.0 + pauses.uniform(0, 1), 0.0
    while not meter.finished:
        captured_s += camera.period_s
        late_s = captured_s + camera.delay_s + pauses.uniform(0, camera.jitter_s)
        shown_s = max(late_s, shown_s + 0.001)
        while meter.due_s <= shown_s:
            now_s = meter.due_s
            light.changes.append(now_s)
            meter.changed(now_s)
            assert meter.bright == (len(light.changes) % 2 == 1)
        meter.look(camera.picture(light, captured_s, noise), shown_s, captured_s=captured_s)
        meter.check(shown_s)
        assert shown_s < 400, "it does not end"
    assert_harmless(light)
    return meter


def assert_harmless(light: Light) -> None:
    """Three flashes within a second are allowed: six changes, of which the window shows half."""
    for number, at_s in enumerate(light.changes):
        assert sum(at_s <= other_s < at_s + 1 for other_s in light.changes[number:]) <= 3


def median_ms(meter: FlashMeter) -> float:
    return float(np.median(meter.latencies_s)) * 1e3


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1, 0.45, 1.6])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_known_delay(delay_s: float, seed: int) -> None:
    """It meets all phases of the camera: half a period is added in the mean."""
    meter = measure(Camera(delay_s), seed=seed)
    assert meter.lost == 0
    assert len(meter.latencies_s) == 60
    late_s = np.array(meter.latencies_s) - delay_s
    assert 0 <= late_s.min() < 0.2 * PERIOD_S
    assert 0.8 * PERIOD_S < late_s.max() <= PERIOD_S + 0.001
    assert abs(late_s.mean() - PERIOD_S / 2) < 0.15 * PERIOD_S
    assert np.allclose(meter.since_capture_s, max(delay_s, 0.0), atol=1e-6)


def test_another_delay_of_100_ms() -> None:
    before, after = (median_ms(measure(Camera(delay_s))) for delay_s in (0.06, 0.16))
    assert after - before == pytest.approx(100, abs=PERIOD_S * 1e3)


@pytest.mark.parametrize(
    ("camera", "added_s"),
    [
        (Camera(noise=25), 0.0),
        (Camera(dark=3, gain=40, noise=6), 0.0),  # a dark room
        (Camera(gain=18, noise=2), 0.0),
        (Camera(dark=200, gain=90), 0.0),  # it is cut off at 255
        (Camera(exposure_s=PERIOD_S), PERIOD_S / 2),
        (Camera(exposure_s=0.1, noise=5, dark=5, gain=60), 0.05),
        (Camera(exposure_s=0.01, rolling_s=0.03), 0.005 + 0.03 * (1 - 8 / 18)),
        (Camera(adapts=0.5), 0.0),
        (Camera(jitter_s=0.02), 0.01),
        (Camera(period_s=1 / 8), (1 / 8 - PERIOD_S) / 2),
        (Camera(echo=0.9, size=(2, 12, 2, 16)), 0.0),
        (Camera(size=(8, 9, 12, 13)), 0.0),
        (Camera(size=(0, 18, 0, 20)), 0.0),
    ],
)
def test_cameras(camera: Camera, added_s: float) -> None:
    meter = measure(camera)
    expected_ms = (camera.delay_s + PERIOD_S / 2 + added_s) * 1e3
    assert median_ms(meter) == pytest.approx(expected_ms, abs=8 if camera.period_s < 0.1 else 25)
    assert meter.lost == 0


def test_adaptation_that_goes_on() -> None:
    """The room becomes darker while it is measured."""
    gains = iter(np.linspace(1, 0.2, 2000))
    camera = Camera(noise=2)
    before = camera.picture

    def darker(light: Light, at_s: float, noise: np.random.Generator) -> F32:
        return before(light, at_s, noise) * np.float32(next(gains))

    camera.picture = darker  # type: ignore[method-assign]
    meter = measure(camera)
    assert meter.lost == 0
    assert median_ms(meter) == pytest.approx(67, abs=8)


def test_lost_flashes() -> None:
    """Something hides the light twice, for some seconds: it is found again."""
    camera = Camera(lost=lambda at_s: 110 < at_s < 116 or 130 < at_s < 134)
    meter = measure(camera)
    assert meter.lost == 2
    assert median_ms(meter) == pytest.approx(67, abs=8)
    assert max(meter.latencies_s) < 0.1


def test_a_change_that_comes_too_late_is_not_taken_for_the_next() -> None:
    """The pictures stand still for five seconds, and come late after that."""
    camera = Camera()
    before = camera.picture

    def stuck(light: Light, at_s: float, noise: np.random.Generator) -> F32:
        return before(light, 110.0 if 110 < at_s < 115 else at_s, noise)

    camera.picture = stuck  # type: ignore[method-assign]
    meter = measure(camera)
    assert meter.lost in (1, 2)
    assert min(meter.latencies_s) >= camera.delay_s
    assert max(meter.latencies_s) < 0.1


@pytest.mark.parametrize(
    "camera",
    [
        Camera(gain=0, noise=8),
        Camera(gain=5),
        Camera(gain=15, noise=12, size=(8, 9, 12, 13)),
        Camera(lost=lambda at_s: True),
        Camera(gain=-60),
    ],
)
def test_not_seen(camera: Camera) -> None:
    with pytest.raises(NotSeen):
        measure(camera)


def test_another_light_that_flickers_is_not_taken_for_it() -> None:
    camera = Camera(gain=0, noise=2)
    before, random_light = camera.picture, random.Random(5)
    state = [0.0]

    def flickering(light: Light, at_s: float, noise: np.random.Generator) -> F32:
        if random_light.random() < 0.05:
            state[0] = 100 - state[0]
        return before(light, at_s, noise) + np.float32(state[0])

    camera.picture = flickering  # type: ignore[method-assign]
    with pytest.raises(NotSeen):
        measure(camera, find_s=60)


def test_no_pictures_at_all() -> None:
    meter = FlashMeter(changes=4, find_s=3)
    meter.start(0.0)
    for tick in range(30):
        while meter.due_s <= tick / 10:
            meter.changed(tick / 10)
        meter.check(tick / 10)
    with pytest.raises(NotSeen):
        meter.check(3.1)


def test_lost_too_often() -> None:
    camera = Camera(lost=lambda at_s: at_s > 108 and at_s % 8 < 5)
    with pytest.raises(NotSeen):
        measure(camera, changes=200)


def test_the_pictures_end_while_it_is_measured() -> None:
    meter = measure(Camera(), changes=5)
    meter.changes = 10
    at_s = meter.due_s
    meter.changed(at_s)
    for tick in range(29):
        meter.check(at_s + tick / 10)
    assert meter.lost == 0
    meter.check(at_s + 3.1)
    assert (meter.lost, meter.found) == (1, False)
