"""The library as a programmer meets it: names, keywords, pictures of all kinds, threads."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import livemosaic
import livemosaic.gallery
from livemosaic import Frame, Gallery, Mosaic, MosaicSettings, OptionError, UsageError
from livemosaic.media.picture import to_array
from livemosaic.mosaic.settings import PROFILES

from .conftest import U8, moving_pictures

SMALL: dict[str, Any] = {"scale": 1, "tile": 8}


# ---- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [livemosaic, livemosaic.gallery])
def test_completion_lists_all_names(module: Any) -> None:
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("module", [livemosaic, livemosaic.gallery])
def test_a_wrong_name(module: Any) -> None:
    with pytest.raises(AttributeError, match="Mosiac"):
        module.Mosiac  # noqa: B018


# ---- options -----------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_a_mosaic_of_a_profile_is_as_on_the_command_line(gallery: Gallery, profile: str) -> None:
    from livemosaic.control.options import resolve

    for options in ({}, {"columns": 40}, {"tile": 16, "columns": 5}, {"size": (64, 48)}):
        wanted = resolve({"profile": profile, **options}).mosaic
        assert Mosaic(gallery, profile=profile, **options).settings == wanted


def test_options_override_settings(gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, tint=0.3), columns=12, thorough=True)
    assert mosaic.settings == MosaicSettings(columns=12, tint=0.3, thorough=True)
    with pytest.raises(UsageError, match="profile"):
        Mosaic(gallery, MosaicSettings(), profile="reference")
    with pytest.raises(OptionError, match="profile"):
        Mosaic(gallery, profile="referenz")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tint": 2.0}, OptionError),
        ({"tint": float("nan")}, OptionError),
        ({"columns": "40"}, OptionError),
        ({"colums": 40}, TypeError),
    ],
)
def test_wrong_options(gallery: Gallery, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Mosaic(gallery, **options)
    mosaic = Mosaic(gallery)
    with pytest.raises(error, match=next(iter(options))):
        mosaic.change(**options)
    assert mosaic.settings == MosaicSettings()


def test_change_keeps_tiles_where_it_can(gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, **SMALL)
    picture = moving_pictures(1)[0]
    before = mosaic.process(picture), mosaic.tile_ids
    mosaic.change(tint=0.2)
    after = mosaic.process(picture)
    assert mosaic.cells.changed == 0
    np.testing.assert_array_equal(mosaic.tile_ids, before[1])
    assert (after != before[0]).any()
    mosaic.change(columns=7)
    mosaic.process(picture)
    assert mosaic.grid.columns == 7


def test_representations(gallery: Gallery) -> None:
    assert repr(MosaicSettings()) == "MosaicSettings()"
    assert repr(Mosaic(gallery, **SMALL)) == f"<Mosaic of {gallery!r}: tile_px=8, scale=1>"
    frame = Frame.from_bgr(moving_pictures(1)[0], pts=5)
    assert repr(frame) == "<Frame 320x192 at 0.200 s>"
    source = livemosaic.open_source("pattern:64x48@25")
    assert "pattern:64x48@25" in repr(source)
    sink = livemosaic.open_sink("null", source.info)
    assert "null" in repr(sink)


# ---- single pictures and streams -----------------------------------------------------------


@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_apply_does_not_depend_on_pictures_before(gallery: Gallery, match: Any) -> None:
    """Unlike `process`."""
    mosaic = Mosaic(gallery, **SMALL, match=match)
    first, second = moving_pictures(2)
    alone = Mosaic(gallery, **SMALL, match=match).apply(second)
    tiles = []
    for picture in (first, second, first, second):
        last = mosaic.apply(picture)
        tiles.append(mosaic.tile_ids)
    np.testing.assert_array_equal(last, alone)
    np.testing.assert_array_equal(tiles[1], tiles[3])
    # A stream does not continue it, and it does not continue a stream.
    np.testing.assert_array_equal(mosaic.process(second), alone)
    mosaic.process(first)
    np.testing.assert_array_equal(mosaic.apply(second), alone)


def test_before_the_first_frame(gallery: Gallery) -> None:
    mosaic = Mosaic(gallery)
    for name in ("tile_ids", "flips", "grid", "matcher"):
        with pytest.raises(UsageError, match=rf"{name}: there is no frame yet"):
            getattr(mosaic, name)


# ---- pictures of all kinds -----------------------------------------------------------------


def test_rgb_and_pillow(gallery: Gallery) -> None:
    bgr = moving_pictures(1)[0]
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    wanted = Mosaic(gallery, **SMALL).apply(bgr)
    np.testing.assert_array_equal(Mosaic(gallery, **SMALL, rgb=True).apply(rgb), wanted[..., ::-1])
    image = Mosaic(gallery, **SMALL).apply(Image.fromarray(rgb))
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), wanted[..., ::-1])
    frame = Mosaic(gallery, **SMALL).apply(Frame.from_bgr(bgr))
    np.testing.assert_array_equal(frame.to_rgb(), wanted[..., ::-1])


def test_a_pillow_image_of_a_camera_is_upright_and_grey_behind(gallery: Gallery) -> None:
    rgb = np.zeros((32, 64, 4), np.uint8)
    rgb[:, 32:] = 255
    image = Image.fromarray(rgb)
    image.getexif()[0x0112] = 6  # turned to the right
    out = Mosaic(gallery, **SMALL, overlay=1.0).apply(image)
    assert out.size == (32, 64)
    pixels = np.asarray(out).astype(int)
    assert abs(pixels[:28] - 128).max() <= 3
    assert pixels[36:].min() >= 252


@pytest.mark.parametrize(
    "picture",
    [
        None,
        "a.jpg",
        np.zeros((8, 8)),
        np.full((8, 8, 3), np.nan),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_picture(gallery: Gallery, picture: Any) -> None:
    mosaic = Mosaic(gallery, **SMALL)
    for call in (mosaic.apply, mosaic.process):
        with pytest.raises(UsageError, match="a picture is"):
            call(picture)
    with pytest.raises(UsageError, match="a picture is"):
        list(livemosaic.mosaic_frames([picture], gallery))
    with pytest.raises((UsageError, livemosaic.GalleryError)):
        Mosaic([picture])


def test_a_gallery_of_pictures(gallery: Gallery) -> None:
    bgr = moving_pictures(1)[0]
    one = Mosaic([bgr], **SMALL)
    assert len(one.gallery) >= 1
    swapped = Mosaic([np.ascontiguousarray(bgr[:, :, ::-1])], rgb=True)
    np.testing.assert_array_equal(swapped.gallery.tiles, one.gallery.tiles)
    pillow = Mosaic([Image.fromarray(bgr[:, :, ::-1])])
    np.testing.assert_array_equal(pillow.gallery.tiles, one.gallery.tiles)
    assert Mosaic(gallery).gallery is gallery
    assert len(livemosaic.open_gallery([bgr, bgr]).sources.photos()) == 2


@pytest.mark.parametrize(
    "planes",
    [
        {"y": np.zeros((4, 6), np.float32)},
        {"y": np.full((4, 6), np.nan)},
        {"y": np.zeros((4, 6, 1), np.uint8)},
        {"y": np.zeros((4, 12), np.uint8)[:, ::2]},
        {"y": np.zeros((0, 0), np.uint8)},
        {"y": None},
        {"u": np.zeros((4, 6), np.uint8)},
        {"v": np.zeros((2, 2), np.uint8)},
        {"v": np.zeros((2, 3), np.int8)},
    ],
)
def test_planes_that_are_not_what_they_should_be(planes: dict[str, Any]) -> None:
    half = np.zeros((2, 3), np.uint8)
    good = Frame(np.zeros((4, 6), np.uint8), half, half)
    with pytest.raises(UsageError, match=f"^{next(iter(planes))}: "):
        replace(good, **planes)


class Wrong(livemosaic.Matcher):
    """Gives what a test wants."""

    answer: Callable[[int], tuple[Any, Any]]

    def match(self, cells: Any, *, active: int) -> Any:
        return Wrong.answer(len(cells))


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: (np.full(n, 10**6), np.zeros(n, bool)),
        lambda n: (np.full(n, -1), np.zeros(n, bool)),
        lambda n: (np.full(n, np.nan), np.zeros(n, bool)),
        lambda n: (np.zeros(n - 1, int), np.zeros(n, bool)),
        lambda n: (np.zeros(n, int), np.zeros((n, 2), bool)),
    ],
)
def test_a_matcher_that_is_wrong(gallery: Gallery, answer: Any) -> None:
    Wrong.answer = staticmethod(answer)
    with pytest.raises(UsageError, match=r"Wrong\.match"):
        Mosaic(gallery, **SMALL, matcher=Wrong).apply(moving_pictures(1)[0])


# ---- threads -----------------------------------------------------------------------------


def in_threads(work: Callable[[int], None], count: int = 8) -> list[Exception]:
    """Call `work` on several threads at once; what it raised."""
    errors: list[Exception] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def sizes() -> list[U8]:
    """Pictures of changing size."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64 + 16 * n, 96, 3), np.uint8) for n in range(4)]


