"""The options: bounds, precedence, settings files and everything that can be wrong with them."""

from __future__ import annotations

import argparse
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from livemosaic.cli.arguments import add_options
from livemosaic.control.options import (
    OPTIONS,
    RunOptions,
    explicit_options,
    message,
    read_settings_file,
    resolve,
)
from livemosaic.errors import OptionError, UsageError
from livemosaic.mosaic.settings import PROFILES, MosaicSettings
from livemosaic.option import Option, options_of
from livemosaic.parse import reconnect_attempts

FILED = [option for option in OPTIONS if option.filed]


def typed(**arguments: str) -> RunOptions:
    """The options for what was typed on the command line."""
    return resolve(explicit_options(arguments))


def another_value(option: Option) -> str:
    """A value that is not the default, as in a settings file."""
    if option.is_switch:
        return "true"
    if option.choices:
        return repr(next(choice for choice in option.choices if choice != option.default))
    if option.low is not None and option.kind.metavar in ("N", "X"):
        high = option.low + 100 if option.high is None else option.high
        middle = option.low + (high - option.low) / 4
        return str(int(middle)) if option.kind.metavar == "N" else f"{middle:g}"
    return "'8080'" if option.name in ("web", "osc") else "'emoji'"


def values(options: RunOptions) -> dict[str, Any]:
    """All values by the names of the options."""
    mosaic = {option.name: getattr(options.mosaic, option.field) for option in MOSAIC}
    rest = (option for option in OPTIONS if option.name not in mosaic)
    return mosaic | {option.name: getattr(options, option.field) for option in rest}


MOSAIC = options_of(MosaicSettings)


def filed(*texts: str | bytes) -> dict[Path, bytes]:
    """Settings files with these texts."""
    return {
        Path(f"/{number}.toml"): text if isinstance(text, bytes) else text.encode()
        for number, text in enumerate(texts)
    }


def test_defaults() -> None:
    options = resolve({})
    assert options.gallery == "photos"
    assert options.mosaic == MosaicSettings()
    assert options.mosaic.tile_px is None  # depends on the input
    assert values(options) == {option.name: option.default for option in OPTIONS}


def test_every_field_of_the_mosaic_is_an_option_or_for_programs() -> None:
    fields = set(MosaicSettings.__dataclass_fields__)
    programs = {"round_up", "for_screen", "full_size", "thorough", "unhurried"}
    assert fields - programs == {option.field for option in MOSAIC}
    assert {option.name for option in MOSAIC} < {option.name for option in OPTIONS}


def test_the_reference_profile_is_the_notebook() -> None:
    assert typed(profile="reference").mosaic == MosaicSettings(
        scale=4, tile_px=32, palette=150, activity=16, overlay=0.5, match="clusters", tint=0,
        round_up=True,
    )  # fmt: skip


def test_profiles_hold_values_that_options_take() -> None:
    for profile in PROFILES.values():
        for option in OPTIONS:
            if option.name in profile:
                assert option.read(profile[option.name]) == profile[option.name]


def test_precedence() -> None:
    texts = filed(
        "[run]\nprofile = 'reference'\noverlay = 0.25\nseed = 7\ntint = 0.5",
        "[run]\noverlay = 0.75\nseed = 8",
    )
    mosaic = resolve(explicit_options({"seed": "9", "gallery": None}), texts).mosaic
    assert (mosaic.seed, mosaic.overlay, mosaic.tint, mosaic.palette) == (9, 0.75, 0.5, 150)
    assert mosaic.tile_px == 32
    assert resolve({"profile": "default"}, texts).mosaic.tile_px is None


def test_the_file_of_an_option_is_known() -> None:
    first, second = texts = filed("[run]\noverlay = 0.25\ntint = 1\nseed = 3", "[run]\ntint = 0.5")
    assert resolve({"seed": 1}, texts).files == {"overlay": first, "tint": second}


