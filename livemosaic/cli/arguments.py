"""Arguments of the parser: options from their table, and names of files."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from typing import Any

from ..control.options import OPTIONS
from ..option import Option, text_of

# How each shell completes the name of a file; `livemosaic completion` fills it with shtab's.
FILE_COMPLETION: dict[str, Any] = {}


def completed_as_file(action: argparse.Action) -> None:
    """Let tab completion offer names of files for an argument."""
    action.complete = FILE_COMPLETION  # type: ignore[attr-defined]  # read by shtab


def add_options(
    parser: argparse.ArgumentParser,
    names: Collection[str] | None = None,
    *,
    table: Iterable[Option] = OPTIONS,
) -> None:
    """Add options of a table to a parser; those that were not typed are None."""
    groups: dict[str, Any] = {}
    for known in table:
        if names is not None and known.name not in names:
            continue
        if known.group not in groups:
            groups[known.group] = parser.add_argument_group(f"{known.group} options")
        settings: dict[str, Any] = {"dest": known.name, "help": _help(known)}
        if known.is_switch:
            settings |= {"action": "store_const", "const": True}
        elif known.choices:
            settings["choices"] = known.choices
        else:
            settings["metavar"] = known.metavar
        if known.several:
            settings["action"] = "append"
        flags = filter(None, (known.short, known.flag))
        action = groups[known.group].add_argument(*flags, **settings)
        if known.is_path:
            completed_as_file(action)


def _help(known: Option) -> str:
    text = known.help.replace("%", "%%")
    if known.is_switch or known.default is None:
        return text
    return f"{text} (default: {text_of(known.default)})"
