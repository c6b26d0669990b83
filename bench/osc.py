"""OSC: what a flood of packets costs.

    python -m bench.osc [--seconds 3]

Another process sends as fast as it can. The share of a processor that the receiver takes is its
processor time, not the wall's, so that it can be measured beside other programs.
"""

from __future__ import annotations

import argparse
import resource
import struct
import subprocess
import sys
import time

from bench.common import machine
from livemosaic.control.osc import OscReceiver
from livemosaic.control.state import Control, LiveState
from livemosaic.mosaic.settings import MosaicSettings

SEND = """
import socket, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
packets = [bytes.fromhex(line) for line in sys.stdin]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", port))
end_s, count = time.monotonic() + seconds, 0
while time.monotonic() < end_s:
    for packet in packets:
        sender.send(packet)
    count += len(packets)
print(count / seconds)
"""


def text(value: str) -> bytes:
    return value.encode() + bytes(4 - len(value) % 4)


def number(name: str, value: float) -> bytes:
    return text(f"/livemosaic/{name}") + text(",f") + struct.pack(">f", value)


def bundle(*messages: bytes) -> bytes:
    sized = (struct.pack(">i", len(message)) + message for message in messages)
    return b"#bundle\0" + bytes(8) + b"".join(sized)


PROFILE = text("/livemosaic/profile") + text(",s") + text("a")
KINDS = {
    "a fader": [number("overlay", step / 100) for step in range(100)],
    "values out of bounds": [number("overlay", 2 + step) for step in range(100)],
    "unknown addresses": [number(f"x{step}", 1) for step in range(100)],
    "an action": [text("/livemosaic/privacy")],
    "bundles of 190 values": [bundle(*(number("overlay", step / 200) for step in range(190)))],
    "bundles of profiles and values": [bundle(*([PROFILE, number("tint", 0.1)] * 80))],
    "no OSC": [bytes([step]) * 200 for step in range(100)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    print(machine())
    print("| packets | sent/s | of a processor | changes/s | memory |\n|---|---|---|---|---|")
    for name, packets in KINDS.items():
        print(f"| {name} | {' | '.join(flood(packets, seconds))} |", flush=True)


def flood(packets: list[bytes], seconds: float) -> tuple[str, str, str, str]:
    """What a flood costs, in words."""
    state = LiveState(MosaicSettings(tile_px=16, size=(128, 96)))
    control = Control(state, profiles={"a": {"tint": 0.5}}, profile="a")
    changes: list[str] = []
    control.listen(lambda message: None if message else changes.append(message))
    receiver = OscReceiver("0")
    receiver.start(control)
    words = [sys.executable, "-c", SEND, str(receiver.port), str(seconds)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sender:
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began_s, cpu_s = time.monotonic(), time.process_time()
        sent, _ = sender.communicate("\n".join(packet.hex() for packet in packets))
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    receiver.close()
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    rates = f"{float(sent):,.0f}", f"{cpu_s / took_s:.1%}", f"{len(changes) / took_s:,.0f}"
    return (*rates, f"+{grown_kb} kB")


if __name__ == "__main__":
    main()