@pytest.mark.parametrize(
    ("text", "explicit", "expected"),
    [
        ("columns = 20", {}, {"columns": 20, "tile_px": None, "scale": 4, "round_up": False}),
        ("columns = 20", {"columns": "40"}, {"columns": 40, "tile_px": None}),
        ("columns = 20", {"tile": "16"}, {"columns": None, "tile_px": 16}),
        ("", {"tile": "16", "columns": "40"}, {"columns": 40, "tile_px": 16, "scale": None}),
        ("", {"size": "640x480"}, {"size": (640, 480), "scale": None, "round_up": False}),
        ("size = '640x480'", {"scale": "2"}, {"size": None, "scale": 2, "round_up": True}),
    ],
)
def test_of_two_that_exclude_each_other_the_nearer_counts(
    text: str, explicit: dict[str, str], expected: dict[str, Any]
) -> None:
    texts = filed(f"[run]\nprofile = 'reference'\n{text}\n")
    mosaic = resolve(explicit_options(explicit), texts).mosaic
    assert {name: getattr(mosaic, name) for name in expected} == expected


def test_every_option_can_stand_in_the_file() -> None:
    good = {option.name: another_value(option) for option in FILED} | {
        "size": '"640x480"', "fps": '"30000/1001"', "capture": '"640x480@15"', "reconnect": "3",
        "duration": "1.5", "tile": "128",
    }  # fmt: skip
    options = resolve({}, filed("[run]\n" + "\n".join(f"{k} = {v}" for k, v in good.items())))
    assert options.fps == Fraction(30000, 1001)
    assert options.mosaic.size == (640, 480)
    assert options.realtime is True
    assert options.capture == (640, 480, Fraction(15))
    assert options.reconnect == "3"
    assert options.duration == 1.5
    assert set(options.files) == set(good)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile", "3"), ("tile", "513"), ("tile", "32.5"), ("tile", "x"), ("tile", ""),
        ("columns", "0"), ("scale", "0"), ("scale", "1e6"), ("scale", "1/0"),
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
    with pytest.raises(OptionError) as caught:
        explicit_options({name: value})
    flag = f"--{name.replace('_', '-')}"
    assert message(caught.value).startswith(f"{flag} {value[:200]}")
    assert ": must be " in message(caught.value)


def test_an_error_names_the_field_the_flag_or_the_file() -> None:
    with pytest.raises(OptionError) as caught:
        MosaicSettings(min_distance=500)
    problem = "must be a whole number from 0 to 100"
    assert str(caught.value) == f"min_distance 500: {problem}"
    assert message(caught.value) == f"--min-distance 500: {problem}"
    files = {"min_distance": Path("s.toml")}
    assert message(caught.value, files) == f"s.toml: min_distance = 500: {problem}"


