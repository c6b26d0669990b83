"""Panels over a picture: statistics, keys, messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.control.state import LiveState, LiveStats
from livemosaic.media.text import Panel, PanelCanvas, fitted, text_width
from livemosaic.window import hud

from .qr_reader import read_qr

U8 = NDArray[np.uint8]

STATS = LiveStats(
    fps_in=29.97,
    fps_out=24.4,
    latency_ms_p50=12.3,
    latency_ms_p95=31.4,
    dropped=7,
    active_share=0.083,
    stages_ms={"decode": 1.2, "compose": 5.4},
)

PANELS = {
    "statistics": lambda: hud.stats_panel(
        hud.gauges(replace(STATS, governor="coarser grid")), px=16
    ),
    "message": lambda: hud.message_panel("overlay 60%", px=16, width=600),
    "recording": lambda: hud.message_panel("*out.mkv", px=16, width=600),
    "help": lambda: hud.help_panel(px=16, height=700),
}


@pytest.fixture(params=PANELS)
def panel(request: pytest.FixtureRequest) -> Panel:
    return PANELS[request.param]()


def noise(height: int, width: int) -> U8:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def luma(bgr: U8) -> NDArray[np.float64]:
    return bgr.astype(np.float64) @ (0.0722, 0.7152, 0.2126)


# ---- panels ------------------------------------------------------------------------------


def test_only_the_box_changes(panel: Panel) -> None:
    before = noise(720, 1280)
    after = before.copy()
    panel.paint(after, 33, 21)
    box = (slice(21, 21 + panel.height), slice(33, 33 + panel.width))
    assert (after[box] != before[box]).mean() > 0.9
    after[box] = before[box]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("left", "top"), [(-20, -30), (1270, 700), (5, 715), (-900, 3), (3, 900)])
def test_what_sticks_out_is_cut(panel: Panel, left: int, top: int) -> None:
    small = noise(720, 1280)
    large = np.zeros((720 + 2000, 1280 + 2000, 3), np.uint8)
    large[1000:1720, 1000:2280] = small
    panel.paint(small, left, top)
    panel.paint(large, 1000 + left, 1000 + top)
    np.testing.assert_array_equal(small, large[1000:1720, 1000:2280])


@pytest.mark.parametrize("below", [0, 128, 255])
def test_readable_on_any_picture(panel: Panel, below: int) -> None:
    """The box is dark whatever is below, and what is written is light."""
    canvas = np.full((900, 1280, 3), below, np.uint8)
    panel.paint(canvas, 0, 0)
    inside = luma(canvas[8 : panel.height - 8, 8 : panel.width - 8])
    background = np.median(inside)
    assert background < 80
    written = inside[inside > background + 60]
    assert 0.01 < written.size / inside.size < 0.35
    assert np.percentile(written, 75) - background > 100


def test_corners_are_round() -> None:
    canvas = np.full((60, 90, 3), 255, np.uint8)
    PanelCanvas(90, 60, radius=10).panel().paint(canvas, 0, 0)
    assert canvas[0, 0].min() == canvas[-1, -1].min() == 255
    assert canvas[0, 45].max() == canvas[30, 0].max() < 100


def test_text_is_drawn_in_its_line_and_colour() -> None:
    canvas = PanelCanvas(200, 60)
    empty = canvas.panel()
    canvas.text("Photos", 10, 20, px=20, colour=(255, 0, 0))
    drawn = canvas.panel()
    rows, columns = np.nonzero((drawn.colour != empty.colour).any(axis=2))
    assert 15 <= rows.min() <= rows.max() < 20 + 1.5 * 20
    assert 8 <= columns.min() <= columns.max() <= 12 + text_width("Photos", 20)
    assert drawn.colour[..., 0].max() > 200 > 100 > drawn.colour[..., 1:].max()


# ---- text --------------------------------------------------------------------------------


def test_text_that_is_too_wide_loses_its_middle() -> None:
    name = "/home/user/Videos/mosaics/livemosaic-2026-07-31.mkv"
    assert fitted(name, 16, 2000) == name
    short = fitted(name, 16, 200)
    assert text_width(short, 16) <= 200
    start, end = short.split("...")
    assert name.startswith(start)
    assert name.endswith(end)
    assert min(len(start), len(end)) > 5
    assert fitted(name, 16, 3) == ""


@pytest.mark.parametrize("text", ["naïve façade", "日本語.mkv", ""])
def test_any_text_can_be_drawn(text: str) -> None:
    panel = hud.message_panel(text, px=16, width=500)
    assert panel.width <= 500


# ---- statistics -----------------------------------------------------------------------------


def test_gauges_show_all_statistics() -> None:
    live_stats = replace(STATS, governor="coarser grid", source="reconnecting")
    lines = {line.name: line for line in hud.gauges(live_stats)}
    assert lines["frames/s"].values == ("30.0 in", "24.4 out")
    assert lines["latency"].values == ("p50 12 ms", "p95 31 ms")
    assert lines["dropped"].values == ("7",)
    assert lines["active cells"].values == ("8%",)
    assert lines["decode"].values == ("1.2 ms",)
    assert lines["coarser grid"].warning
    assert lines["reconnecting"].warning
    assert not any(line.warning for line in hud.gauges(STATS))


def test_bars_are_shares_of_a_frame() -> None:
    live_stats = replace(STATS, fps_in=25.0, stages_ms={"a": 20.0, "b": 0.0, "c": 90.0})
    shares = {line.name: line.share for line in hud.gauges(live_stats)}
    assert (shares["a"], shares["b"], shares["c"]) == (0.5, 0.0, 1.0)
    assert shares["dropped"] is None
    canvas = np.zeros((400, 600, 3), np.uint8)
    hud.stats_panel(hud.gauges(live_stats), px=16).paint(canvas, 0, 0)
    bars = (canvas == hud.BAR_COLOUR).all(axis=2).sum(axis=1)
    a, c = sorted(set(bars[bars > 10]))
    assert a == pytest.approx(c / 2, abs=1)


def test_statistics_that_look_the_same_are_not_drawn_again() -> None:
    calm = replace(
        STATS, fps_in=29.98, latency_ms_p50=12.4, stages_ms={"decode": 1.21, "compose": 5.42}
    )
    assert hud.gauges(calm) == hud.gauges(STATS)
    assert hud.gauges(replace(STATS, dropped=8)) != hud.gauges(STATS)


def test_the_box_stands_still() -> None:
    """Its size does not depend on the values, and nothing leaves it."""
    wild = LiveStats(1000.0, 0.0, 99.9, 9999.0, 123456, 1.0, {"decode": 1234.5, "compose": 0.01})
    panels = [hud.stats_panel(hud.gauges(v), px=16) for v in (STATS, wild)]
    assert panels[0].colour.shape == panels[1].colour.shape
    for panel in panels:
        edge = panel.colour.copy()
        edge[4:-4, 4:-4] = 0
        assert edge.max() < 60


def test_nothing_is_known_yet() -> None:
    assert hud.stats_panel(hud.gauges(LiveStats()), px=16).height > 16


def test_badges() -> None:
    assert hud.badges(LiveState(), STATS) == ()
    live_stats = replace(STATS, recording="out.mkv")
    texts = hud.badges(LiveState(privacy=True, freeze=True), live_stats)
    assert texts == ("*out.mkv", "privacy mode", "frozen")


def test_only_recording_has_a_red_dot() -> None:
    def red(text: str) -> int:
        colour = hud.message_panel(text, px=16, width=500).colour.astype(int)
        return int(((colour[:, :, 2] > 150) & (colour[:, :, 1] < 100)).sum())

    assert red("*out.mkv") > 20
    assert red("out.mkv") == 0


# ---- the QR code ----------------------------------------------------------------------------


@pytest.mark.parametrize("height", [270, 540, 1080])
def test_a_qr_code_can_be_read_at_the_wall(height: int) -> None:
    address = "http://192.168.178.123:8080/upload?token=a1B_a1B_a1B_a1B_a1B_xy"
    canvas = np.full((height, height * 16 // 9, 3), 90, np.uint8)
    canvas[::7, ::5] = 250
    panel = hud.qr_panel(address, height=height)
    assert 0.25 * height < panel.width < panel.height < 0.45 * height
    panel.paint(canvas, 9, height - 9 - panel.height)
    assert read_qr(canvas) == address


# ---- sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "px"), [((1280, 720), 16), ((3840, 2160), 26), ((320, 180), 11), ((500, 1400), 11)]
)
def test_text_follows_the_window(size: tuple[int, int], px: int) -> None:
    assert hud.text_px(*size) == px


@pytest.mark.parametrize("height", [240, 360, 720, 2160])
def test_all_keys_fit_in_the_window(height: int) -> None:
    px = hud.text_px(height * 16 // 9, height)
    panel = hud.help_panel(px=px, height=height)
    assert panel.height <= height
    assert panel.width <= height * 16 // 9


def test_the_photos_of_a_gallery_that_changes() -> None:
    lines = {line.name: line for line in hud.gauges(replace(STATS, photos="933 +14"))}
    assert lines["photos"].values == ("933 +14",)
    assert "photos" not in {line.name for line in hud.gauges(STATS)}
