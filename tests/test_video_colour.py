"""Colours, cropping, times and transparency that files say in unusual ways."""

from __future__ import annotations

import logging
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livemosaic.media.colour import Colour, Matrix
from livemosaic.media.crop import NO_CROP, Crop
from livemosaic.media.deep import DeepColours
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import DeepPicture, Frame
from livemosaic.mosaic.deep import blend_deep
from livemosaic.sources import open_source
from livemosaic.sources.cropping import read_crop
from livemosaic.sources.i420 import Converter
from livemosaic.sources.picture_colour import deep_info
from livemosaic.sources.timestamps import TimestampRepair
from tests import clips
from tests.conftest import ROOT

CORPUS = ROOT / "tests" / "corpus"


def frames(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        return [item for item in source if isinstance(item, Frame)]


def patches(frame: Frame) -> np.ndarray:
    """The colours near the middle of the four quarters: (4, 3), RGB."""
    bgr = frame.to_bgr()
    height, width = bgr.shape[:2]
    rows, columns = ([side * 9 // 32, side * 25 // 32] for side in (height, width))
    return bgr[np.ix_(rows, columns)].reshape(4, 3)[:, ::-1].astype(int)


# ---- HDR and wide colours ----------------------------------------------------------------


@pytest.mark.slow  # FFmpeg makes a table of colours, which takes seconds
@pytest.mark.parametrize(
    ("name", "levels", "kind"), [("pq", 3.5, "PQ"), ("hlg", 5, "HLG"), ("wide", 3, "BT.2020")]
)
def test_hdr_looks_like_its_master(
    name: str, levels: float, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "livemosaic"):
        got = frames(CORPUS / "05-hdr" / f"{name}.mkv")
    master = frames(CORPUS / "05-hdr" / "sdr.mkv")
    assert len(got) == len(master)
    apart = [np.abs(a.to_bgr().astype(int) - b.to_bgr()) for a, b in zip(got, master, strict=True)]
    assert np.mean(apart) < levels
    assert got[0].colour == master[0].colour  # its tags, too
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"({kind})" in message


# ---- matrices and ranges -----------------------------------------------------------------


def test_ycgco_is_converted() -> None:
    got = frames(CORPUS / "09-matrix-tags" / "ycgco420.mkv")
    wanted = [(200, 60, 50), (60, 170, 60), (50, 80, 200), (224, 170, 140)]
    assert np.abs(patches(got[0]) - wanted).max() <= 2
    assert got[0].colour.tags[2] == 6  # an output says what its samples are now


@pytest.mark.parametrize(
    ("name", "warning"),
    [("base10-m10", ""), ("base10-m14", "ICtCp"), ("base444-m8", "")],
)
def test_matrices_that_the_scaler_refuses(
    name: str, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    got = frames(CORPUS / "09-matrix-tags" / f"{name}.mkv")
    assert len(got) == 25
    assert got[0].colour.matrix == ("bt2020" if name == "base10-m10" else "bt601")
    assert [warning in record.getMessage() for record in caplog.records] == [True] * bool(warning)


def test_range_that_changes_in_the_middle() -> None:
    """In the second half, the headers say nothing of the range, which means limited."""
    got = frames(CORPUS / "11-mixed-sequence" / "range.ts")
    assert got[0].colour.full_range
    assert np.abs(patches(got[0]) - patches(got[-1])).max() <= 4
    assert int(got[-1].y.min()) <= 2


@pytest.mark.parametrize(("first", "second"), [("bt601", "bt709"), ("bt709", "bt601")])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_matrix_and_range_that_change_in_the_middle(
    tmp_path: Path, first: Matrix, second: Matrix, full: bool, codec: str
) -> None:
    joined = tmp_path / "joined.ts"
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    with joined.open("wb") as file:
        for name, matrix, range_ in (("a", first, full), ("b", second, not full)):
            code = clips.MATRIX_CODES[matrix]
            tags = (code, code, code, clips.FULL if range_ else clips.LIMITED)
            sent = clips.frames(25, colour=Colour(matrix, range_, tags))
            path = tmp_path / f"{name}.ts"
            clips.make(path, sent, codec=codec, tags=tags, options=options)
            file.write(path.read_bytes())
    got = frames(joined)
    assert len(got) == 50
    assert {frame.colour.matrix for frame in got} == {first}
    assert np.abs(patches(got[0]) - patches(got[-1])).max() <= 6


# ---- cropping ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crop.mkv", "clap.mp4"])
def test_containers_crop(name: str) -> None:
    path = CORPUS / "16-debatable" / name
    with open_source(str(path)) as source:
        assert (source.info.width, source.info.height) == (320, 180)
    got = frames(path)[0]
    assert (got.y.shape, got.u.shape) == ((180, 320), (90, 160))
    assert got.y[0].min() > 20  # of the bars, there is no black line left
    assert got.y[-1].max() > 20


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_a_track_without_a_kind(tmp_path: Path) -> None:
    data = (CORPUS / "16-debatable" / "clap.mp4").read_bytes()
    at = data.rindex(b"moov") - 4
    size = struct.unpack(">I", data[at : at + 4])[0]
    moov = box(b"moov", data[at + 8 : at + size] + box(b"trak", box(b"mdia")))
    assert data[at + size :] == b""
    (tmp_path / "odd.mp4").write_bytes(data[:at] + moov)
    assert frames(tmp_path / "odd.mp4")[0].y.shape == (180, 320)


@pytest.mark.parametrize("name", ["crop.mkv", "clap.mp4"])
@given(data=st.data())
def test_damaged_containers_crop_or_not(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray((CORPUS / "16-debatable" / name).read_bytes())
    path = tmp_path_factory.getbasetemp() / name
    words = [b"\x83\x81", b"\xae", b"\x54\xbb", b"hdlr", b"trak", b"stsd", b"clap", b"moov"]
    places = [at for word in words if (at := content.find(word)) >= 0]
    at = max(0, data.draw(st.sampled_from(places)) + data.draw(st.integers(-8, 16)))
    changed = data.draw(st.binary(min_size=1, max_size=12))
    content[at : at + len(changed)] = changed
    path.write_bytes(content)
    assert min(crop_by(path)) >= 0


def test_a_number_without_an_end(tmp_path: Path) -> None:
    content = (CORPUS / "16-debatable" / "crop.mkv").read_bytes()
    endless = b"\x83\x01" + (2**49).to_bytes(7)  # the kind of the track
    at = content.index(b"\x83\x81\x01")
    path = tmp_path / "crop.mkv"
    path.write_bytes(content[:at] + endless + content[at + len(endless) :])
    assert crop_by(path) == NO_CROP


@pytest.mark.parametrize(("parts", "top"), [(10, 30), (200_000, 0)])
def test_a_file_of_very_many_parts(tmp_path: Path, parts: int, top: int) -> None:
    """Their number is limited: it could take hours to read them."""
    content = (CORPUS / "16-debatable" / "crop.mkv").read_bytes()
    at = content.index(b"\x18\x53\x80\x67") + 4
    unknown, voids = b"\x01" + b"\xff" * 7, b"\xec\x80" * parts
    path = tmp_path / "crop.mkv"
    path.write_bytes(content[:at] + unknown + voids + content[at + 8 :])
    assert crop_by(path).top == top


def crop_by(path: Path) -> Crop:
    """The cropping by a copy of a file, of which FFmpeg opens the original."""
    with av.open(str(CORPUS / "16-debatable" / path.name)) as container:
        video = container.streams
        changed = SimpleNamespace(format=container.format, name=str(path), streams=video)
        return read_crop(changed, video.video[0])


# ---- times -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])  # as programs change times that do not increase
def test_a_clock_that_stands_still_gives_the_nominal_rate(step: int) -> None:
    clock = TimestampRepair(Fraction(1, 12_800), rate=Fraction(25))
    times = [clock(100 + n * step) for n in range(75)]
    assert times[3:] == [100 + 512 * n for n in range(3, 75)]
    assert clock.stood_still
    # The clock goes on: with the time that has passed, or where it stopped.
    assert clock(100 + 512 * 75) == 100 + 512 * 75
    assert clock(612) == 100 + 512 * 76


def test_frames_in_a_burst_are_not_paced() -> None:
    clock = TimestampRepair(Fraction(1, 1000), rate=Fraction(25))
    given = [0, 40, 80, 81, 82, 160, 200, 201, 201, 280]
    assert [clock(pts) for pts in given] == [0, 40, 80, 81, 82, 160, 200, 201, 202, 280]
    assert not clock.stood_still


def test_stuck_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "stuck.mkv"
    clips.make(tmp_path / "c.mkv", clips.frames(50), codec="mpeg4")
    with av.open(str(tmp_path / "c.mkv")) as source, av.open(str(path), "w") as target:
        copy: Any = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts = packet.dts = 0
                packet.stream = copy
                target.mux(packet)
    got = frames(path)
    assert len(got) == 50
    assert got[-1].time_s == pytest.approx(49 / 25, abs=0.1)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: its clock stands still: pictures come at 25 frames/s"
    ]


# ---- transparency ------------------------------------------------------------------------


def transparent(path: Path, *, codec: str = "qtrle", pix_fmt: str = "argb") -> Path:
    """A red square that fades out to the right, over magenta that nobody should see."""
    rgba = np.zeros((96, 160, 4), np.uint8)
    rgba[:] = (255, 0, 255, 0)
    rgba[24:72, 40:120] = (200, 60, 50, 255)
    rgba[24:72, 80:120, 3] = 128
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, pix_fmt
        if codec.startswith("libvpx"):
            video.options = {"auto-alt-ref": "0", "crf": "4", "b": "9M"}
            video.metadata["alpha_mode"] = "1"
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("c.mov", "qtrle", "argb"),
        ("c.mov", "prores_ks", "yuva444p10le"),
        ("c.mkv", "ffv1", "yuva420p"),
        ("c.mov", "png", "rgba"),
        ("c.webm", "libvpx-vp9", "yuva420p"),
        ("c.webm", "libvpx", "yuva420p"),
    ],
)
def test_transparent_parts_become_grey(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = transparent(tmp_path / name, codec=codec, pix_fmt=pix_fmt)
    with caplog.at_level(logging.INFO, "livemosaic"):
        bgr = frames(path)[0].to_bgr().astype(int)
    for (y, x), rgb in {
        (10, 10): (128, 128, 128),
        (48, 60): (200, 60, 50),
        (48, 100): (164, 94, 89),
    }.items():
        assert np.abs(bgr[y, x][::-1] - rgb).max() <= 4
    assert len(caplog.records) == 1
    assert "--alpha" in caplog.records[0].getMessage()


def test_opaque_pictures_with_alpha_are_not_touched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "livemosaic"):
        path = clips.make(tmp_path / "c.mov", codec="prores_ks", pix_fmt="yuva444p10le")
        assert len(frames(path)) == 10
    assert not caplog.records


@pytest.mark.parametrize(
    ("codec", "source", "name"),
    [
        (None, "qtrle", "o_%d.png"),
        (None, "qtrle", "o_%d.webp"),
        ("prores_ks", "qtrle", "o.mov"),
        ("ffv1", "prores_ks", "o.mkv"),
        (None, "prores_ks", "o.webm"),
        ("qtrle", "ffv1", "o.mov"),
    ],
)
def test_alpha_is_kept(tmp_path: Path, codec: str | None, source: str, name: str) -> None:
    from livemosaic import render

    pix_fmt = {"qtrle": "argb", "prores_ks": "yuva444p10le", "ffv1": "yuva420p"}[source]
    suffix = "mkv" if source == "ffv1" else "mov"
    path = transparent(tmp_path / f"in.{suffix}", codec=source, pix_fmt=pix_fmt)
    render(path, tmp_path / name, alpha=True, scale=2, tile=8, codec=codec)
    alpha = _alpha_of(tmp_path / name)
    assert alpha.shape == (192, 320)
    assert np.abs(alpha[10].astype(int)).max() <= 4
    assert abs(int(alpha[96, 120]) - 255) <= 4
    assert abs(int(alpha[96, 200]) - 128) <= 4


def test_alpha_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from livemosaic import render

    path = CORPUS / "07-transparent-input" / "garbage.png"
    own: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    render(path, tmp_path / "o.png", tmp_path / "o.jpg", alpha=True, scale=1, tile=8)
    assert not caplog.records
    kept: Any = cv2.imread(str(tmp_path / "o.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(kept[..., 3].astype(int) - own[..., 3]).max() == 0
    grey: Any = cv2.imread(str(tmp_path / "o.jpg"))
    assert np.abs(grey[:8, :8].astype(int) - 128).max() <= 3
    with caplog.at_level(logging.INFO, "livemosaic"):
        frames(path)
    assert "--alpha" in caplog.text


def _alpha_of(path: Path) -> np.ndarray:
    if "%d" in path.name:
        picture: Any = cv2.imread(str(path).replace("%d", "1"), cv2.IMREAD_UNCHANGED)
        return np.asarray(picture[..., 3])
    with av.open(str(path)) as container:
        context: Any = container.streams.video[0].codec_context
        if context.name == "vp9":  # FFmpeg's own decoder ignores alpha
            context = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(video=0):
            for frame in context.decode(packet):
                return np.asarray(frame.to_ndarray(format="rgba")[..., 3])
    raise AssertionError("no picture")


def test_a_codec_without_alpha_gets_grey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from livemosaic import render

    path = transparent(tmp_path / "in.mov")
    render(path, tmp_path / "o.mkv", alpha=True, scale=1, tile=8, tint=1.0)
    assert any("libx264 keeps no transparency" in r.getMessage() for r in caplog.records)
    with open_source(str(path), alpha=True) as source:
        assert source.info.alpha


# ---- ten bits ----------------------------------------------------------------------------


def first_picture(path: Path) -> Any:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def codes(picture: Any) -> np.ndarray:
    """The samples of luma, 10 bits."""
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)
    return rows[:, : plane.width]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output", "codec"),
    [
        ("pq", "o.mp4", None),
        ("pq", "o.mov", "prores_ks"),
        ("hlg", "o.mkv", "libx265"),
        ("hlg", "o.mkv", "libsvtav1"),
    ],
)
def test_hdr_is_kept(tmp_path: Path, name: str, output: str, codec: str | None) -> None:
    from livemosaic import render

    path = CORPUS / "05-hdr" / f"{name}.mkv"
    options: dict[str, Any] = {"codec": codec, "scale": 2, "tile": 8}
    render(path, tmp_path / output, hdr="keep", **options)
    render(path, tmp_path / "sdr.mkv", scale=2, tile=8)
    picture = first_picture(tmp_path / output)
    tags = picture.color_primaries, picture.color_trc, picture.colorspace
    assert tags == (9, {"pq": 16, "hlg": 18}[name], 9)
    assert len(np.unique(codes(picture))) > 300  # it is no picture of 8 bits
    # Brought to BT.709, it is as the mosaic that was made there.
    kept, wanted = (frames(tmp_path / it)[0].to_bgr().astype(int) for it in (output, "sdr.mkv"))
    assert np.abs(kept.mean() - wanted.mean()) < 3
    assert np.abs(kept - wanted).mean() < 14
    if output == "o.mp4":
        sent, got = first_picture(path).side_data, picture.side_data
        for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
            assert bytes(got[kind]) == bytes(sent[kind])


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "white"), [(16, 573), (18, 721)])
def test_photos_are_at_graphics_white(transfer: int, white: int) -> None:
    """203 cd/m2 is 58 % of PQ and 75 % of HLG (ITU-R BT.2408)."""
    colours = DeepColours(Colour("bt2020", False, (9, transfer, 9, 1)))
    ycbcr = colours(np.full((2, 3, 3), 255, np.uint8))
    assert ycbcr.shape == (2, 3, 3)
    assert np.abs(ycbcr.astype(int) - (white, 512, 512)).max() <= 2


