"""Network addresses: how FFmpeg is to open each kind so that pictures come early and fresh."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...media.urls import public_name, split_url

__all__ = ["Address", "find_protocol"]

# Enough to see an elementary stream's codec and a sound's rate (0.3 s with MPEG-TS). FFmpeg's
# defaults show the first picture after 0.9 s (MPEG-TS) to 1.7 s (FLV). Without any look at the
# times of pictures, 25 frames/s are taken for 50.
_PROBE = {"analyzeduration": "500000", "fpsprobesize": "3"}  # microseconds, pictures

_OPTIONS: dict[str, dict[str, str]] = {
    # Its description names the tracks, so that nothing has to be probed: a camera's first picture
    # comes after 0.1 s and not 1.2 s. (`fflags=nobuffer` would be as quick, but throws away the
    # first key picture.) TCP loses nothing and passes every firewall; a server that has none is
    # asked for UDP. A packet that is lost there is waited for 0.1 s, not 0.5.
    "rtsp": {
        "probesize": "32",
        "rtsp_flags": "prefer_tcp",
        "max_delay": "100000",
        "allowed_media_types": "video+audio+subtitle",
    },
    # 100 ms: how far the server may run ahead. Its default of 3 s is delay.
    "rtmp": {**_PROBE, "rtmp_live": "live", "rtmp_buffer": "100"},
    "http": dict(_PROBE),
    # A receiver that was too slow for a moment has lost packets, and goes on. One that has been
    # given up may still have the port.
    "udp": {**_PROBE, "overrun_nonfatal": "1", "reuse": "1"},
    "tcp": dict(_PROBE),
    "srt": dict(_PROBE),
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
    """A stream's address.

    Attributes
    ----------
    name : as shown to a person, without credentials
    url, options : for FFmpeg
    maybe_file : whether a file may be behind it as well as a stream
    """

    name: str
    url: str
    options: dict[str, str] = field(default_factory=dict)
    maybe_file: bool = False


def find_protocol(spec: str) -> Address | None:
    """The stream that `spec` names; None for a scheme of files."""
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
