"""Pictures that are coded strip by strip: the bytes of those coded at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.sinks import open_sink
from livemosaic.sinks.image_strips import encode_strips
from tests.clips import picture
from tests.conftest import U8

# A whole strip, one row more, one less; odd sides; fewer rows than a block; two rounds of strips.
SIZES = [(64, 128), (48, 129), (47, 127), (641, 257), (33, 1), (1, 300), (2, 2), (16, 515)]


@pytest.fixture(params=SIZES, ids=lambda size: "{}x{}".format(*size))
def frame(request: pytest.FixtureRequest) -> Frame:
    width, height = request.param
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    smooth = np.asarray(cv2.resize(picture(64, 48), (width, height)), np.uint8)
    return Frame.from_bgr(np.asarray(cv2.addWeighted(smooth, 0.8, noise, 0.2, 0), np.uint8))


def decoded(data: bytes) -> U8:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def markers(data: bytes) -> Iterator[int]:
    """A JPEG's restart markers, in their order."""
    for before, after in pairwise(data):
        if before == 0xFF and 0xD0 <= after <= 0xD7:
            yield after - 0xD0


def test_bands_are_the_picture(frame: Frame) -> None:
    for rows in (2, 128):
        strips = list(frame.strips(rows))
        assert {len(strip) for strip in strips[:-1]} <= {rows}
        assert np.array_equal(np.concatenate(strips), frame.to_bgr())


def test_png(frame: Frame) -> None:
    data = b"".join(encode_strips(".png", frame))
    assert np.array_equal(decoded(data), frame.to_bgr())


def test_jpeg_is_what_opencv_makes_of_the_whole(frame: Frame) -> None:
    data = b"".join(encode_strips(".jpg", frame))
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_RST_INTERVAL, -(-frame.width // 16)]
    assert data == cv2.imencode(".jpg", frame.to_bgr(), options)[1].tobytes()
    lines = -(-frame.height // 16)
    assert list(markers(data)) == [n % 8 for n in range(lines - 1)]


@pytest.mark.parametrize("name", ["p.png", "p.JPG", "p.jpeg"])
def test_a_file_of_strips(tmp_path: Path, name: str) -> None:
    bgr = np.asarray(cv2.resize(picture(64, 48), (200, 300)), np.uint8)
    sink = open_sink(str(tmp_path / name), StreamInfo(200, 300, still=True))
    sink.write(Frame.from_bgr(bgr))
    sink.close()
    read = cv2.imread(str(tmp_path / name))
    assert read is not None
    assert cv2.PSNR(np.asarray(read, np.uint8), bgr) > 28  # of bright edges, chroma is halved
