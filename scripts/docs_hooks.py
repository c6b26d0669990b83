"""Fills the documentation with facts that stand in the code: options, keys, rooms, whole files.

A page asks for one with a line of its own:

    [include: README.md](../README.md)    a file of the repository, with links that work on the site
    [section: README.md](../README.md)    the same with its headings one level lower
    {{ options mosaic }}                  a group of the options of `run`
    {{ usage gallery build }}             the help of a subcommand

Small facts are part of the page, so that it can be read without the site. They stand between the
comments `<!-- made from the code: keys -->` and `<!-- end -->`. `python scripts/docs_hooks.py`
writes them again:

    rooms           each folder of the package with the first sentence of its docstring
    keys            the keys of the window
    actions         what keys, HTTP and OSC do alike
    inputs          each kind of input with examples
    outputs         each kind of output with examples
    profiles        each profile with the options that it sets
    live_options    the options that may change while a run goes on

MkDocs calls `on_page_markdown`; mkdocstrings uses `PlainDescriptions`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from livemosaic.option import Option

ROOT = Path(__file__).resolve().parent.parent

# Files outside of docs/ that have a page on the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "measurements.md",
    "LICENSE": "credits.md",
    "livemosaic/gallery/data/photos-CREDITS.md": "credits.md#photos",
    "livemosaic/gallery/data/emoji-CREDITS.md": "credits.md#emoji",
    "livemosaic/demo/CREDITS.md": "credits.md#clip",
}

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")
_INCLUDE = re.compile(r"^\[(include|section): (\S+)\]\(\S+\)$", re.MULTILINE)
_ASKED = re.compile(r"^\{\{ (\w+) ([^}]+?) \}\}$", re.MULTILINE)
_WRITTEN = re.compile(r"(<!-- made from the code: (\w+) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the facts that a page asks for."""
    for pattern in (_ASKED, _INCLUDE):
        markdown = pattern.sub(lambda match: FACTS[match[1]](match[2]).rstrip(), markdown)
    return markdown


def rewritten(markdown: str) -> str:
    """A page with its small facts as they are in the code now."""
    return _WRITTEN.sub(lambda match: match[1] + FACTS[match[2]]("") + match[3], markdown)


# ---- facts -------------------------------------------------------------------------------