@pytest.mark.parametrize(
    ("codec", "output", "pix_fmt"),
    [
        ("ffv1", "o.mkv", "yuv420p10le"),
        ("libx265", "o.mkv", "yuv420p10le"),
        ("prores_ks", "o.mov", "yuv422p10le"),
        ("dnxhr_hqx", "o.mov", "yuv422p10le"),
        ("libx264", "o.mkv", "yuv420p"),
        (None, "o.mkv", "yuv420p"),
    ],
)
@pytest.mark.parametrize("tint", [0.0, 0.8])
def test_ten_bits_stay(
    tmp_path: Path, codec: str | None, output: str, pix_fmt: str, tint: float
) -> None:
    from livemosaic import render

    path = tmp_path / "ramp.mkv"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 256, 128, "yuv420p10le"
        picture = av.VideoFrame(256, 128, "yuv420p10le")
        for plane in picture.planes:
            rows = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)
            rows[:] = 512 if plane.width < 256 else 400 + np.arange(rows.shape[1]) // 2
        container.mux([*video.encode(picture), *video.encode(None)])
    render(path, tmp_path / output, codec=codec, scale=1, tile=8, overlay=0.9, tint=tint)
    got = first_picture(tmp_path / output)
    assert got.format.name == pix_fmt
    if "10" in pix_fmt and codec != "libx265":
        # Nine tenths of a ramp of 128 codes, which 8 bits would make 29 steps of four.
        assert len(np.unique(codes(got))) > 100


