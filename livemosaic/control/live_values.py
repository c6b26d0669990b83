"""Live options as plain values by name, for those who change them from another program.

Names, types and bounds are those of the table of options. A value is what JSON has: a number, a
text, true or false, or a list of texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OptionError, UsageError, as_written, did_you_mean
from ..mosaic.grid import fixed_grid
from ..mosaic.match import unused_by
from ..option import Option, text_of
from .ignored_options import NO_WINDOW, WINDOW_OPTIONS
from .options import OPTIONS
from .state import LIVE_OPTIONS, OUTSIDE_WORDS, Control, colour_of, is_picture_file

# By the name that users know; a profile is a set of values of the others.
LIVE_VALUES: Mapping[str, Option] = {
    "profile": next(known for known in OPTIONS if known.name == "profile"),
    **{known.name: known for known in LIVE_OPTIONS.values()},
}

# The output keeps its size: a change of these fields is planned for it.
_GRID = ("tile_px", "columns")


def live_values(control: Control) -> dict[str, Any]:
    """The current value of each live option, by name."""
    state = control.state
    values: dict[str, Any] = {"profile": control.profile}
    for name, known in LIVE_VALUES.items():
        if name != "profile":
            owner = state if hasattr(state, known.field) else state.settings
            values[name] = _plain(getattr(owner, known.field))
    grid = fixed_grid(state.settings, tile_px=state.settings.tile_px)
    return values | {"tile": _plain(grid.tile_px), "columns": grid.columns}


def counted_values(control: Control) -> tuple[int, dict[str, Any]]:
    """`Control.changes`, and `live_values` that include so many, at least."""
    changes = control.changes  # first: meanwhile another thread may change the state
    return changes, live_values(control)


def offered(control: Control, name: str) -> tuple[Any, ...]:
    """The only values that an option takes here, beside a colour; empty if there are others.

    A path would let another person look into every folder of this computer: only those that the run
    was started with can be named.
    """
    if name == "profile":
        return control.profiles
    if name == "gallery":
        return tuple(map(_plain, control.galleries))
    if name == "outside":
        return tuple(dict.fromkeys((*OUTSIDE_WORDS, *_files_outside(control))))
    return LIVE_VALUES[name].choices


def change_values(control: Control, values: Mapping[str, object]) -> None:
    """Change live options by name, all at once.

    Raises
    ------
    UsageError : a name or value is not valid; nothing is changed
    """
    with as_written({known.field: name for name, known in LIVE_VALUES.items()}):
        control.change(**_fields(control, values))


def _fields(control: Control, values: Mapping[str, object]) -> dict[str, Any]:
    """The fields of a change, by the names of `Control.change`."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        known = LIVE_VALUES.get(name)
        if known is None:
            hint = did_you_mean(name, LIVE_VALUES) or f"there are {', '.join(LIVE_VALUES)}"
            raise UsageError(f"{name}: it cannot change while it runs; {hint}")
        is_text = known.kind.json == "string" or known.kind.pattern
        if isinstance(value, str) and not is_text:
            raise known.error(value)
        fields[known.field] = known.read(value)
        _refuse_foreign(control, known, fields[known.field])
    planned = {name: fields.pop(name) for name in _GRID if name in fields}
    if len(planned) > 1:
        raise UsageError("tile and columns exclude each other; use one of them")
    if planned:
        grid = fixed_grid(control.state.settings, **planned, fine=fields.get("fine"))
        fields["tile_px"] = grid.tile_px
    return fields


def unused(control: Control) -> dict[str, str]:
    """Why options have no effect now, by their names."""
    match = control.state.settings.match
    reasons = dict.fromkeys(sorted(unused_by(match)), f"match {match} does not use it")
    return reasons if control.has_window else reasons | dict.fromkeys(WINDOW_OPTIONS, NO_WINDOW)


def _files_outside(control: Control) -> tuple[str, ...]:
    now = {control.state.outside, control.outside_at_start}
    return tuple(sorted(filter(is_picture_file, now)))


def _refuse_foreign(control: Control, known: Option, value: Any) -> None:
    """Raise `OptionError` for a value that is not among those that are offered."""
    choices = offered(control, known.name)
    if not choices or _plain(value) in choices:
        return
    words = f"one of {', '.join(map(text_of, choices))}"
    if known.name == "outside":
        try:
            colour_of(value)
            return
        except ValueError:
            words += ", or a colour such as #20a060"
    raise OptionError(known.field, value, f"must be {words}")


def _plain(value: Any) -> Any:
    """A value as JSON has it: several texts are a list, other tuples their text."""
    if not isinstance(value, tuple):
        return value
    is_texts = all(isinstance(part, str) for part in value)
    return list(value) if is_texts else text_of(value)
