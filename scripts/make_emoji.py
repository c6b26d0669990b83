"""Make livemosaic/gallery/data/emoji.zip and its credits from the font Noto Color Emoji.

    python scripts/make_emoji.py [--font PATH] [--check]

Needs fontTools, and the font as the Debian package fonts-noto-color-emoji 2.042 installs it. With
the same opencv-python (5.0.0.93) and scikit-learn (1.9.1) the result is the same to the byte;
`--check` compares it with the committed files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import cv2
import numpy as np
from fontTools.ttLib import TTFont
from make_photos import deliver, pack  # first: it sets how NumPy computes

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")

SIDE = 96  # pixels of an image: its inner two thirds still fill a tile of 64
QUALITY = 80  # of WebP: 2.6 MB in all, where 90 takes 3.2 MB and looks the same at tile size

# Keys, digits and small squares leave the tile nearly empty (mean opacity, 0..255).
THIN = 30
# Of two emoji whose 16x16 thumbnails differ by less than this (mean of 0..255), the first is taken:
# clocks, moons, letters on the same square.
ALIKE = 6

CREDITS = """\
# Credits of the embedded emoji

`emoji.zip` holds bitmaps of the font **Noto Color Emoji** {version}, Copyright Google Inc.,
https://github.com/googlefonts/noto-emoji, under the **SIL Open Font License, Version 1.1**
which follows. They are scaled from 128 to {side} pixels and stored as WebP; the emoji of single
code points were taken, without skin tones, flags, and those that look like another one.

This Font Software is licensed under the SIL Open Font License,
Version 1.1.

This license is copied below, and is also available with a FAQ at:
http://scripts.sil.org/OFL

-----------------------------------------------------------
SIL OPEN FONT LICENSE Version 1.1 - 26 February 2007
-----------------------------------------------------------
PREAMBLE

The goals of the Open Font License (OFL) are to stimulate worldwide
development of collaborative font projects, to support the font
creation efforts of academic and linguistic communities, and to provide
a free and open framework in which fonts may be shared and improved in
partnership with others.

The OFL allows the licensed fonts to be used, studied, modified and
redistributed freely as long as they are not sold by themselves. The
fonts, including any derivative works, can be bundled, embedded,
redistributed and/or sold with any software provided that any reserved
names are not used by derivative works. The fonts and derivatives,
however, cannot be released under any other type of license. The
requirement for fonts to remain under this license does not apply to
any document created using the fonts or their derivatives.

DEFINITIONS

"Font Software" refers to the set of files released by the Copyright
Holder(s) under this license and clearly marked as such. This may
include source files, build scripts and documentation.

"Reserved Font Name" refers to any names specified as such after the
copyright statement(s).

"Original Version" refers to the collection of Font Software components
as distributed by the Copyright Holder(s).

"Modified Version" refers to any derivative made by adding to,deleting,
or substituting -- in part or in whole -- any of the components of the
Original Version, by changing formats or by porting the Font Software
to a new environment.

"Author" refers to any designer, engineer, programmer, technical writer
or other person who contributed to the Font Software.

PERMISSION & CONDITIONS

Permission is hereby granted, free of charge, to any person obtaining a
copy of the Font Software, to use, study, copy, merge, embed, modify,
redistribute, and sell modified and unmodified copies of the Font
Software, subject to the following conditions:

1) Neither the Font Software nor any of its individual components, in
Original or Modified Versions, may be sold by itself.

2) Original or Modified Versions of the Font Software may be bundled,
redistributed and/or sold with any software, provided that each copy
contains the above copyright notice and this license. These can be
included either as stand-alone text files, human-readable headers or in
the appropriate machine-readable metadata fields within text or binary
files as long as those fields can be easily viewed by the user.

3) No Modified Version of the Font Software may use the Reserved Font
Name(s) unless explicit written permission is granted by the
corresponding Copyright Holder. This restriction only applies to the
primary font name as presented to the users.

4) The name(s) of the Copyright Holder(s) or the Author(s) of the Font
Software shall not be used to promote, endorse or advertise any
Modified Version, except to acknowledge the contribution(s) of the
Copyright Holder(s) and the Author(s) or with their explicit written
permission.

5) The Font Software, modified or unmodified, in part or in whole, must
be distributed entirely under this license, and must not be distributed
under any other license. The requirement for fonts to remain under this
license does not apply to any document created using the Font Software.

TERMINATION

This license becomes null and void if any of the above conditions are
not met.

DISCLAIMER

THE FONT SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO ANY WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT
OF COPYRIGHT, PATENT, TRADEMARK, OR OTHER RIGHT. IN NO EVENT SHALL THE
COPYRIGHT HOLDER BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
INCLUDING ANY GENERAL, SPECIAL, INDIRECT, INCIDENTAL, OR CONSEQUENTIAL
DAMAGES, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING
FROM, OUT OF THE USE OR INABILITY TO USE THE FONT SOFTWARE OR FROM
OTHER DEALINGS IN THE FONT SOFTWARE.
"""


def glyphs(font: TTFont) -> dict[int, Any]:
    """Uint8 (128, 128, 4) BGRA pictures of the emoji to take, by code point."""
    bitmaps = font["CBDT"].strikeData[0]
    chosen: dict[int, Any] = {}
    seen: list[Any] = []
    for point, name in sorted(font.getBestCmap().items()):
        if name not in bitmaps or is_part(point):
            continue
        data = np.frombuffer(bitmaps[name].imageData, np.uint8)
        picture: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        edge = (picture.shape[1] - picture.shape[0]) // 2  # 136 wide, 128 high, empty at the sides
        picture = picture[:, edge : picture.shape[1] - edge]
        if picture.shape[2] != 4 or picture[..., 3].mean() < THIN:
            continue
        small = cv2.resize(premultiplied(picture), (16, 16), interpolation=cv2.INTER_AREA)
        if seen and np.abs(np.array(seen) - small).mean((1, 2, 3)).min() < ALIKE:
            continue
        seen.append(small)
        chosen[point] = picture
    return chosen


def is_part(point: int) -> bool:
    """Whether this is only a part of sequences (skin tone, regional letter, tag)."""
    return 0x1F3FB <= point <= 0x1F3FF or 0x1F1E6 <= point <= 0x1F1FF or point >= 0x20000


def premultiplied(picture: Any) -> Any:
    """Float32 BGRA with the colour in proportion to the opacity, which may be averaged."""
    out = picture.astype(np.float32)
    out[..., :3] *= out[..., 3:] / 255
    return out


def shrink(picture: Any) -> Any:
    """Scale BGRA to SIDE pixels."""
    small = cv2.resize(premultiplied(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1)
    return small.round().clip(0, 255).astype(np.uint8)


def make(path: Path) -> tuple[bytes, str]:
    """The zip's bytes and the credits."""
    font = TTFont(path)
    images = {}
    for point, picture in glyphs(font).items():
        options = [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
        images[f"{point:05x}.webp"] = cv2.imencode(".webp", shrink(picture), options)[1].tobytes()
    credits = CREDITS.format(version=f"{font['head'].fontRevision:.3f}", side=SIDE)
    return pack("emoji", images, credits), credits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    return deliver("emoji", *make(args.font), check=args.check)


if __name__ == "__main__":
    sys.exit(main())
