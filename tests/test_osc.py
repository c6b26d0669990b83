"""OSC: messages as desks send them, hostile packets, floods, and a run that is changed by it."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import build_msg
from pythonosc.udp_client import SimpleUDPClient

from livemosaic.control.actions import ACTIONS
from livemosaic.control.live_values import LIVE_VALUES, live_values
from livemosaic.control.osc import OscMessages, OscReceiver
from livemosaic.control.osc_packet import BadPacket, arguments, messages
from livemosaic.control.state import Control, LiveState
from livemosaic.errors import SinkError
from livemosaic.mosaic.settings import MosaicSettings

from .fakes import wait_until
from .program import SMALL, Program, Run, clip, left, needs_jit

LIVE = ("run", "pattern:64x48@25", "null", *SMALL, "--no-config")
TIMEOUT_S = 20


class Desk:
    """Sends packets to a control without a network, and keeps its messages."""

    def __init__(self) -> None:
        profiles = {"default": {"tint": 0.8}, "photos-first": {"tint": 0.5}}
        state = LiveState(MosaicSettings(tile_px=16, size=(128, 96)), max_latency_s=0.1)
        self.control = Control(state, profiles=profiles, profile="default")
        self.now_s = 0.0
        self.told: list[str] = []
        self.control.listen(self._listen)
        self.changes = 0
        self.messages = OscMessages(self.control, clock=lambda: self.now_s)

    def _listen(self, message: str) -> None:
        if message:
            self.told.append(message)
        else:
            self.changes += 1

    def send(self, name: str, *values: object) -> None:
        """Send a message, which has its effect at once."""
        self.take(build_msg(f"/livemosaic/{name}", list(values)).dgram)

    def take(self, packet: bytes) -> None:
        self.messages.take(packet)
        self.messages.apply()

    def value(self, name: str) -> object:
        return live_values(self.control)[name]

    @property
    def warning(self) -> str:
        """The only message since the last call."""
        (message,) = self.told
        self.told.clear()
        self.now_s += 60
        return message


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---- options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent", "value"),
    [
        *(("overlay", 0.25, 0.25), ("overlay", 1, 1), ("tint", 0.1, 0.1), ("tint", 0.7, 0.7)),
        *(("mirror", 1.0, True), ("mirror", 0.5, True), ("freeze", 1, True), ("mirror", 127, True)),
        *(("mirror", True, True), ("privacy", 0.51, True), ("recording", 1.0, True)),
        *(("min_distance", 4.0, 4), ("min_distance", 4.4, 4), ("palette", 99.6, 100)),
        *(
            ("tile", 32.0, 32),
            ("tile", 31.2, 32),
            ("tile", "32x24", "32x24"),
            ("seed", 2**40, 2**40),
        ),
        *(("match", "clusters", "clusters"), ("outside", "#20a060", "#20a060")),
        *(("gallery", "emoji", "emoji"), ("profile", "photos-first", "photos-first")),
        *(("max_latency_s", 0.2, 0.2), ("columns", 4.0, 4)),
    ],
)
def test_values(name: str, sent: object, value: object, desk: Desk) -> None:
    desk.send(name, sent)
    assert (desk.value(name), desk.told) == (value, [])


@pytest.mark.parametrize("name", ["mirror", "freeze", "privacy", "fullscreen", "overlay_luma"])
def test_a_fader_turns_a_switch_off(name: str, desk: Desk) -> None:
    desk.control.change(**{name: True})
    desk.send(name, 0.0)
    assert desk.value(name) is False


def test_every_live_option_has_an_address(desk: Desk) -> None:
    before = live_values(desk.control)
    for name in LIVE_VALUES:
        value = before[name]
        desk.send(name, *(value if isinstance(value, list) else [value]))
        assert desk.told == [], name
    assert live_values(desk.control) == before


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        *(("overlay", 1.01), ("overlay", -1), ("overlay", "much"), ("overlay", "0.5")),
        *(("overlay", float("nan")), ("overlay", float("inf")), ("mirror", float("nan"))),
        *(("mirror", "yes"), ("palette", 0), ("palette", float("inf")), ("palette", True)),
        *(("tile", 0.5), ("tile", 2**31 - 1), ("seed", -1), ("match", 1.0), ("match", "no")),
        *(("gallery", "/etc"), ("outside", "/etc/passwd"), ("profile", ""), ("area", None)),
        *(("max_latency_s", None), ("recording", None)),
    ],
)
def test_a_wrong_value_is_said_and_changes_nothing(name: str, sent: object, desk: Desk) -> None:
    before = desk.control.state
    desk.send(name, sent)
    assert desk.control.state is before
    assert desk.warning.startswith(f"osc: /livemosaic/{name}")


def test_other_packets_are_said_or_passed_over(desk: Desk) -> None:
    before = desk.control.state
    desk.send("overlai", 1.0)
    assert "did you mean overlay?" in desk.warning
    desk.send("overlay")
    assert "0 arguments" in desk.warning
    desk.send("overlay", 0.1, 0.2)
    assert "2 arguments" in desk.warning
    desk.take(build_msg("/accxyz", [0.1, 0.2, 0.3]).dgram)  # what other programs are for
    desk.take(build_msg("/", []).dgram)
    assert desk.told == []
    assert desk.control.state is before


def test_warnings_are_few(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for step in range(2000):
        desk.now_s = step / 1000
        desk.send("overlay", 7.0 + step)
        desk.send(f"nothing{step}", 1)
    assert len(desk.told) == len(caplog.records) == 1
    desk.now_s += 5
    desk.send("tint", 2)
    assert len(desk.told) == 2


def test_changes_are_merged_and_wrong_ones_left_out(desk: Desk) -> None:
    for step in range(1000):
        for name in ("overlay", "tint"):
            desk.messages.take(build_msg(f"/livemosaic/{name}", [step / 1000]).dgram)
    desk.messages.take(build_msg("/livemosaic/calm", [7.0]).dgram)
    desk.messages.take(build_msg("/livemosaic/variety", [b"blob"]).dgram)
    desk.messages.apply()
    assert (desk.value("overlay"), desk.value("tint"), desk.value("calm")) == (0.999, 0.999, 0.5)
    assert desk.changes == 2  # without the two that are wrong, one by one


def test_a_profile_comes_before_what_follows_it(desk: Desk) -> None:
    bundle = OscBundleBuilder(IMMEDIATELY)
    for name, value in (("tint", 0.1), ("profile", "photos-first"), ("overlay", 0.3)):
        bundle.add_content(build_msg(f"/livemosaic/{name}", [value]))
    desk.take(bundle.build().dgram)
    assert (desk.value("tint"), desk.value("overlay")) == (0.5, 0.3)
    for name, value in (("profile", "photos-first"), ("tint", 0.1)):
        desk.messages.take(build_msg(f"/livemosaic/{name}", [value]).dgram)
    desk.messages.apply()
    assert (desk.value("profile"), desk.value("tint")) == ("photos-first", 0.1)


# ---- actions -----------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[], [1.0], [1], [True], [0.7], ["go"], [None]])
def test_an_action(values: list[object], desk: Desk) -> None:
    desk.send("snapshot", *values)
    assert desk.control.take_snapshot_request()


@pytest.mark.parametrize("value", [0.0, 0, False, float("nan"), -1])
def test_a_button_that_is_released_does_nothing(value: object, desk: Desk) -> None:
    ended: list[bool] = []
    desk.control.on_quit = lambda: ended.append(True)
    for name in ACTIONS:
        desk.send(name, value)
    assert not desk.control.snapshot_requested
    assert (ended, desk.value("recording"), desk.value("privacy")) == ([], False, False)


def test_switches(desk: Desk) -> None:
    """Without a value they change over, with one they take it."""
    for name, message in (("privacy", "privacy mode"), ("freeze", "frozen")):
        desk.send(name)
        assert desk.value(name) is True
        assert message in desk.warning
        desk.send(name)
        assert desk.value(name) is False
        desk.told.clear()
    desk.send("record", 1.0)
    desk.send("record", 0.0)
    assert desk.value("recording") is True


def test_an_action_that_fails_costs_only_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.control, "request_snapshot", lambda: 1 // 0)
    desk.send("snapshot")
    assert "ZeroDivisionError" in desk.warning
    desk.send("overlay", 0.5)
    assert desk.value("overlay") == 0.5


def test_what_was_sent_before_an_action_is_done_before(desk: Desk) -> None:
    seen: list[object] = []
    desk.control.on_quit = lambda: seen.append(desk.value("overlay"))
    desk.messages.take(build_msg("/livemosaic/overlay", [0.9]).dgram)
    desk.messages.take(build_msg("/livemosaic/quit", []).dgram)
    assert seen == [0.9]


# ---- packets -----------------------------------------------------------------------------


def test_raw_packets() -> None:
    """Written by hand, by the specification."""
    packet = b"/livemosaic/overlay\0,f\0\0\x3f\x00\x00\x00"
    ((address, data),) = messages(packet)
    assert (address, arguments(data)) == ("/livemosaic/overlay", [0.5])
    size = struct.pack(">i", len(packet))
    inner = b"#bundle\0" + bytes(7) + b"\1" + size + packet
    later = b"#bundle\0" + b"\xff" * 8 + struct.pack(">i", len(inner)) + inner + size + packet
    assert list(messages(later)) == [(address, data)] * 2
    assert arguments(b"") == arguments(b",\0\0\0") == []
    assert arguments(b",TFNI\0\0\0") == [True, False, None, True]


def test_packets_are_read_as_another_program_reads_them() -> None:
    values = [1, 2**40, 0.5, -3.25e7, "text", "é" * 5, "", True, False, None]
    message = build_msg("/a/b", values)
    ((address, data),) = messages(message.dgram)
    assert (address, arguments(data)) == ("/a/b", OscMessage(message.dgram).params)


@pytest.mark.parametrize(
    "packet",
    [
        *(b"", b"\0", b"livemosaic\0\0", b"/livemosaic/overlay", b"/\xff\xfe\0"),
        *(
            b"#bundle\0" + bytes(8) + size
            for size in (b"\xff\xff\xff\xfc", bytes(4), b"\0\0\0\x08")
        ),
        *(b"#bundle\0" + bytes(8) + b"\0", b"#bundle\0" + bytes(8) + b"\x7f\xff\xff\xff/a\0\0"),
    ],
)
def test_what_is_no_packet(packet: bytes, desk: Desk) -> None:
    with pytest.raises(BadPacket):
        list(messages(packet))
    desk.take(packet)
    assert desk.warning.startswith("osc: a packet that is not valid")


@pytest.mark.parametrize("data", [b",f\0\0", b",f", b"x\0\0\0", b",s\0\0abc", b",b\0\0" + bytes(8)])
def test_what_are_no_arguments(data: bytes) -> None:
    with pytest.raises(BadPacket):
        arguments(data)


def test_bundles_in_bundles_have_an_end(desk: Desk) -> None:
    packet = build_msg("/livemosaic/overlay", [0.9]).dgram
    for _ in range(100):
        packet = b"#bundle\0" + bytes(8) + struct.pack(">i", len(packet)) + packet
    desk.take(packet)
    assert "bundles" in desk.warning
    desk.take(bytes(8193))
    assert "8,192" in desk.warning


def hostile_packets(count: int) -> Iterator[bytes]:
    """Random ones, and good ones that are spoilt."""
    chance = random.Random(15)
    names = [*LIVE_VALUES, *ACTIONS, "", "x" * 300, "../..", "overlay/", "*", "\x1b[31m"]
    values = [0.0, 1.0, -1, 2**31 - 1, float("nan"), "photos", "é" * 20, "", True, None, b"blob"]
    for _ in range(count):
        kind = chance.randrange(4)
        if kind == 0:
            yield chance.randbytes(chance.randrange(200))
            continue
        chosen = [chance.choice(values) for _ in range(chance.randrange(4))]
        packet = build_msg(f"/livemosaic/{chance.choice(names)}", chosen).dgram
        if kind > 1:
            packet = b"#bundle\0" + bytes(8) + struct.pack(">i", len(packet)) + packet + packet
        if kind == 3:
            packet = b"#bundle\0" + bytes(8) + struct.pack(">i", len(packet)) + packet
        spoilt = bytearray(packet)
        for _ in range(chance.randrange(4)):
            spoilt[chance.randrange(len(spoilt))] = chance.choice((0, 0xFF, chance.randrange(256)))
        yield bytes(
            spoilt[: chance.randrange(len(spoilt) + 1)] if chance.random() < 0.3 else spoilt
        )


def test_hostile_packets(desk: Desk) -> None:
    """None is an error of the program, and all values stay what the options take."""
    for number, packet in enumerate(hostile_packets(10_000)):
        desk.messages.take(packet)
        if number % 7 == 0:
            desk.messages.apply()
            desk.now_s += 10
    assert not [text for text in desk.told if "internal error" in text]
    assert all("\x1b" not in text and len(text) < 1000 for text in desk.told)
    assert desk.value("gallery") in ("photos", "emoji")
    assert desk.value("outside") == "original"


# ---- the receiver ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "host"), [("0", "127.0.0.1"), (":0", "127.0.0.1"), ("localhost:0", "localhost")]
)
def test_loopback_unless_told(
    address: str, host: str, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = OscReceiver(address)
    assert receiver.address == f"{host}:{receiver.port}"
    receiver.start(desk.control)
    receiver.close()
    assert "token" not in caplog.text


def test_an_address_for_others_is_warned_of(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    receiver = OscReceiver("0.0.0.0:0")
    assert not receiver.address.startswith("0.0.0.0")
    receiver.start(desk.control)
    receiver.close()
    assert "OSC has no token" in caplog.text


def test_a_port_that_is_taken() -> None:
    receiver = OscReceiver("0")
    try:
        with pytest.raises(SinkError, match="another program uses this port"):
            OscReceiver(str(receiver.port))
    finally:
        receiver.close()
    OscReceiver(str(receiver.port)).close()  # it is free again


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.7"])
def test_a_host_that_is_not_here(host: str) -> None:
    with pytest.raises(SinkError, match=r"osc: .*name an address of this computer"):
        OscReceiver(f"{host}:0")


def test_a_flood(desk: Desk) -> None:
    """The last value counts, and the thread does not work all the time."""
    receiver = OscReceiver("0")
    receiver.start(desk.control)
    packets = [build_msg("/livemosaic/overlay", [step / 100]).dgram for step in range(100)]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", receiver.port))
            until_s, count = time.monotonic() + 0.5, 0
            while time.monotonic() < until_s:
                sender.send(packets[count % 100])
                count += 1
            assert count > 1000
            assert desk.changes <= count / 10

            def arrived() -> bool:
                sender.send(build_msg("/livemosaic/overlay", [0.123]).dgram)
                sender.send(bytes(20_000))
                return desk.value("overlay") == 0.123

            wait_until(arrived, timeout_s=TIMEOUT_S)
    finally:
        receiver.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "livemosaic osc"]


# ---- a run -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def port_of(run: Run) -> int:
    return int(run.wait_for(rb"osc: listening at 127\.0\.0\.1:(\d+) \(UDP\)")[1])


@needs_jit
def test_a_run_is_changed_and_ended(folder: Path) -> None:
    """By another program's client, and by packets without one."""
    run = Run(*LIVE, "--json", "--osc", "0")
    port = port_of(run)

    def has(ending: str) -> bool:
        return any(name.endswith(ending) and name[0] != "." for name in left(folder))

    with contextlib.closing(SimpleUDPClient("127.0.0.1", port)) as client:

        def asked(name: str, value: float, ending: str) -> bool:
            client.send_message(f"/livemosaic/{name}", value)
            return has(ending)

        wait_until(lambda: asked("snapshot", 1.0, ".png"), timeout_s=TIMEOUT_S)
        client.send_message("/livemosaic/recording", 1)
        wait_until(lambda: any(".mkv" in name for name in left(folder)), timeout_s=TIMEOUT_S)
        wait_until(lambda: asked("recording", 0.0, ".mkv"), timeout_s=TIMEOUT_S)
        client.send_message("/livemosaic/overlay", 3.0)
        run.wait_for(rb"osc: /livemosaic/overlay 3.0: must be a number from 0 to 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        for packet in hostile_packets(200):
            if b"quit" not in packet:
                raw.sendto(packet, ("127.0.0.1", port))
        raw.sendto(b"/livemosaic/quit\0\0\0\0", ("127.0.0.1", port))
    outcome = run.end()
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert '"outputs": ["null"]' in outcome.out


def test_a_port_that_is_taken_costs_nothing(folder: Path, program: Program) -> None:
    clip(folder / "a.mp4")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = program("run", "a.mp4", "b.mp4", "--osc", taken.getsockname()[1])
    assert outcome.code == 1
    assert "osc: 127.0.0.1" in outcome.err
    assert "another program uses this port" in outcome.err
    assert left(folder) == ["a.mp4"]
