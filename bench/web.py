"""The control page: what it costs the picture, and how soon a slider shows.

    python -m bench.web --webcam CLIP [--seconds 60] [--pairs 1]

ffmpeg makes a clip of 1280x720 at 30 frames/s, which is played as if it were live, without a page,
with one, and with one whose sliders move. A slider alone costs the picture something: all cells
are painted again. The page is open in Chromium, 1440x900, with its preview; ten times a
second a slider moves. Once a second the slider of the overlay jumps from one end to the other, and
the page measures until it has drawn a picture of the other kind: tiles have far more edges than
the original.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import ROOT, clip, livemosaic, machine, median, table
from tests.browser import Tab, browser

SETTLE_S = 5.0  # the page opens, and the first pictures are made

# Draws the middle of each picture on a canvas of its own, and sums the steps from pixel to pixel.
MEASURE = """
(() => {
  const copy = new OffscreenCanvas(128, 72).getContext("2d", { willReadFrequently: true });
  const delays = [];
  let waiting = null;
  function edges() {
    const [x, y] = [(canvas.width - 128) >> 1, (canvas.height - 72) >> 1];
    copy.drawImage(canvas, x, y, 128, 72, 0, 0, 128, 72);
    const { data } = copy.getImageData(0, 0, 128, 72);
    let sum = 0;
    for (let at = 1; at + 4 < data.length; at += 4) sum += Math.abs(data[at] - data[at + 4]);
    return sum / 128 / 72;
  }
  const show = paint;
  const seen = [];
  paint = async (data) => {
    await show(data);
    const now = edges();
    seen.push(now);
    if (!waiting) return;
    const isOther = waiting.value ? now < waiting.level * 0.7 : now > waiting.level * 1.4;
    if (isOther) { delays.push(performance.now() - waiting.at); waiting = null; }
  };
  function move(name, value) {
    const slider = document.querySelector(`[name=${name}]`);
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  }
  let count = 0;
  let missed = 0;
  window.bench = setInterval(() => {
    count += 1;
    if (count % 10) { move("tint", 0.5 + 0.4 * Math.sin(count / 7)); return; }
    if (waiting) missed += 1;
    const value = count % 20 ? 1 : 0; // it starts at 0
    waiting = { value, level: seen.at(-1), at: performance.now() };
    move("overlay", value);
  }, 100);
  window.result = () => ({ delays, missed, pictures: seen.length });
  move("overlay", 0);
})()
"""


def live(
    source: Path, seconds: float, tab: Tab | None = None, *, moves: bool = False
) -> tuple[Any, dict[str, Any]]:
    """The report of a run, and what a page in a tab measured; with `moves` it moves sliders."""
    options = ["--realtime", "--tile", "16", "--scale", "1", "--no-config", "--json"]
    command = livemosaic("run", str(source), "null", *options, "--duration", str(seconds))
    measured: dict[str, Any] = {}
    with subprocess.Popen(
        command + (["--web", "0"] if tab else []),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stderr is not None
        if tab is not None:
            line = next(line for line in process.stderr if line.startswith("control page: "))
            measured = measure(line.split()[-1], seconds, tab, moves=moves)
        output, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
    return json.loads(output), measured


def measure(url: str, seconds: float, tab: Tab, *, moves: bool) -> dict[str, Any]:
    """Open the page, and return what it saw."""
    ends_s = time.monotonic() + seconds
    tab.show(url, size=(1440, 900))
    tab.wait_for("document.querySelectorAll('.option').length > 15 && lines.length > 0")
    tab.run(MEASURE.replace("= setInterval", "= setInterval" if moves else "= (() => 0)"))
    while time.monotonic() < ends_s - SETTLE_S:
        time.sleep(0.5)
    tab.run("clearInterval(bench)")
    result: dict[str, Any] = tab.run("result()")
    return result


def words(report: Any) -> str:
    latency = report["latency_ms"]
    return (
        f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms, "
        f"{report['dropped']} of {report['frames_in']} dropped"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--webcam", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pairs", type=int, default=1)
    args = parser.parse_args()
    print(machine(), flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        loop = int(args.seconds * 30 / 700)  # the shortest clip has 765 frames
        filters = "crop=iw:iw*9/16,scale=1280:720"
        source = clip(args.webcam, Path(folder, "720p30.mp4"), filters=filters, rate=30, loop=loop)
        for _ in range(args.pairs):
            with browser() as opened, opened.tab() as tab:
                without, _ = live(source, args.seconds)
                looking, _ = live(source, args.seconds, tab)
                moving, measured = live(source, args.seconds, tab, moves=True)
            delays = sorted(measured["delays"])
            shown = (
                f"median {median(delays):.0f} ms, p95 {delays[int(0.95 * len(delays))]:.0f} ms, "
                f"worst {delays[-1]:.0f} ms of {len(delays)}, {measured['missed']} not within 1 s"
            )
            pictures = measured["pictures"] / (args.seconds - SETTLE_S)
            rows += [
                ("without a page", words(without), ""),
                ("page open with its preview", words(looking), "p99 5 ms more, no drop"),
                ("the same, sliders moving", words(moving), "p99 5 ms more, no drop"),
                ("slider to picture", shown, "150 ms"),
                ("previews", f"{pictures:.1f} a second", ""),
            ]
    print(table(rows))


if __name__ == "__main__":
    main()
