"""The subcommand `completion`: prints a script for tab completion."""

from __future__ import annotations

import argparse
from typing import Any

from ..arguments import FILE_COMPLETION
from ..console import print_text

SHELLS = ("bash", "zsh", "fish")

_HOW = """\
how to turn it on:
  bash   livemosaic completion bash > ~/.local/share/bash-completion/completions/livemosaic
  zsh    livemosaic completion zsh > ~/.zfunc/_livemosaic, with fpath+=~/.zfunc before compinit
         in ~/.zshrc
  fish   livemosaic completion fish > ~/.config/fish/completions/livemosaic.fish
"""


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "completion",
        help="print a script for tab completion in a shell",
        description="Prints a script with which the Tab key completes subcommands, options and "
        "files.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_HOW,
        **settings,
    )
    parser.add_argument("shell", choices=SHELLS, help="your shell")


def run(args: argparse.Namespace) -> int:
    import shtab

    from ..app import make_parser

    FILE_COMPLETION.update(shtab.FILE)
    print_text(shtab.complete(make_parser(), args.shell))
    return 0
