"""Still, touched and active cells over time. The rule itself is tested in test_kernels.py."""

from __future__ import annotations

import numpy as np
import pytest

from livemosaic.mosaic.activity import ACTIVE, STILL, TOUCHED, Activity
from livemosaic.mosaic.grid import Grid
from tests.conftest import U8, moving_pictures

GRID = Grid(4, 6, 32, 32, 192, 128)


def activity(*, threshold: float = 16, overlay: float = 0.5) -> Activity:
    return Activity(GRID, threshold=threshold, overlay=overlay)


def flat(level: int) -> U8:
    return np.full((32, 48, 3), level, np.uint8)


def test_first_frame_is_active() -> None:
    assert (activity().update(flat(0)) == ACTIVE).all()


def test_same_picture_is_still() -> None:
    tested = activity()
    picture = moving_pictures(1, size=(48, 32))[0]
    tested.update(picture)
    for _ in range(3):
        assert (tested.update(picture) == STILL).all()


@pytest.mark.parametrize("step", [1, 2, 5])
def test_slow_drift_is_caught(step: int) -> None:
    """Each step is below the threshold, but accepted values stay behind until it is exceeded."""
    tested = activity()
    tested.update(flat(0))
    active = [
        level for level in range(step, 200, step) if (tested.update(flat(level)) == ACTIVE).all()
    ]
    # A grey step of n levels is a distance of n * sqrt(3): above 16 from 10 levels on.
    assert len(active) == pytest.approx(200 / 10, abs=4)
    assert active[0] == 10


def test_camera_noise_is_still_or_touched_only() -> None:
    tested = activity()
    rng = np.random.default_rng(0)
    states = []
    for _ in range(20):
        states.append(tested.update((flat(100) + rng.normal(0, 2, (32, 48, 3))).astype(np.uint8)))
        states[-1] = states[-1].copy()
    assert (np.array(states[1:]) != ACTIVE).all()


def test_a_thin_thing_leaves_nothing_behind() -> None:
    """One column of low contrast: never active, touched while it comes and when it has gone."""
    tested = activity(overlay=1)
    tested.update(flat(100))
    thin = flat(100)
    thin[:, 20] = 108  # 14 levels of distance: below 16, more than the overlay may be out of date
    came = tested.update(thin).copy()
    assert (came[:, 2] == TOUCHED).all()
    assert (came != ACTIVE).all()
    gone = tested.update(flat(100)).copy()
    assert (gone[:, 2] == TOUCHED).all()
    assert (tested.update(flat(100)) == STILL).all()


def test_what_is_too_small_to_be_noticed_leaves_nothing_behind_for_long() -> None:
    tested = activity(overlay=0.5)
    ground = flat(100)
    with_dot = ground.copy()
    with_dot[18, 21] += 5  # of the cell in row 2, column 2
    tested.update(with_dot)
    touched = [tested.update(ground).copy() for _ in range(300)]
    assert [(state != STILL).sum() for state in touched].count(1) == 1
    found = next(number for number, state in enumerate(touched) if (state != STILL).any())
    assert found < 128
    assert touched[found][2, 2] == TOUCHED


def test_nothing_is_touched_without_overlay() -> None:
    tested = activity(overlay=0)
    tested.update(flat(100))
    thin = flat(100)
    thin[:, 20:23] = 250
    assert (tested.update(thin) == STILL).all()


def test_all_is_active_above_a_threshold_of_zero() -> None:
    tested = activity(threshold=0)
    tested.update(flat(100))
    assert (tested.update(flat(101)) == ACTIVE).all()
    assert (tested.update(flat(101)) == STILL).all()
