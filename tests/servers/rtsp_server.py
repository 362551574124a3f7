"""A real RTSP server for tests: GStreamer's, sending pictures that can be switched while it runs.

Run by the system's Python, which has GStreamer's bindings; no other library. It prints one JSON
object a line (`{"port": 8554}` once it listens), and takes commands on its standard input:

    show NAME      send this picture from now on
    stall          keep connections, send nothing
    go             send again
    drop           close all connections
    quit           end (as does the end of the input)
"""

import argparse
import json
import pathlib
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

BLOCK_PX = 16
BITS = 16

ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer=16"
    " key-int-max={gop} threads=1 ! rtph264pay name=pay0 config-interval=1 pt=96",
    "h264-bframes": "x264enc speed-preset=veryfast bframes=2 b-adapt=false rc-lookahead=2"
    " pass=qual quantizer=16 key-int-max={gop} threads=1"
    " ! rtph264pay name=pay0 config-interval=1 pt=96",
    "jpeg": "jpegenc quality=95 ! rtpjpegpay name=pay0 pt=26",
}


def say(**facts):
    print(json.dumps(facts), flush=True)


def stamp(picture, width, number):
    """The frame's number as a row of white and black blocks, lowest bit first."""
    data = bytearray(picture)
    for bit in range(BITS):
        value = b"\xff" if number >> bit & 1 else b"\x00"
        for y in range(BLOCK_PX):
            start = (y * width + bit * BLOCK_PX) * 3
            data[start : start + BLOCK_PX * 3] = value * (BLOCK_PX * 3)
    return bytes(data)


class Feed:
    """Pushes the current picture into every pipeline that plays, at the frame rate."""

    def __init__(self, options, pictures):
        self.options = options
        self.pictures = pictures
        self.current = next(iter(pictures))
        self.stalled = False
        self.number = 0
        self.sources = []

    def configure(self, _factory, media):
        source = media.get_element().get_child_by_name("src")
        caps = (
            f"video/x-raw,format=BGR,width={self.options.width},height={self.options.height},"
            f"framerate={self.options.fps}/1"
        )
        source.set_property("caps", Gst.Caps.from_string(caps))
        self.sources.append(source)
        media.connect("unprepared", lambda _media: self.sources.remove(source))

    def push(self):
        if self.stalled:
            return True
        picture = self.pictures[self.current]
        if self.options.numbered:
            picture = stamp(picture, self.options.width, self.number)
            self.number += 1
        for source in list(self.sources):
            # Before it plays it has no time: such a picture would be due in some hours, and all
            # that come after it would wait for that.
            if source.get_state(0)[1] == Gst.State.PLAYING:
                source.emit("push-buffer", Gst.Buffer.new_wrapped(picture))
        return True


def commands(feed, server, loop):
    """Reads standard input in a thread of its own."""
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "show":
            feed.current = rest
        elif word == "stall":
            feed.stalled = True
        elif word == "go":
            feed.stalled = False
        elif word == "drop":
            GLib.idle_add(
                lambda: (
                    server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE) and False
                )
            )
        elif word == "quit":
            break
        say(done=line.strip(), number=feed.number)
    GLib.idle_add(loop.quit)


def secure(server, factory, options):
    """Digest credentials and TLS."""
    if not options.user and not options.certificate:
        return
    auth = GstRtspServer.RTSPAuth()
    permissions = GstRtspServer.RTSPPermissions()
    role = "viewer" if options.user else "anonymous"
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    permissions.add_permission_for_role(role, "media.factory.access", True)
    permissions.add_permission_for_role(role, "media.factory.construct", True)
    factory.set_permissions(permissions)
    if options.user:
        from gi.repository import GstRtsp

        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    else:
        auth.set_default_token(token)
    if options.certificate:
        auth.set_tls_certificate(
            Gio.TlsCertificate.new_from_files(options.certificate, options.key)
        )
    server.set_auth(auth)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--fps", type=int, default=20)
    parser.add_argument("--gop", type=int, default=10)
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--path", default="/stream1")
    parser.add_argument("--port", default="0")
    parser.add_argument("--numbered", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument(
        "pictures", nargs="+", metavar="NAME=FILE", help="raw BGR pictures of width x height"
    )
    options = parser.parse_args()
    pictures = {}
    for item in options.pictures:
        name, _, path = item.partition("=")
        pictures[name] = pathlib.Path(path).read_bytes()
        if len(pictures[name]) != options.width * options.height * 3:
            sys.exit(f"{path} has {len(pictures[name])} bytes, expected a raw BGR picture")
    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    encoder = ENCODERS[options.codec].format(gop=options.gop)
    factory.set_launch(
        "( appsrc name=src is-live=true format=time do-timestamp=true ! videoconvert"
        f" ! video/x-raw,format=I420 ! {encoder} )"
    )
    factory.set_shared(True)
    feed = Feed(options, pictures)
    factory.connect("media-configure", feed.configure)
    secure(server, factory, options)
    server.get_mount_points().add_factory(options.path, factory)
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    GLib.timeout_add(1000 // options.fps, feed.push)
    threading.Thread(target=commands, args=(feed, server, loop), daemon=True).start()
    say(port=server.get_bound_port())
    loop.run()


main()
