"""Photos of guests: how soon one is in the picture, and what many phones at once cost the picture.

    nice -n -15 python -m bench.guests [--input pattern:1280x720@30] [--photos 20] [--phones 20]

A live run takes photos of 12 megapixels, one after the other: with --auto-approve, from the first
byte of the upload until the photo has a place in the picture; without it, from the approval on.
Then all phones at once send ten photos each, each phone one at a time, as the page does. Beside
their answers stand the latency and the drops of the picture in these seconds and before. The phones
are threads of this process, with the lowest priority: real ones have their own processors.
"""

from __future__ import annotations

import argparse
import collections
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from bench.common import ROOT, livemosaic, machine, median
from bench.fuzz.openapi import address
from livemosaic.priority import lower_priority

EACH = 10  # photos of a phone
TIMEOUT_S = 20.0
BETWEEN_S = 1.0
SETTLE_S = 4.0


def photo(number: int) -> bytes:
    """A JPEG of 12 megapixels, 3 MB."""
    chance = np.random.default_rng(number)
    patches = chance.integers(0, 256, (45, 60, 3), np.uint8)
    large = cv2.resize(patches, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    noise = np.tile(chance.integers(0, 16, (300, 400, 3), np.uint8), (10, 10, 1))
    return cv2.imencode(".jpg", cv2.add(large, noise))[1].tobytes()


class Party:
    """A run with guests."""

    def __init__(self, base: str, token: str, guest_token: str) -> None:
        self._base, self._guest = base, {"Authorization": f"Bearer {guest_token}"}
        headers = {"Authorization": f"Bearer {token}"}
        self.host = httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S)

    def stats(self) -> Any:
        return self.host.get("/api/stats").json()

    def send(self, data: bytes, guest: str) -> Any:
        """Upload a photo; its answer, or the refusal, and the time."""
        began_s = time.perf_counter()
        headers = self._guest | {"Livemosaic-Guest": guest}
        with httpx.Client(base_url=self._base, headers=headers, timeout=120) as client:
            answer = client.post("/api/photos", files={"photo": ("a.jpg", data)}).json()
        (only,) = answer if isinstance(answer, list) else [answer]
        return {**only, "took_s": time.perf_counter() - began_s}

    def wait_for(self, id: str) -> bool:
        """Wait until a photo has a place in the picture."""
        until_s = time.perf_counter() + TIMEOUT_S
        while time.perf_counter() < until_s:
            if self.host.get(f"/api/photos/{id}").json()["places"]:
                return True
            time.sleep(0.01)
        return False


@contextmanager
def party(input: str, *words: str) -> Iterator[Party]:
    tokens = [secrets.token_hex(16) for _ in range(2)]
    environment = {
        **os.environ,
        **dict(zip(("LIVEMOSAIC_WEB_TOKEN", "LIVEMOSAIC_GUEST_TOKEN"), tokens, strict=True)),
        "PYTHONPATH": str(ROOT),
    }
    command = livemosaic("run", input, "null", "--scale", "1", "--no-config", "--web", "0")
    with tempfile.TemporaryDirectory() as name, open(f"{name}/errors.txt", "wb") as errors:
        command += ["--guests", f"{name}/party", *words]
        run = subprocess.Popen(command, cwd=name, env=environment, stderr=errors)
        try:
            opened = Party(address(Path(name, "errors.txt"), run), *tokens)
            while not opened.stats()["fps_out"]:
                time.sleep(0.1)
            time.sleep(SETTLE_S)
            yield opened
            opened.host.post("/api/actions/quit")
            run.wait(30)
        finally:
            run.kill()
            run.wait()


def times(opened: Party, count: int, *, approves: bool) -> list[float]:
    """The seconds from the upload, or from the approval, until each photo is in the picture."""
    found = []
    for number in range(count):
        data = photo(number)
        began_s = time.perf_counter()
        id = opened.send(data, f"guest-{number:04}")["id"]
        if approves:
            began_s = time.perf_counter()
            opened.host.post(f"/api/photos/{id}/approve")
        is_there = opened.wait_for(id)
        found.append(time.perf_counter() - began_s if is_there else float("inf"))
        time.sleep(BETWEEN_S)
    return found


def rush(opened: Party, phones: int) -> None:
    """All phones at once; print what they are answered, and the picture before and meanwhile."""
    data = [photo(1000 + number) for number in range(phones * EACH)]
    lower_priority()
    time.sleep(SETTLE_S)
    before = opened.stats()

    def phone(number: int) -> list[Any]:
        own = data[number * EACH : (number + 1) * EACH]
        return [opened.send(it, f"phone-{number:04}") for it in own]

    worst, began_s = before, time.perf_counter()
    with ThreadPoolExecutor(phones) as pool:
        jobs = [pool.submit(phone, number) for number in range(phones)]
        while not all(job.done() for job in jobs):
            time.sleep(1)
            stats = opened.stats()
            worst = max(worst, stats, key=lambda it: it["latency_ms"]["p99"])
        answers = [answer for job in jobs for answer in job.result()]
    states = collections.Counter(it.get("state") or it["error"] for it in answers)
    print(
        f"{phones} phones, {len(answers)} photos in {time.perf_counter() - began_s:.1f} s: "
        f"{dict(states)}; an answer takes {median([it['took_s'] for it in answers]):.1f} s; "
        f"p99 {before['latency_ms']['p99']} ms before, at most {worst['latency_ms']['p99']} ms; "
        f"{opened.stats()['dropped'] - before['dropped']} frames dropped"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", default="pattern:1280x720@30")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--phones", type=int, default=20)
    asked = parser.parse_args()
    print(machine())
    for what, approves in (("uploaded", False), ("approved", True)):
        with party(asked.input, *([] if approves else ["--auto-approve"])) as opened:
            found = times(opened, asked.photos, approves=approves)
            if found:
                print(
                    f"{what}: in the picture after {median(found):.2f} s, "
                    f"{min(found):.2f} to {max(found):.2f} s"
                )
            if approves and asked.phones:
                rush(opened, asked.phones)


if __name__ == "__main__":
    main()
