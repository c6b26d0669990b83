"""Protocols of network streams: FFmpeg's options for an early first frame and little delay."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...media.urls import public_name, split_url

# Enough to detect an elementary stream's codec and a sound's rate (0.3 s with MPEG-TS). With
# FFmpeg's defaults the first frame takes 0.9 s (MPEG-TS) to 1.7 s (FLV). With no frame for the
# rate, 25 frames/s are detected as 50.
_PROBE = {"analyzeduration": "500000", "fpsprobesize": "3"}  # microseconds, frames

_OPTIONS: dict[str, dict[str, str]] = {
    # The description of the session names the tracks. Without probing, a camera's first frame
    # takes 0.1 s and not 1.2 s (`fflags=nobuffer` would be as quick, but drops the first key
    # frame). TCP loses no packets and passes every firewall; UDP is for servers without it.
    # There, a lost packet delays for 0.1 s, not 0.5 s.
    "rtsp": {
        "probesize": "32",
        "rtsp_flags": "prefer_tcp",
        "max_delay": "100000",
        "allowed_media_types": "video+audio+subtitle",
    },
    # The server may send 100 ms ahead. The default of 3 s would be delay.
    "rtmp": {**_PROBE, "rtmp_live": "live", "rtmp_buffer": "100"},
    # Continue when a slow receiver has lost packets. An abandoned receiver may still use the port.
    "udp": {**_PROBE, "overrun_nonfatal": "1", "reuse": "1"},
    **dict.fromkeys(("http", "tcp", "srt"), _PROBE),
}
# GStreamer's names for RTSP over one transport only.
_TRANSPORTS = {"rtspu": "udp", "rtspt": "tcp"}
_SCHEMES = {
    **{"rtsp": "rtsp", "rtsps": "rtsp", "rtspu": "rtsp", "rtspt": "rtsp"},
    **{name: "rtmp" for name in ("rtmp", "rtmps", "rtmpt", "rtmpe", "rtmpte", "rtmpts")},
    **{"http": "http", "https": "http", "udp": "udp", "tcp": "tcp", "srt": "srt"},
}


@dataclass(frozen=True, slots=True)
class Address:
    """A stream's address, for FFmpeg."""

    name: str  # for people, without credentials
    url: str = field(repr=False)
    options: dict[str, str] = field(default_factory=dict)
    maybe_file: bool = False  # whether it may be a file's address, too


def find_protocol(spec: str) -> Address | None:
    """The address in `spec`, with its protocol's options; None for a protocol of files."""
    scheme = split_url(spec).scheme.lower()
    kind = _SCHEMES.get(scheme)
    if kind is None:
        return None
    options, url = dict(_OPTIONS[kind]), spec
    if scheme in _TRANSPORTS:
        del options["rtsp_flags"]
        options["rtsp_transport"] = _TRANSPORTS[scheme]
        url = "rtsp" + spec[len(scheme) :]
    return Address(public_name(spec), url, options, maybe_file=kind == "http")
