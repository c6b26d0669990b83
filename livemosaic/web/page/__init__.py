"""The pages: HTML, CSS and scripts, which make documents without foreign addresses."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent


def page_and_policy(name: str, title: str) -> tuple[str, str]:
    """A page's document, and a content security policy that lets only its script and style run."""
    html = _text("frame.html").replace("<!-- title -->", title)
    html = html.replace("<!-- body -->\n", _text(f"{name}.html"))
    style = _text("common.css") + _text(f"{name}.css")
    script = _text("common.js") + _text(f"{name}.js")
    html = html.replace("/* style */", style).replace("/* script */", script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return html, policy


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