def include(name: str) -> str:
    """A file of the repository as Markdown, with its links made to fit the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return text if name == "LICENSE" else site_links(text, folder=posixpath.dirname(name))


def section(name: str) -> str:
    """The same with its headings one level lower, as a part of a page."""
    return re.sub(r"^(#+ )", r"#\1", include(name), flags=re.MULTILINE)


def site_links(text: str, *, folder: str) -> str:
    """Markdown whose relative links, written for a file in `folder`, work on the site.

    A link to a file without a page becomes its text.
    """

    def site_link(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        label = _LINK.sub(site_link, label)
        if re.match(r"[a-z]+:|#", target):
            return f"{mark}[{label}]({target})"
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        if path.startswith("docs/"):
            page = path.removeprefix("docs/")
        elif path in PAGES:
            page = PAGES[path]
        else:
            return label
        return f"{mark}[{label}]({page}{'#' + anchor if anchor else ''})"

    return _LINK.sub(site_link, text)


def rooms(_: str) -> str:
    """Each folder of the package, and what it is for."""
    package = ROOT / "livemosaic"
    lines = ["| folder | what is in it |", "|---|---|"]
    for folder, sentence in room_sentences(package):
        lines.append(f"| `{folder.relative_to(package).as_posix()}/` | {sentence} |")
    return "\n".join(lines)


def room_sentences(package: Path) -> Iterator[tuple[Path, str]]:
    """Each folder with the first paragraph of its docstring."""
    for init in sorted(package.rglob("__init__.py")):
        if init.parent != package:
            docstring = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
            yield init.parent, " ".join(docstring.partition("\n\n")[0].split())


def keys(_: str) -> str:
    """The keys of the window."""
    from livemosaic.window.keys import KEYS

    lines = ["| key | also | what it does |", "|---|---|---|"]
    for key in KEYS:
        others = [name for name in key.names if name != key.shown and len(key.names) < 9]
        also = ", ".join(f"`{name}`" for name in others)
        lines.append(f"| `{key.shown}` | {also} | {key.help} |")
    return "\n".join(lines)


def actions(_: str) -> str:
    """What keys, HTTP and OSC do alike."""
    from livemosaic.control.actions import ACTIONS

    lines = ["| action | what it does |", "|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {its.help} |" for name, its in ACTIONS.items()])


def inputs(_: str) -> str:
    """Each kind of input with examples."""
    from livemosaic.sources import input_examples

    return _examples("input", input_examples())


def outputs(_: str) -> str:
    """Each kind of output with examples."""
    from livemosaic.cli import app  # noqa: F401  (the window registers its kind)
    from livemosaic.sinks import output_examples

    return _examples("output", output_examples())


def _examples(heading: str, examples: dict[str, str]) -> str:
    lines = [f"| {heading} | examples |", "|---|---|"]
    for name, text in examples.items():
        lines.append(f"| {name} | {', '.join(f'`{word}`' for word in text.split())} |")
    return "\n".join(lines)


def profiles(_: str) -> str:
    """Each profile with the options that it sets."""
    from livemosaic.mosaic.settings import PROFILES

    lines = ["| profile | options that it sets |", "|---|---|"]
    for name, values in PROFILES.items():
        options = ", ".join(
            f"`--{option.replace('_', '-')} {value:g}`"
            if isinstance(value, float)
            else f"`--{option.replace('_', '-')} {value}`"
            for option, value in values.items()
            if option != "round_up"
        )
        lines.append(f"| `{name}` | {options or 'none: each option has its own default'} |")
    return "\n".join(lines)


def live_options(_: str) -> str:
    """The options that may change while a run goes on."""
    from livemosaic.control.options import OPTIONS

    return ", ".join(f"`{option.name}`" for option in OPTIONS if option.live)


def options(group: str) -> str:
    """The options of `run` in a group: mosaic, gallery, input, output or program."""
    from livemosaic.control.options import OPTIONS
    from livemosaic.option import text_of

    lines = ["| option | meaning | values | default | live |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        if option.group != group:
            continue
        names = ", ".join(f"`{name}`" for name in (option.short, option.flag) if name)
        if option.metavar and not option.choices:
            names += f" `{option.metavar}`"
        default = "" if option.is_switch or option.default is None else text_of(option.default)
        live = "yes" if option.live else ""
        lines.append(f"| {names} | {option.help} | {_values(option)} | {default} | {live} |")
    return "\n".join(lines)


def _values(option: Option) -> str:
    """The values that an option takes, as far as they are limited."""
    low, high = option.low, option.high
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if low is None:
        return ""
    if 0 < low < 0.01:
        return "above 0"  # how far does not matter
    if high is None or high >= 100_000:
        return f"{float(low):g} or more"
    return f"{float(low):g} to {float(high):g}"


def usage(words: str) -> str:
    """The help of a subcommand."""
    program = [sys.executable, "-m", "livemosaic", *words.split(), "--help"]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "90", "NO_COLOR": "1"},
    )
    return f"```text\n{done.stdout}```"


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each subcommand by its words, such as "gallery build"."""
    from livemosaic.cli.app import make_parser

    found: dict[str, argparse.ArgumentParser] = {}

    def walk(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> None:
        found[" ".join(words)] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, sub in action.choices.items():
                    walk(sub, (*words, word))

    walk(make_parser(), ())
    return found


FACTS: dict[str, Callable[[str], str]] = {
    "include": include,
    "section": section,
    "rooms": rooms,
    "keys": keys,
    "actions": actions,
    "profiles": profiles,
    "inputs": inputs,
    "live_options": live_options,
    "options": options,
    "outputs": outputs,
    "usage": usage,
}


# ---- docstrings --------------------------------------------------------------------------

_SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
_ITEM = re.compile(r"([\w*][\w*., ]*?) : (.+)")


class PlainDescriptions(griffe.Extension):
    """Reads docstrings that say `name : description` on one line, because types are annotations.

    The NumPy style has the type in this place and the description below.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Move the descriptions of an object's docstring below their names."""
        if obj.docstring is not None:
            obj.docstring.value = below(inspect.cleandoc(obj.docstring.value))


def below(text: str) -> str:
    """A docstring in the NumPy style, of one that says `name : description`."""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        if re.fullmatch(r"-{3,}", line) and lines and lines[-1] in _SECTIONS:
            section = lines[-1]
        elif not line:
            section = ""
        elif section and (match := _ITEM.fullmatch(line)):
            # Without a colon, a result's name would be its type.
            name = match[1] + (" :" if section in ("Returns", "Yields") else "")
            line = f"{name}\n    {match[2]}"
        elif section in ("Returns", "Yields") and not line.startswith(" "):
            # A description alone; its type is the annotation.
            line = f"{'' if lines[-1].startswith('    ') else ':' + chr(10)}    {line}"
        lines += line.split("\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for page in (ROOT / "docs").glob("*.md"):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