def test_one_mosaic_for_several_threads_is_refused(gallery: Gallery) -> None:
    mosaic, pictures = Mosaic(gallery, **SMALL), sizes()
    done, refused = [0], list[str]()

    def work(number: int) -> None:
        for n in range(20):
            try:
                mosaic.process(pictures[(number + n) % len(pictures)])
                done[0] += 1
                mosaic.change(tint=n / 20)
            except UsageError as error:
                refused.append(str(error))

    assert not in_threads(work)
    assert done[0]
    assert all("make a Mosaic for each thread" in text for text in refused)
    mosaic.process(pictures[0])  # it is as good as before


def test_a_call_from_inside_a_call_is_refused(gallery: Gallery) -> None:
    mosaic, picture = Mosaic(gallery, **SMALL), sizes()[0]
    mosaic.on_stage = lambda name: mosaic.change(tint=0.2)
    with pytest.raises(UsageError, match="another call"):
        mosaic.process(picture)
    mosaic.on_stage = lambda name: None
    mosaic.process(picture)


def test_a_mosaic_for_each_thread_with_one_gallery(gallery: Gallery) -> None:
    pictures = sizes()
    wanted = [Mosaic(gallery, **SMALL).apply(picture) for picture in pictures]

    def work(number: int) -> None:
        mosaic = Mosaic(gallery, **SMALL)
        for n in range(len(pictures)):
            its = (number + n) % len(pictures)
            np.testing.assert_array_equal(mosaic.apply(pictures[its]), wanted[its])

    assert not in_threads(work)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a_%02d.png"])
