"""Uploads of a guest who means harm: does the run go on, and is anything outside the folder?

    nice python -m bench.fuzz.hostile_uploads [--uploads 2000] [--seed 0]

Bombs of all kinds, SVG, pages, polyglots, photos that are cut off or spoilt, bad forms, and file
names with paths, markup and control characters, with good photos in between, from many addresses of
the loopback, at most 8 at once. A finding is a status of 500 or more, an answer that is no JSON of
its shape, a good photo that is refused, a file that is neither in the folder of guests nor named by
livemosaic, a name of the guest's in an answer or a file, a run that ends, prints a traceback or
loses its picture, or more than 1 GB of memory in the run and its processes together. The exit code
is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import collections
import io
import itertools
import json
import os
import random
import re
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

from bench.common import ROOT, livemosaic
from bench.fuzz.openapi import address
from bench.fuzz.spoil import spoil
from livemosaic.web.photos.guest_folder import ID

RUN = [
    "pattern:320x240@25",
    "null",
    "--size",
    "320x240",
    "--columns",
    "20",
    "--no-config",
    "--json",
]
MAX_MB = 1000
AT_ONCE = 8
PER_ADDRESS = 15  # below the limit of a minute
MARK = "hArMfUl"  # in each name of a file, and in each text that is no photo
NAMES = (
    f"{MARK}.jpg",
    f"../../../{MARK}.jpg",
    f"/tmp/{MARK}",
    f"C:\\{MARK}\\..\\con",
    f"<img src=x onerror=alert('{MARK}')>.jpg",
    f"{MARK}\0.jpg",
    f"{MARK}%0d%0aSet-Cookie: a=b",
    f"\u202egpj.{MARK}",
    f"{MARK * 300}.jpg",
    f"{{{{{MARK}}}}}$(touch {MARK})`id`",
    f".guests/{MARK}",
)


class Upload(NamedTuple):
    """An upload: its kind, and either a file or a whole body."""

    kind: str
    data: bytes
    is_form: bool = False
    is_good: bool = False


def image(chance: random.Random, kind: str, size: tuple[int, int] = (400, 300)) -> bytes:
    """An image file of random patches."""
    if kind in ("HEIF", "AVIF"):
        register_heif_opener()
    patches = np.frombuffer(chance.randbytes(12 * 16 * 3), np.uint8).reshape(12, 16, 3)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


KINDS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP", "ICO")


def png(width: int, height: int, bits: int, colour: int, rows: int) -> bytes:
    """A PNG that says its size, with so many rows of zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * bits * samples + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for _ in range(rows)), packer.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bombs(chance: random.Random) -> Iterator[bytes]:
    """Files of very many pixels, or of texts that unpack to very many bytes."""
    yield png(65_500, 65_500, 1, 0, 4000)
    yield png(8000, 8000, 8, 6, 8000)  # within the limit, but 256 MB
    yield png(8100, 8100, 16, 6, 8100)  # 512 MB
    yield png(2**31 - 1, 2**31 - 1, 8, 2, 1)
    yield png(67_000_000, 1, 8, 0, 1)
    yield png(2000, 2000, 8, 2, 100)  # without the rest
    text = zlib.compress(bytes(200_000_000), 9)
    data = b"zTXt" + b"a\0\0" + text
    whole = image(chance, "PNG")
    part = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    yield whole[:33] + part + whole[33:]
    gif = bytearray(image(chance, "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield bytes(gif)
    for size in ((8000, 8000), (8190, 8190)):
        file = io.BytesIO()
        Image.new("RGB", size, (9, 99, 200)).save(file, "JPEG", quality=30, progressive=True)
        yield file.getvalue()
        scans = file.getvalue()
        start = scans.index(b"\xff\xda")
        yield scans[:start] + scans[start:-2] * 20 + b"\xff\xd9"  # many scans
    jpeg = bytearray(image(chance, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    yield bytes(jpeg)
    file = io.BytesIO()
    Image.new("RGB", (16_000, 16_000)).save(file, "WEBP", lossless=True)
    yield file.getvalue()
    file = io.BytesIO()
    frames = [Image.new("P", (1000, 1000), number) for number in range(200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    yield file.getvalue()


TEXTS = (
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>',
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><svg>&c;</svg>',
    "<!doctype html><script>fetch('/api/photos')</script>",
    "%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert)>>>>endobj",
    "push graphic-context\nfill 'url(https://127.0.0.1/|id)'\npop graphic-context",
    "%!PS\n(/etc/passwd) (r) file",
    "#!/bin/sh\ntouch harm\n",
    "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
)


def polyglot(chance: random.Random) -> bytes:
    """A photo that is another file, too."""
    harm = f"<script>{MARK}</script><?php {MARK} ?>".encode()
    kind = chance.choice(KINDS[:6])
    data = image(chance, kind)
    way = chance.randrange(4)
    if way == 0:
        return data + harm
    if way == 1 and kind == "JPEG":
        comment = b"*/=1;" + harm
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]
    if way == 2:
        return b"GIF89a/*" + harm + b"*/=1" + data
    return data + b"PK\x03\x04" + harm + b"PK\x05\x06" + bytes(18)


def bad_form(chance: random.Random, data: bytes) -> bytes:
    """The body of a form with the boundary x that is not right."""
    part = (
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="%b"\r\n\r\n'
        % MARK.encode()
    )
    return chance.choice(
        (
            part + data,
            part + data + b"\r\n--x",
            b"--x\r\n" * 5000,
            part * 300,
            b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n" + data,
            b"--x\r\nContent-Disposition: " + b"a" * 60_000 + b"\r\n\r\n" + data,
            chance.randbytes(5000),
            b"",
            part.replace(b"photo", b"photo\0") + data + b"\r\n--x--\r\n",
            b"\r\n" * 100_000 + part + data + b"\r\n--x--\r\n",
        )
    )


def uploads(count: int, chance: random.Random) -> Iterator[Upload]:
    """So many uploads; few kinds take long to make."""
    made_bombs = [Upload("bomb", data) for data in bombs(chance)]
    seeds = [image(chance, kind) for kind in KINDS]
    kinds: list[Callable[[], Upload]] = [
        lambda: Upload("text", f"{chance.choice(TEXTS)} {MARK}".encode()),
        lambda: Upload("polyglot", polyglot(chance)),
        lambda: Upload("cut off", (data := chance.choice(seeds))[: chance.randrange(len(data))]),
        lambda: Upload("spoilt", spoil(chance.choice(seeds), seeds, chance)),
        lambda: Upload("spoilt", spoil(chance.choice(seeds), seeds, chance)),
        lambda: Upload("noise", chance.choice(seeds)[:40] + chance.randbytes(20_000)),
        lambda: Upload("bad form", bad_form(chance, seeds[0]), is_form=True),
        lambda: Upload("good", image(chance, chance.choice(KINDS[:6])), is_good=True),
    ]
    yield from made_bombs[:count]
    yield Upload("too long", b"\xff\xd8" + bytes(26_000_000))
    for number in range(count - len(made_bombs) - 1):
        yield chance.choice(made_bombs) if number % 40 == 0 else chance.choice(kinds)()


class Party:
    """Sends uploads to a run, and collects what is wrong."""

    def __init__(self, base: str, token: str) -> None:
        self._base, self._token = base, token
        self.answers: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []

    def send(self, number: int, upload: Upload, name: str) -> None:
        """One upload, from an address that others have used little."""
        sender = number // PER_ADDRESS
        transport = httpx.HTTPTransport(
            local_address=f"127.0.{1 + sender // 250}.{1 + sender % 250}"
        )
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(transport=transport, base_url=self._base, timeout=120) as client:
            try:
                if upload.is_form:
                    kind = {"Content-Type": "multipart/form-data; boundary=x"}
                    answer = client.post("/api/photos", content=upload.data, headers=headers | kind)
                else:
                    files = {"photo": (name, upload.data, "image/jpeg")}
                    answer = client.post("/api/photos", files=files, headers=headers)
            except httpx.HTTPError as error:
                self.findings.append(f"{upload.kind}: {error!r}")
                return
        problem = self._problem(upload, answer)
        if problem:
            self.findings.append(
                f"{upload.kind}: {problem}: {answer.status_code} {answer.text[:200]}"
            )

    def _problem(self, upload: Upload, answer: httpx.Response) -> str:
        try:
            body = answer.json()
        except ValueError:
            return "no JSON"
        results = body if isinstance(body, list) else [body]
        for result in results:
            self.answers[f"{upload.kind}: {result.get('state', 'refused')}"] += 1
        if answer.status_code >= 500:
            return "an error of the server"
        if answer.is_success != isinstance(body, list):
            return "another shape"
        if not all({"error"} == set(it) or {"id", "state"} <= set(it) for it in results):
            return "another shape"
        if upload.is_good and any("error" in result for result in results):
            return "a good photo is refused"
        return "a name of the guest's" if MARK in answer.text else ""


class Memory(threading.Thread):
    """Watches the memory of a process and its children."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process, self.ended = process, threading.Event()
        self.peaks: dict[str, float] = {}

    def run(self) -> None:
        while not self.ended.wait(0.05):
            mbs = {str(pid): mb for pid, mb in memory_mb(self._process)}
            mbs["all"] = sum(mbs.values())
            for name, mb in mbs.items():
                self.peaks[name] = max(mb, self.peaks.get(name, 0.0))


def memory_mb(process: int) -> Iterator[tuple[int, float]]:
    """The memory of a process and of its children; of shared pages, each has its share."""
    try:
        tasks = Path(f"/proc/{process}/task").iterdir()
        children = [it for task in tasks for it in (task / "children").read_text().split()]
        used = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return
    if (match := re.search(r"Pss:\s+(\d+)", used)) is not None:
        yield process, int(match[1]) / 1000
    for child in children:
        yield from memory_mb(int(child))


def foreign_files(folder: Path) -> list[str]:
    """The files that should not be there, after a run in a folder."""
    allowed = re.compile(rf"(\.guests/)?{ID.pattern}\.(jpg|known)|\.guests")
    found = [str(it.relative_to(folder / "guests")) for it in (folder / "guests").rglob("*")]
    wrong = [name for name in found if allowed.fullmatch(name) is None]
    own = {"guests", "guests.watched.gallery", "errors.txt"}
    return [*wrong, *(it.name for it in folder.iterdir() if it.name not in own)]


def attack(folder: Path, count: int, seed: int) -> int:
    """Send so many uploads to a run; return 1 if there is a finding."""
    token, guest_token, chance = secrets.token_hex(16), secrets.token_hex(16), random.Random(seed)
    environment = {
        **os.environ,
        "LIVEMOSAIC_WEB_TOKEN": token,
        "LIVEMOSAIC_GUEST_TOKEN": guest_token,
        "PYTHONPATH": str(ROOT),
    }
    command = livemosaic("run", *RUN, "--web", "0", "--guests", "guests")
    began_s = time.monotonic()
    with (folder / "errors.txt").open("w+b") as errors:
        run = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors
        )
        memory = Memory(run.pid)
        try:
            party = Party(address(folder / "errors.txt", run), guest_token)
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=party._base, headers=headers, timeout=60) as host:
                while not host.get("/api/stats").json()["fps_out"]:
                    time.sleep(0.1)
                memory.start()
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    jobs = collections.deque()
                    for number, upload in enumerate(uploads(count, chance)):
                        jobs.append(pool.submit(party.send, number, upload, chance.choice(NAMES)))
                        while len(jobs) > 4 * AT_ONCE:  # the rest is made when it is needed
                            jobs.popleft().result()
                        if number % 200 == 199:
                            print(
                                f"{number + 1} uploads, {len(party.findings)} findings", flush=True
                            )
                    for job in jobs:
                        job.result()
                stats = host.get("/api/stats").json()
                listed = host.get("/api/photos").text
                host.post("/api/photos/approve-all").raise_for_status()
                host.post("/api/actions/quit").raise_for_status()
            out, _ = run.communicate(timeout=60)
        finally:
            memory.ended.set()
            run.kill()
            run.wait()
        errors.seek(0)
        printed = errors.read().decode(errors="replace")
    files = itertools.chain(
        (folder / "guests").rglob("*.jpg"), (folder / "guests").rglob("*.known")
    )
    for finding, is_found in (
        (f"exit code {run.returncode}: {printed[-2000:]}", run.returncode != 0),
        (f"a traceback: {printed[-2000:]}", "Traceback" in printed),
        ("the picture has stopped", not stats["fps_out"]),
        ("a name of the guest's is listed or printed", MARK in listed or MARK in printed),
        (
            "a text of the guest's is in a file",
            any(MARK.encode() in it.read_bytes() for it in files),
        ),
        (f"foreign files: {foreign_files(folder)}", bool(foreign_files(folder))),
        ("too much memory", memory.peaks["all"] > MAX_MB),
    ):
        if is_found:
            party.findings.append(finding)
    for finding in party.findings[:50]:
        print(finding)
    for kind, number in sorted(party.answers.items()):
        print(f"  {kind}: {number}")
    peaks = sorted((mb for name, mb in memory.peaks.items() if name != "all"), reverse=True)
    print(
        f"{sum(party.answers.values())} answers in {time.monotonic() - began_s:.0f} s, "
        f"{len(party.findings)} findings; at most {memory.peaks['all']:.0f} MB, "
        f"of single processes {', '.join(f'{mb:.0f}' for mb in peaks[:4])}; "
        f"{stats['fps_out']:.1f} frames/s, {json.loads(out or b'{}').get('dropped')} dropped"
    )
    return int(bool(party.findings))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--uploads", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name:
        return attack(Path(name), asked.uploads, asked.seed)


if __name__ == "__main__":
    sys.exit(main())
