#!/usr/bin/python3
"""A real RTSP server (GStreamer's) on the loopback address; says READY when it listens.

    rtsp_server.py PORT CLIP [--audio] [--user NAME:PASSWORD] [--transport tcp|udp]
    rtsp_server.py PORT --record

CLIP, an MP4 file with H.264 (and AAC), is sent in real time as it is, from its beginning for each
client, at the path /cam. With --record, it receives streams at /in and prints `FRAMES n`.

It wants the system's Python: GStreamer's bindings come with the distribution.
"""

import argparse
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PLAY = (
    "( filesrc location={clip} ! qtdemux name=d "
    "d.video_0 ! queue ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 {audio} )"
)
AUDIO = "d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97"
RECORD = (
    "( rtph264depay name=depay0 ! h264parse ! "
    "fakesink name=out signal-handoffs=true sync=false async=false )"
)
TRANSPORTS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "any": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("clip", nargs="?")
    parser.add_argument("--audio", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--transport", choices=TRANSPORTS, default="any")
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_protocols(TRANSPORTS[args.transport])
    if args.record:
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        factory.set_launch(RECORD)
        factory.connect("media-configure", count)
    else:
        factory.set_launch(PLAY.format(clip=args.clip, audio=AUDIO if args.audio else ""))
    if args.user:
        demand(server, factory, *args.user.split(":"))
    server.get_mount_points().add_factory("/in" if args.record else "/cam", factory)
    server.attach(None)
    say("READY")
    GLib.MainLoop().run()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def count(_factory: object, media: GstRtspServer.RTSPMedia) -> None:
    """Say how many pictures have come."""
    frames = 0

    def handoff(*_: object) -> None:
        nonlocal frames
        frames += 1
        say(f"FRAMES {frames}")

    media.get_element().get_by_name("out").connect("handoff", handoff)


def demand(server: Any, factory: Any, name: str, password: str) -> None:
    """Let in only who knows the password."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
    auth.add_digest(name, password, token)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.from_string(
            "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        )[0]
    )


main()
