"""Run photomosaic-video 0.1.0 in its own environment, and write down the photo of each cell.

    PYTHON_OF_THAT_ENVIRONMENT rival.py IN.mkv PHOTOS OUT.mkv IDS.npy --cells N --height H [--plain]

It is the program's own command line, with two changes from outside: the picture is lossless, and
the matcher's results are kept. IDS.npy is int32 (frames, cells). Photos in the order of their names
have the numbers from 0, and each has four variants, so that tile t is photo t % (number of photos).
--plain omits the last step, which changes gamma, saturation, contrast and sharpness.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from photomosaic_video import cli, mosaic, postprocess, video


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("photos")
    parser.add_argument("output")
    parser.add_argument("ids")
    parser.add_argument("--cells", required=True)
    parser.add_argument("--height", required=True)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()

    tiles: list[np.ndarray] = []
    render = mosaic.render_frame

    def recording(*arguments: Any) -> Any:
        picture, chosen, changed = render(*arguments)
        tiles.append(chosen.astype(np.int32))
        return picture, chosen, changed

    mosaic.render_frame = recording
    video._X264 = ["-c:v", "ffv1", "-pix_fmt", "bgr0"]
    if args.plain:
        postprocess.postprocess = lambda raw, *_: raw
    command = [args.input, "-t", args.photos, "-o", args.output]
    cli.main([*command, "--cells", args.cells, "--height", args.height])
    np.save(args.ids, np.stack(tiles))


if __name__ == "__main__":
    main()