def test_a_field_with_another_name_is_named_as_the_option() -> None:
    error = OptionError("tile_px", 33, "must be even")
    assert message(error) == "--tile 33: must be even"
    assert message(error, {"tile": Path("s.toml")}) == "s.toml: tile = 33: must be even"
    assert message(OptionError("size", (3, 4), "must be even")) == "--size 3x4: must be even"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[run]\ntiles = 3\n", r"unknown: tiles; did you mean tile\?"),
        ("[run]\ntile = 'abc'\n", "tile = 'abc': must be an even number from 4 to 512"),
        ("[run]\ntile = true\n", "tile = True: must be an even number"),
        ("[run]\ntile = 32.5\n", "tile = 32.5: must be an even number"),
        ("[run]\ngallery = 5\n", "gallery = 5: must be text"),
        ("[run]\nrealtime = 'yes'\n", "realtime = 'yes': must be true or false"),
        ("[run]\nsize = [640]\n", "must be WIDTHxHEIGHT"),
        ("[run]\noverlay = {a = 1}\n", "must be a number"),
        ("tile = 3\n", "unknown: tile; .*under \\[run\\]"),
        ("run = 3\n", "run is not a table"),
        ("[run\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("[run]\noverlay = '1e999999999'\n", "overlay = '1e999999999': must be a number"),
        ("[run]\ncolumns = " + "1" * 5000, "a number is too long"),
        ("[run]\ncolumns = 0x" + "f" * 5000, "columns = a very long number: must be"),
        ("[run]\ntile = " + "[" * 20_000, "nested too deeply"),
        ("[run]\ntile" + ".a" * 2_000 + " = 1", "tile = {'a': .*: must be an even number"),
        ("[run]\ntile = '" + "x" * 5000 + "'", "must be an even number"),
        ("[run]\n" + "x" * 5000 + " = 1", "unknown: xxx"),
        ('[run]\ngallery = "a\\u0000b"', "must be text"),
        (
            "[run]\nmin_uses = 3\nmax_uses = 2\n",
            "min_uses = 3: must be at most 2, which is max_uses",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_settings_that_cannot_be_used(text: str | bytes, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        resolve({}, filed(text))
    assert str(caught.value).startswith("/0.toml: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_bounds_of_a_rate_are_allowed_themselves() -> None:
    assert typed(fps="0.01").fps == Fraction(1, 100)
    assert typed(fps="1000").fps == 1000
    with pytest.raises(OptionError, match=r"from 0\.01 to 1000"):
        typed(fps="0.0099")


@pytest.mark.parametrize("value", ["0", "7", "never", "always"])
def test_the_options_and_the_sources_know_the_same_attempts(value: str) -> None:
    text = f"[run]\nreconnect = {value if value.isdigit() else repr(value)}\n"
    for options in (typed(reconnect=value), resolve({}, filed(text))):
        assert reconnect_attempts(str(options.reconnect)) == reconnect_attempts(value)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert resolve({}, filed(b"\xef\xbb\xbf[run]\r\nseed = 7\r\n")).mosaic.seed == 7


def test_an_empty_file_changes_nothing() -> None:
    assert resolve({}, filed("")) == resolve({})


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_settings_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / name))):
        read_settings_file(tmp_path / name)


def test_a_size_may_be_two_numbers() -> None:
    assert resolve({}, filed("[run]\nsize = [640, 480]")).mosaic.size == (640, 480)


def test_add_options_leaves_open_what_was_not_typed() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert set(vars(parser.parse_args([])).values()) == {None}
    options = resolve(explicit_options(vars(parser.parse_args(["--overlay", ".25", "--realtime"]))))
    assert (options.mosaic.overlay, options.realtime) == (0.25, True)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_what_a_control_page_has_to_know(option: Any) -> None:
    assert option.help == " ".join(option.help.split())
    assert option.optional or option.read(option.default) == option.default
    assert not (option.keeps_tiles and not option.live)
    assert option.group in ("mosaic", "gallery", "input", "live", "output", "program")
    if not option.is_switch and not option.choices:
        assert option.metavar


def test_large_bounds_are_said_in_full() -> None:
    with pytest.raises(OptionError, match=r"from 0 to 9223372036854775807$"):
        typed(seed="x")


def test_a_typed_size_overrides_the_tile_and_columns_of_a_file(tmp_path: Path) -> None:
    texts = {tmp_path / "config.toml": b"[run]\ntile = 10\ncolumns = 20\n"}
    sized = resolve(explicit_options({"size": "320x180"}), texts).mosaic
    assert (sized.tile_px, sized.columns, sized.size) == (10, None, (320, 180))
    scaled = resolve(explicit_options({"scale": "2"}), texts).mosaic
    assert (scaled.tile_px, scaled.columns, scaled.scale) == (10, None, 2.0)
    both = resolve(explicit_options({"size": "320x180", "columns": "8"}), texts).mosaic
    assert (both.tile_px, both.columns, both.size) == (None, 8, (320, 180))
