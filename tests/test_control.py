"""The live state: what may change, what is refused, and requests that are taken once."""

from __future__ import annotations

from typing import Any

import pytest

from livemosaic.control.state import LIVE_OPTIONS, Control, LiveState
from livemosaic.errors import OptionError, UsageError
from livemosaic.mosaic.settings import MosaicSettings

START = LiveState(MosaicSettings(tint=0.3))


def test_fields_of_state_and_settings_change_together() -> None:
    control = Control(START)
    control.change(overlay=0.25, mirror=True, max_latency_s=0.05)
    assert control.state == LiveState(
        MosaicSettings(tint=0.3, overlay=0.25), mirror=True, max_latency_s=0.05
    )
    control.change(settings=MosaicSettings(calm=0.1), tint=0.2, max_latency_s=None)
    assert control.state == LiveState(MosaicSettings(calm=0.1, tint=0.2), mirror=True)


@pytest.mark.parametrize("known", LIVE_OPTIONS.values(), ids=LIVE_OPTIONS)
def test_every_live_option_can_be_set(known: Any) -> None:
    control = Control(LiveState())
    control.change(**{known.field: known.default})
    assert control.state == LiveState()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("overlay", 1.5), ("overlay", "0.5"), ("overlay", None), ("match", "nonsense")),
        *(("mirror", 1), ("max_latency_s", 0.0), ("max_latency_s", "fast"), ("gallery", "")),
    ],
)
def test_a_value_that_is_not_valid_changes_nothing(name: str, value: object) -> None:
    control = Control(START)
    with pytest.raises(OptionError) as caught:
        control.change(**{"freeze": True, name: value})
    assert caught.value.option == name
    assert control.state == START


@pytest.mark.parametrize("name", ["size", "round_up", "thorough", "nonsense"])
def test_other_names_cannot_change(name: str) -> None:
    control = Control(START)
    with pytest.raises(UsageError, match=name):
        control.change(tint=0.5, **{name: True})
    assert control.state == START


def test_requests_and_messages_are_taken_once() -> None:
    control = Control()
    assert not control.snapshot_requested
    control.request_snapshot()
    assert control.snapshot_requested
    assert (control.take_snapshot_request(), control.take_snapshot_request()) == (True, False)
    control.notify("first")
    control.notify("second")
    assert (control.take_message(), control.take_message()) == ("second", "")
