"""Galleries of up to a million tiles, and work on several processes: time, memory and cost.

    python -m bench.scale make --work FOLDER [--photos WALLPAPERS]
    python -m bench.scale match --work FOLDER --clip CLIP
    python -m bench.scale open --work FOLDER
    python -m bench.scale live --work FOLDER --clip CLIP
    python -m bench.scale films --work FOLDER --clip CLIP
    python -m bench.scale build --work FOLDER --crops CROPS
    python -m bench.scale engine --work FOLDER
    python -m bench.scale plot --work FOLDER

FOLDER keeps the galleries, and what was measured, each command's in a JSON file; `plot` draws it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import build, engine, films, live, make, match, opening, plot

# A module each, with `add_arguments` and `main`; its docstring is the help.
COMMANDS = {
    "make": make,
    "match": match,
    "open": opening,
    "live": live,
    "films": films,
    "build": build,
    "engine": engine,
    "plot": plot,
}


def main() -> None:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench.scale", description=__doc__, formatter_class=kind)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = module.__doc__ or ""
        command = commands.add_parser(
            name, help=text.partition("\n")[0], description=text, formatter_class=kind
        )
        command.add_argument("--work", type=Path, required=True, metavar="FOLDER")
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    args = parser.parse_args()
    args.main(args)


if __name__ == "__main__":
    main()