def test_one_sink_for_several_threads_is_refused(tmp_path: Path, name: str) -> None:
    sink = livemosaic.open_sink(str(tmp_path / name), livemosaic.StreamInfo(96, 64))
    frames = [Frame.from_bgr(sizes()[0], pts=n) for n in range(30)]
    refused: list[str] = []

    def work(number: int) -> None:
        for frame in frames:
            try:
                sink.write(frame)
            except UsageError as error:
                refused.append(str(error))
            except livemosaic.SinkError:
                return  # a time that has passed

    assert not in_threads(work)
    sink.abort()
    assert all("one thread writes to a sink" in text for text in refused)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("item", [None, np.zeros((64, 96, 3), np.uint8)])
def test_what_no_sink_takes(tmp_path: Path, item: Any) -> None:
    sink = livemosaic.open_sink(str(tmp_path / "a.mkv"), livemosaic.StreamInfo(96, 64))
    with pytest.raises(UsageError, match="a sink takes a Frame"):
        sink.write(item)
    sink.abort()


def test_a_pipeline_runs_once(gallery: Gallery) -> None:
    source, mosaic = livemosaic.open_source("pattern:64x48@25"), Mosaic(gallery, **SMALL)
    info = livemosaic.output_info(source.info, mosaic.plan(64, 48))
    sink = livemosaic.open_sink("null", info)
    pipeline = livemosaic.Pipeline(source, mosaic, [sink], duration_s=0.2)
    errors = in_threads(lambda number: assert_run(pipeline), 3)
    assert [type(error) for error in errors] == [UsageError] * 2
    with pytest.raises(UsageError, match="runs once"):
        pipeline.run()


def assert_run(pipeline: livemosaic.Pipeline) -> None:
    assert pipeline.run()


