"""The options: bounds, precedence, the settings file and everything that can be wrong with it."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from livemosaic.control.options import OPTIONS, PROFILES, add_options, resolve
from livemosaic.errors import UsageError
from livemosaic.parse import reconnect_attempts


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """A function that writes a settings file."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "settings.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_defaults() -> None:
    values = resolve({})
    assert values["gallery"] == "photos"
    assert values["overlay"] == 0.2
    assert values["match"] == "layout"
    assert values["tile"] is None  # depends on the input
    assert values["realtime"] is False
    assert values["round_up"] is False
    assert set(values) == {option.name for option in OPTIONS} | {"round_up"}


def test_the_reference_profile_is_the_notebook() -> None:
    values = resolve({"profile": "reference"})
    expected = {
        "scale": 4, "tile": 32, "palette": 150, "activity": 16, "overlay": 0.5,
        "match": "clusters", "tint": 0, "overlay_luma": False, "round_up": True,
        "columns": None, "size": None,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected


def test_profiles_hold_values_that_options_take() -> None:
    for profile in PROFILES.values():
        for option in OPTIONS:
            if option.name in profile:
                assert option.read(profile[option.name]) == profile[option.name]


def test_the_command_line_goes_before_the_file_before_the_profile(settings: Any) -> None:
    file = settings('[run]\nprofile = "reference"\noverlay = 0.25\nseed = 7\n')
    values = resolve({"seed": "9", "gallery": None}, file=file)
    assert (values["seed"], values["overlay"], values["palette"]) == (9, 0.25, 150)
    assert values["tile"] == 32
    assert resolve({"profile": "default"}, file=file)["tile"] is None


@pytest.mark.parametrize(
    ("filed", "said", "expected"),
    [
        ("columns = 20", {}, {"columns": 20, "tile": None, "scale": 4, "round_up": False}),
        ("columns = 20", {"columns": "40"}, {"columns": 40, "tile": None}),
        ("columns = 20", {"tile": "16"}, {"columns": None, "tile": 16}),
        ("", {"tile": "16", "columns": "40"}, {"columns": 40, "tile": 16, "scale": None}),
        ("", {"size": "640x480"}, {"size": (640, 480), "scale": None, "round_up": False}),
        ("size = '640x480'", {"scale": "2"}, {"size": None, "scale": 2, "round_up": True}),
    ],
)
def test_of_two_that_exclude_each_other_the_nearer_counts(
    filed: str, said: dict[str, str], expected: dict[str, Any], settings: Any
) -> None:
    values = resolve(said, file=settings(f"[run]\nprofile = 'reference'\n{filed}\n"))
    assert {name: values[name] for name in expected} == expected


def test_every_option_can_stand_in_the_file(settings: Any) -> None:
    good = {
        "gallery": '"~/Pictures"', "profile": '"reference"', "tile": "16", "columns": "20",
        "scale": "2.5", "size": '"640x480"', "match": '"clusters"', "palette": "99",
        "tint": "0.5", "calm": "0.25", "variety": "0.75", "min_distance": "2", "max_uses": "9",
        "overlay_luma": "true",
        "overlay": "0.25", "activity": "8", "seed": "3", "fps": '"30000/1001"', "duration": "1.5",
        "max_latency": "80", "capture": '"640x480@15"', "reconnect": "3",
        "realtime": "true", "codec": '"ffv1"', "preset": '"fast"', "crf": "20", "format": '"y4m"',
    }  # fmt: skip
    assert set(good) == {option.name for option in OPTIONS}
    values = resolve(
        {}, file=settings("[run]\n" + "\n".join(f"{k} = {v}" for k, v in good.items()))
    )
    assert values["fps"] == Fraction(30000, 1001)
    assert values["size"] == (640, 480)
    assert values["realtime"] is True
    assert values["capture"] == (640, 480, Fraction(15))
    assert values["reconnect"] == "3"
    assert values["duration"] == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile", "3"), ("tile", "513"), ("tile", "32.5"), ("tile", "x"), ("tile", ""),
        ("columns", "0"), ("scale", "0"), ("scale", "101"), ("scale", "1/0"),
        ("size", "640"), ("size", "640x"), ("size", "x480"), ("size", "axb"),
        ("match", "nearest"), ("palette", "0"), ("overlay", "1.01"), ("overlay", "-0.1"),
        ("max_latency", "0"), ("capture", "640"), ("capture", "640x480@0"), ("capture", "0x1"),
        ("reconnect", "-1"), ("reconnect", "often"), ("reconnect", "1" * 5000),
        ("overlay", "nan"), ("overlay", "inf"), ("overlay", "1e999"), ("activity", "256"),
        ("overlay", "1e999999999"), ("overlay", "1e-999999999"), ("fps", "1e999999999"),
        ("columns", "1" * 5000), ("scale", "1" * 5000), ("capture", "640x480@1e999999999"),
        ("size", "1" * 5000 + "x2"), ("crf", "inf"), ("duration", "nan"),
        ("seed", "-1"), ("seed", str(2**63)), ("fps", "0"), ("fps", "1001"), ("fps", "30/0"),
        ("duration", "0"), ("crf", "-1"), ("format", "mp4"), ("profile", "nope"), ("codec", ""),
    ],
)  # fmt: skip
def test_values_that_make_no_sense(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"--{name.replace('_', '-')} .*expected "):
        resolve({name: value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\ntiles = 3\n", "unknown: tiles"),
        ("[run]\ntile = 'abc'\n", "tile = 'abc': expected a whole number, from 4 to 512"),
        ("[run]\ntile = true\n", "tile = True: expected a whole number"),
        ("[run]\ntile = 32.5\n", "tile = 32.5: expected a whole number"),
        ("[run]\ngallery = 5\n", "gallery = 5: expected a word"),
        ("[run]\nrealtime = 'yes'\n", "realtime = 'yes': expected true or false"),
        ("[run]\nsize = [640, 480]\n", "expected WIDTHxHEIGHT"),
        ("[run]\noverlay = {a = 1}\n", "expected a number"),
        ("tile = 3\n", "unknown: tile; .*under \\[run\\]"),
        ("run = 3\n", "run is not a table"),
        ("[run\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("[run]\noverlay = '1e999999999'\n", "overlay = '1e999999999': expected a number"),
        ("[run]\ncolumns = " + "1" * 5000, "a number is too long"),
        ("[run]\ncolumns = 0x" + "f" * 5000, "columns = a very long number: expected"),
        ("[run]\ntile = " + "[" * 20_000, "nested too deeply"),
        ("[run]\ntile" + ".a" * 2_000 + " = 1", "tile = {'a': .*: expected a whole number"),
        ("[run]\ntile = '" + "x" * 5000 + "'", "expected a whole number"),
        ("[run]\n" + "x" * 5000 + " = 1", "unknown: xxx"),
        ('[run]\ngallery = "a\\u0000b"', "expected a word"),
    ],
    ids=lambda text: text[:30],
)
def test_settings_that_cannot_be_used(text: str, says: str, settings: Any) -> None:
    file = settings(text)
    with pytest.raises(UsageError, match=says) as caught:
        resolve({}, file=file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_settings_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: "):
        resolve({}, file=tmp_path / name)


def test_the_bounds_of_a_rate_are_allowed_themselves() -> None:
    assert resolve({"fps": "0.01"})["fps"] == Fraction(1, 100)
    assert resolve({"fps": "1000"})["fps"] == 1000
    with pytest.raises(UsageError, match=r"from 0\.01 to 1000"):
        resolve({"fps": "0.0099"})


@pytest.mark.parametrize("value", ["0", "7", "never", "always"])
def test_the_options_and_the_sources_know_the_same_tries(value: str, settings: Any) -> None:
    text = f"[run]\nreconnect = {value if value.isdigit() else repr(value)}\n"
    for values in (resolve({"reconnect": value}), resolve({}, file=settings(text))):
        assert reconnect_attempts(values["reconnect"]) == reconnect_attempts(value)


def test_a_byte_order_mark_is_no_mistake(settings: Any) -> None:
    assert resolve({}, file=settings(b"\xef\xbb\xbf[run]\r\nseed = 7\r\n"))["seed"] == 7


def test_an_empty_file_changes_nothing(settings: Any) -> None:
    assert resolve({}, file=settings("")) == resolve({})


def test_add_options_leaves_what_is_not_given_open() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert set(vars(parser.parse_args([])).values()) == {None}
    args = parser.parse_args(["--overlay", "0.25", "--realtime"])
    assert resolve(vars(args))["overlay"] == 0.25
    assert resolve(vars(args))["realtime"] is True


def test_large_bounds_are_said_in_full() -> None:
    with pytest.raises(UsageError, match=r"--seed x: .*, from 0 to 9223372036854775807$"):
        resolve({"seed": "x"})