@pytest.mark.parametrize("seed", range(3))
def test_blend_deep(seed: int) -> None:
    """The kernel against the formula in plain Python."""
    rng = np.random.default_rng(seed)
    height, width, columns, rows = 4, 6 - seed, 3, 2
    tiles = rng.integers(0, 1024, (5, height, width)).astype(np.uint16)
    cells = np.array([0, 2, 5], np.int32)
    ids = rng.integers(0, 5, 3).astype(np.int32)
    flips = rng.integers(0, 2, 3).astype(np.bool_)
    gain = rng.integers(0, 300, 3).astype(np.uint16)
    offset = rng.integers(-400, 400, 3).astype(np.int16)
    original = rng.integers(0, 500, (rows * height, columns * width)).astype(np.uint16)
    out = np.full_like(original, 7)
    wanted = out.astype(int)
    for n, cell in enumerate(cells):
        tile = tiles[ids[n]].astype(int)[:, :: -1 if flips[n] else 1]
        tinted = np.clip((tile * gain[n] + 128) // 256 + offset[n], 0, 900)
        where = np.s_[
            cell // columns * height : (cell // columns + 1) * height,
            cell % columns * width : (cell % columns + 1) * width,
        ]
        wanted[where] = np.minimum(tinted + original[where], 1023)
    blend_deep(tiles, cells, ids, flips, gain, offset, 900, original, out)
    assert (out == wanted).all()


def test_private_pictures_are_pixelated_in_ten_bits_too() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 1024, (96, 160)).astype(np.uint16)
    u, v = np.full((2, 48, 80), 512, np.uint16)
    deep = DeepPicture(y, u, v, Colour())
    frame = replace(clips.frames(1)[0], deep=deep)
    pixelated, mirrored = frame.pixelated().deep, frame.mirrored().deep
    assert pixelated is not None
    assert mirrored is not None
    assert pixelated.y.dtype == np.uint16
    assert pixelated.y.std() < y.std() / 5
    assert (mirrored.y == y[:, ::-1]).all()


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_ten_bits_are_dithered_to_eight(pix_fmt: str) -> None:
    picture = av.VideoFrame(64, 32, pix_fmt)
    for plane in picture.planes:
        np.frombuffer(memoryview(plane), np.uint16)[:] = 402  # 100.5 in 8 bits
    for samples in Converter(picture)(picture):
        assert set(np.unique(samples)) == {100, 101}
        assert samples.mean() == 100.5


@pytest.mark.parametrize(
    ("flags", "denominator", "known"),
    [((1, 1), 50_000, True), ((0, 1), 50_000, False), ((1, 0), 50_000, False), ((1, 1), 0, False)],
)
def test_mastering_data_is_read_if_all_of_it_is_set(
    flags: tuple[int, int], denominator: int, known: bool
) -> None:
    data = struct.pack("=22i", *(10_000, denominator) * 10, *flags)
    picture: Any = SimpleNamespace(
        side_data={"MASTERING_DISPLAY_METADATA": data},
        format=av.VideoFormat("yuv420p10le", 16, 16),
        color_primaries=9,
        color_trc=16,
        colorspace=9,
        color_range=1,
        width=160,
        height=96,
    )
    assert deep_info(picture, False).mastering == ((0.2,) * 10 if known else None)