def test_settings_are_no_dict(gallery: Gallery) -> None:
    wrong: Any = {"tint": 1.0}
    empty: Any = {}
    for settings in (wrong, empty):
        with pytest.raises(OptionError, match=r"settings .*: must be MosaicSettings; options"):
            Mosaic(gallery, settings)
    mosaic = Mosaic(gallery)
    with pytest.raises(OptionError, match="settings"):
        mosaic.update_settings(wrong)
    assert mosaic.settings == MosaicSettings.of_profile("default")


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_a_pillow_image_that_is_cut_off_is_a_usage_error(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    file = io.BytesIO()
    transparency = {"transparency": 0} if mode == "P" else {}
    Image.fromarray(pixels).convert("RGB").convert(mode).save(file, "PNG", **transparency)
    data = file.getvalue()
    with pytest.raises(UsageError, match="Pillow"):
        to_array(Image.open(io.BytesIO(data[: len(data) // 2])))


# ---- wrong arguments -----------------------------------------------------------------------

INFO = livemosaic.StreamInfo(64, 48)
PICTURE = np.zeros((48, 64, 3), np.uint8)


class Still(livemosaic.Source):
    name = "still"
    info = INFO

    def __iter__(self) -> Any:
        yield Frame.from_bgr(PICTURE)


class Nowhere(livemosaic.Sink):
    def write(self, item: object) -> None: ...


def frames(*arguments: Any, **options: Any) -> Frame:
    return next(livemosaic.mosaic_frames(*arguments, **options))


def pipeline(gallery: Gallery, **arguments: Any) -> livemosaic.Pipeline:
    parts = {"source": Still(), "mosaic": Mosaic(gallery, **SMALL), "sinks": [Nowhere()]}
    return livemosaic.Pipeline(**{**parts, **arguments})


WHAT_NO_GALLERY_IS: list[Any] = [5, None, "", b"photos", {}, {"a"}, "a\0b", Path("a\0b")]
NO_IMAGES: list[Any] = [None, 5, b"p", []]
# What the message begins with, and a call with a gallery.
WRONG: list[tuple[str, Callable[..., Any]]] = [
    *[
        ("gallery", lambda _, call=call, spec=spec: call(spec))
        for call in (Mosaic, livemosaic.open_gallery, Gallery.open, lambda it: frames([], it))
        for spec in WHAT_NO_GALLERY_IS
    ],
    ("recipe", lambda _: livemosaic.open_gallery("p.jpg", recipe={"crops": 0})),  # type: ignore[arg-type]
    ("progress", lambda _: livemosaic.open_gallery("p.jpg", progress=5)),  # type: ignore[arg-type]
    *[("images", lambda _, it=it: Gallery.from_images(it)) for it in NO_IMAGES],
    (r"images\[0\]", lambda _: Gallery.from_images(["a\0b"])),
    ("name", lambda _: Gallery.from_images([PICTURE], name=5)),  # type: ignore[arg-type]
    *[("paths", lambda _, it=it: livemosaic.build_gallery(it, "o.gallery")) for it in (5, None)],
    (r"paths\[1\]", lambda _: livemosaic.build_gallery(["p.jpg", 5], "o.gallery")),  # type: ignore[list-item]
    *[("output", lambda _, it=it: livemosaic.build_gallery("p.jpg", it)) for it in (5, None, "")],
    ("workers", lambda _: livemosaic.build_gallery("p.jpg", "o.gallery", workers=0)),
    *[
        ("spec", lambda _, it=it: livemosaic.open_source(it))
        for it in (5, None, b"p.jpg", ["p.jpg"], "", "a\0b", "http://h/a\0b", Still)
    ],
    ("rate", lambda _: livemosaic.open_source("pattern", rate=0)),  # type: ignore[arg-type]
    ("threads", lambda _: livemosaic.open_source("pattern", threads="x")),  # type: ignore[arg-type]
    *[
        ("output", lambda _, it=it: livemosaic.open_sink(it, INFO))
        for it in (5, None, "", "a\0.png")
    ],
    ("info", lambda _: livemosaic.open_sink("null", 5)),  # type: ignore[arg-type]
    ("options", lambda _: livemosaic.open_sink("null", INFO, options={"crf": 5})),  # type: ignore[arg-type]
    *[
        ("width|height", lambda gallery, it=it: Mosaic(gallery, **SMALL).plan(*it))
        for it in ((0, 0), (-4, 4), (4, -4), ("a", 4), (None, 4), (64.5, 48), ((3, 4), 4))
    ],
    ("matcher", lambda gallery: Mosaic(gallery, matcher=5)),  # type: ignore[arg-type]
    ("matcher", lambda gallery: Mosaic(gallery, matcher=lambda *_: 5).apply(PICTURE)),  # type: ignore[arg-type]
    ("cache_bytes", lambda gallery: Mosaic(gallery, cache_bytes="x")),  # type: ignore[arg-type]
    ("max_cells", lambda gallery: Mosaic(gallery).process(PICTURE, max_cells="x")),  # type: ignore[call-overload]
    ("area", lambda gallery: Mosaic(gallery).process(PICTURE, area="person")),  # type: ignore[call-overload]
    ("profile", lambda gallery: Mosaic(gallery, profile=[])),  # type: ignore[arg-type]
    ("size", lambda gallery: Mosaic(gallery, size=(3, 3))),
    ("size", lambda gallery: Mosaic(gallery).change(size=(3, 3))),
    ("tile_px", lambda _: MosaicSettings(tile_px=5)),
    ("thorough", lambda _: MosaicSettings(thorough="x")),  # type: ignore[arg-type]
    *[("source", lambda gallery, it=it: frames(it, gallery)) for it in (5, None, "", "a\0b")],
    ("source", lambda gallery: pipeline(gallery, source=5)),
    ("mosaic", lambda gallery: pipeline(gallery, mosaic=5)),
    *[("sinks", lambda gallery, it=it: pipeline(gallery, sinks=it)) for it in (5, [5], "o", None)],
    ("rate", lambda gallery: pipeline(gallery, rate=0)),
    ("duration_s", lambda gallery: pipeline(gallery, duration_s="x")),
    ("control", lambda gallery: pipeline(gallery, control=5)),
    ("pts", lambda _: Frame.from_bgr(PICTURE, pts="x")),
    ("time_base", lambda _: Frame.from_bgr(PICTURE, time_base="x")),
    ("colour", lambda _: Frame.from_bgr(PICTURE, colour=5)),  # type: ignore[arg-type]
    ("alpha", lambda _: Frame.from_bgr(PICTURE, alpha=PICTURE)),
    ("matrix", lambda _: livemosaic.Colour("x")),  # type: ignore[arg-type]
    *[
        (name, lambda _, name=name, value=value: replace(INFO, **{name: value}))
        for name in ("width", "height", "rate", "peak_rate", "time_base", "sample_aspect_ratio")
        for value in (0, -4, "a", 4.5)
    ],
    ("info", lambda _: livemosaic.output_info(5, 5)),  # type: ignore[arg-type]
    ("grid", lambda _: livemosaic.output_info(INFO, 5)),  # type: ignore[arg-type]
    ("input", lambda _: livemosaic.render(PICTURE, None)),  # type: ignore[arg-type]
    *[("input", lambda _, it=it: livemosaic.render(it, "null")) for it in (5, None, PICTURE, "")],
    *[
        ("output", lambda _, it=it: livemosaic.render("p.jpg", it))
        for it in (5, ["o.png"], Nowhere)
    ],
    ("settings", lambda _: livemosaic.LiveState(5)),  # type: ignore[arg-type]
    ("state", lambda _: livemosaic.Control(5)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("name", "call"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_wrong_argument_is_named(gallery: Gallery, name: str, call: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=f"^({name})"):
        call(gallery)


def test_an_argument_in_the_wrong_place_is_not_shown() -> None:
    wrong: Any = "rtsp://me:SECRET@camera"
    with pytest.raises(UsageError) as caught:
        livemosaic.open_sink(INFO, wrong)  # type: ignore[arg-type]
    assert "SECRET" not in str(caught.value)


def test_one_path_is_a_list_of_one(tmp_path: Path) -> None:
    photo = tmp_path / "p.png"
    Image.fromarray(PICTURE).save(photo)
    for path in (photo, str(photo)):
        assert livemosaic.build_gallery(path, tmp_path / "o.gallery").photos == 1
        assert len(Gallery.from_images(path)) == 1
        assert livemosaic.open_source(path).info.still
    livemosaic.open_sink(tmp_path / "o.mkv", INFO).abort()
