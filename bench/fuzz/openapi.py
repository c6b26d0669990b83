"""Requests that schemathesis makes of the OpenAPI document: is an answer an error of the server?

    pip install schemathesis
    nice python -m bench.fuzz.openapi [--requests 5000] [--seed 0] [--schemathesis PROGRAM]

A live run in a folder of its own answers with and without good values. A finding is a status of 500
or more, a status or type of answer that is not in the document, an answer of another shape, a run
that ends or prints a traceback, or more than 1 GB. `quit` is asked once, at the end. `/stream.mjpg`
does not end, so that only its first bytes are read, with widths of all kinds. The exit code is 1
if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.common import ROOT, livemosaic

RUN = ["pattern:64x48@25", "null", "--size", "64x48", "--columns", "4", "--no-config", "--json"]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,"
CHECKS += "response_schema_conformance"
LEFT_OUT = ("/stream.mjpg", "/api/actions/quit")
EXAMPLES = 150  # of an operation in a round
MAX_MB = 1000
WIDTHS = ("", "16", "64", "4096", "15", "4097", "-1", "1e3", "9" * 30, "%00", "é", "64&width=1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemathesis", default=shutil.which("schemathesis"))
    asked = parser.parse_args()
    if asked.schemathesis is None:
        parser.error("schemathesis is missing; install it with: pip install schemathesis")
    with tempfile.TemporaryDirectory() as name:
        return fuzz(Path(name), asked.schemathesis, asked.requests, asked.seed)


def fuzz(folder: Path, schemathesis: str, requests: int, seed: int) -> int:
    """Make at least so many requests; return 1 if there is a finding."""
    token, made, findings = secrets.token_hex(16), 0, 0
    environment = {**os.environ, "LIVEMOSAIC_WEB_TOKEN": token, "PYTHONPATH": str(ROOT)}
    (folder / "guests").mkdir()
    command = livemosaic("run", *RUN, "--web", "0", "--guests", "guests")
    with (folder / "errors.txt").open("w+b") as errors:
        run = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            base = address(folder / "errors.txt", run)
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=base, headers=headers, timeout=20) as client:
                while not client.get("/api/stats").json()["fps_out"]:
                    time.sleep(0.1)
                while made < requests:
                    report = one_round(folder, schemathesis, base, token, seed)
                    made += report["test_cases"]["generated"]
                    findings += len(report["failures"]) + len(report["errors"])
                    for finding in (*report["failures"], *report["errors"]):
                        print(json.dumps(finding)[:2000])
                    seed += 1
                    print(f"{made} requests, {findings} findings", flush=True)
                findings += streams(client, seed)
                client.post("/api/actions/quit").raise_for_status()
            out, _ = run.communicate(timeout=60)
        finally:
            run.kill()
            run.wait()
        errors.seek(0)
        printed = errors.read().decode(errors="replace")
    peak_mb = json.loads(out)["peak_rss_mb"] if run.returncode == 0 else 0
    for text, is_found in (
        (f"exit code {run.returncode}", run.returncode != 0),
        ("Traceback", "Traceback" in printed),
        ("internal error", "internal error" in printed),
        (f"{peak_mb} MB", peak_mb > MAX_MB),
    ):
        if is_found:
            findings += 1
            print(f"the run: {text}\n{printed[-2000:]}")
    print(f"{made} requests, {len(WIDTHS)} streams, {findings} findings; peak {peak_mb} MB")
    return int(findings > 0)


def address(printed: Path, run: subprocess.Popen[bytes]) -> str:
    """The address that the run prints, without the token."""
    while (match := re.search(r"http://[^/]+", printed.read_text(errors="replace"))) is None:
        if run.poll() is not None:
            sys.exit(f"the run has ended: {printed.read_text(errors='replace')}")
        time.sleep(0.1)
    return match[0]


def one_round(folder: Path, schemathesis: str, base: str, token: str, seed: int) -> dict[str, Any]:
    """The report of one run of schemathesis."""
    file = folder / f"report-{seed}.json"
    words = [schemathesis, "run", f"{base}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    words += [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    words += ["--checks", CHECKS, "--phases", "coverage,fuzzing", "-n", str(EXAMPLES)]
    words += ["--seed", str(seed), "--continue-on-failure", "--no-color", "--request-timeout", "20"]
    words += ["--report", "json", "--report-json-path", str(file)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if not file.exists():
        sys.exit(done.stdout + done.stderr)
    report: dict[str, Any] = json.loads(file.read_bytes())
    return report


def streams(client: httpx.Client, seed: int) -> int:
    """How many streams are answered with an error of the server."""
    found, chance = 0, random.Random(seed)
    for width in chance.sample(WIDTHS, len(WIDTHS)):
        with client.stream("GET", f"/stream.mjpg?width={width}") as answer:
            print(f"stream of width {width or 'nothing'}: {answer.status_code}")
            found += answer.status_code >= 500
    return found


if __name__ == "__main__":
    sys.exit(main())
