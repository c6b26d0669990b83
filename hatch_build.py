"""Build hook: adds a man page, made from the parser of the command line."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from argparse_manpage.manpage import Manpage
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MAN_PAGE = "share/man/man1/livemosaic.1"  # in the environment that the wheel is installed into


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the man page in a temporary folder while a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the page to the wheel's files."""
        self._folder = tempfile.mkdtemp()
        file = Path(self._folder, "livemosaic.1")
        file.write_text(man_page(self.root), encoding="utf-8")
        build_data["shared_data"][str(file)] = MAN_PAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder)


def man_page(root: str) -> str:
    """The man page in troff; the checkout is in the folder `root`."""
    sys.path.insert(0, root)
    from livemosaic import __version__
    from livemosaic.cli.app import make_parser  # needs no package beyond Python's own

    page = Manpage(make_parser(), {"manual_title": "User Commands", "version": __version__})
    page.description = "turn live video into photomosaics"
    return str(page)
