"""QR codes of addresses, by segno of the extra `web`."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .colour import U8

if TYPE_CHECKING:
    import segno

QUIET = 4  # modules of white around a code: without them, many readers find none


@lru_cache(maxsize=4)
def _code(text: str) -> segno.QRCode:
    import segno

    # Nothing on a screen is dirty: larger modules are worth more than correction.
    return segno.make_qr(text, error="l")


def qr_pixels(text: str) -> U8:
    """The code with its quiet zone, a pixel for each module: uint8 (n, n), 0 and 255."""
    rows = [bytes(row) for row in _code(text).matrix_iter(border=QUIET)]
    dark = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    return np.where(dark, np.uint8(0), np.uint8(255))


def qr_svg(text: str) -> bytes:
    """The code with its quiet zone as an SVG picture that scales."""
    out = io.BytesIO()
    _code(text).save(out, kind="svg", border=QUIET, light="#fff", omitsize=True, nl=False)
    return out.getvalue()


def qr_lines(text: str) -> list[str]:
    """The code in half blocks, for a terminal with light text on a dark background."""
    out = io.StringIO()
    _code(text).terminal(out, border=QUIET, compact=True)
    return out.getvalue().splitlines()
