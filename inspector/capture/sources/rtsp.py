"""Network cameras over RTSP and RTSPS, by PyAV."""

from __future__ import annotations

import errno
import os
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import av
import av.logging

from inspector.addresses import without_passwords
from inspector.capture.sources.base import SourceError
from inspector.capture.sources.stream import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer

    from inspector.capture.sources.base import Intake, Picture, Settings

UNREACHABLE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
BROKEN = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN}

DEADLINE_SHARE = 0.95
"""A read that took this share of its deadline came out of a stall."""

CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Where Debian and Red Hat keep what OpenSSL itself reads from a folder."""

ADVICE = {
    "refused": "check address, port and network of the camera",
    "timeout": "check that the camera is on and reachable, or raise open_timeout_s",
    "authentication": "check user name and password, named under credentials",
    "tls": "check the camera's certificate and tls.ca_file",
    "not_found": "check the path in the address",
    "codec": "the camera must send video that FFmpeg can decode, such as H.264",
    "stalled": "check the camera and its network, or raise read_timeout_s",
    "ended": "check the camera",
}


class RtspSource:
    """One camera's stream. Live.

    FFmpeg's parser hands an H.264 or H.265 picture over when the first packet of the next one is
    there: it arrives one frame interval after it was sent. Motion JPEG does not wait.

    Args:
        settings: the camera's branch of the station file.
        username, password: its credentials; they appear in no message.
    """

    live = True
    one_size = True

    def __init__(self, settings: Settings, username: str | None, password: str | None) -> None:
        source = settings["source"]
        self.fps: float | None = None
        self._shown = without_passwords(source["url"])
        self._url = with_credentials(source["url"], username, password)
        self._has_credentials = username is not None
        self._tls = urlsplit(source["url"]).scheme == "rtsps"
        self._open_s = float(source["open_timeout_s"])
        self._read_s = float(source["read_timeout_s"])
        self._use_pts = source.get("time_stamps", "use") == "use"
        self._options = options_for(source)
        self._container: InputContainer | None = None

    def open(self) -> None:
        """Connect and wait for the stream to begin. Raises SourceError."""
        ca_file = self._options.get("ca_file")
        if ca_file and not os.access(ca_file, os.R_OK):
            msg = f"the certificate authorities in {ca_file} cannot be read; correct tls.ca_file"
            raise SourceError("tls", msg)
        av.logging.set_level(av.logging.WARNING)
        with av.logging.Capture(local=True) as log:
            try:
                self._container = av.open(
                    self._url,
                    format="rtsp",
                    options=self._options,
                    timeout=(self._open_s, self._read_s),
                )
            except (av.error.FFmpegError, OSError) as error:
                # Not chained: the original names the address with its password.
                raise self._failure(error, [text for _, _, text in log], "open") from None
        if not self._container.streams.video:
            raise self._error("codec", "sends no video")
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            raise self._error("codec", "sends video of an unknown kind")
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate else None

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """The pictures as they come. Raises SourceError when the stream stalls or ends."""
        assert self._container is not None, "open comes first"  # noqa: S101 - order of calls
        stream = self._container.streams.video[0]
        with StreamDecoder(stream, intake) as decoder:
            asked = time.monotonic()
            try:
                for packet in self._container.demux(stream):
                    if packet.size == 0:
                        break
                    pts = packet.pts if self._use_pts else None
                    took = time.monotonic() - asked
                    arrival = intake.arrive(
                        float(pts * packet.time_base) if pts is not None else None, took
                    )
                    yield from decoder.feed(packet, arrival)
                    if took >= self._read_s * DEADLINE_SHARE:
                        # Not a frame that came: what FFmpeg's parser had kept when time ran out.
                        raise self._error("stalled", f"sent nothing for {self._read_s:g} s")
                    asked = time.monotonic()
            except (av.error.FFmpegError, OSError) as error:
                raise self._failure(error, [], "read") from None
        raise self._error("ended", "ended the stream")

    def close(self) -> None:
        """Hang up."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _failure(self, error: Exception, log: list[str], phase: str) -> SourceError:
        cause = cause_of(error, log, tls=self._tls, phase=phase)
        limit = self._open_s if phase == "open" else self._read_s
        what = {
            "refused": "cannot be reached",
            "timeout": f"did not answer within {limit:g} s",
            "authentication": "refused the credentials"
            if self._has_credentials
            else "wants credentials and none are configured",
            "tls": "did not prove who it is (TLS)",
            "not_found": "does not know this stream",
            "codec": "sent what is not a video stream",
            "stalled": f"sent nothing for {limit:g} s",
            "ended": "closed the connection",
        }[cause]
        reason = getattr(error, "strerror", None) or type(error).__name__
        return self._error(cause, f"{what} ({reason})")

    def _error(self, cause: str, what: str) -> SourceError:
        return SourceError(cause, f"the camera at {self._shown} {what}; {ADVICE[cause]}")


def with_credentials(url: str, username: str | None, password: str | None) -> str:
    """The address with user name and password in it, as FFmpeg takes them.

    >>> with_credentials("rtsp://10.0.0.21/stream1", "op", "p@ss")
    'rtsp://op:p%40ss@10.0.0.21/stream1'
    """
    if username is None:
        return url
    parts = urlsplit(url)
    user = f"{quote(username, safe='')}:{quote(password or '', safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))


def options_for(source: Settings) -> dict[str, str]:
    """FFmpeg's options of one camera."""
    options = {
        "rtsp_transport": source["transport"],
        "timeout": str(int(float(source["open_timeout_s"]) * 1e6)),
        "fflags": "nobuffer",
        "flags": "low_delay",
        "allowed_media_types": "video",
        # What the stream is stands in its description; do not watch it for the default 5 s.
        "analyzeduration": "500000",
        "max_delay": "100000",  # us that a UDP packet is waited for
    }
    if source["transport"] == "udp":
        options["buffer_size"] = str(4 << 20)  # socket buffer: room for a key frame's burst
    if urlsplit(source["url"]).scheme == "rtsps":
        options["tls_verify"] = "1"
        ca_file = (source.get("tls") or {}).get("ca_file") or system_authorities()
        if ca_file:
            options["ca_file"] = str(ca_file)
    return options


def system_authorities() -> str | None:
    """The system's file of certificate authorities; FFmpeg takes no folder of them."""
    paths = (ssl.get_default_verify_paths().cafile, *CA_BUNDLES)
    return next((path for path in paths if path and os.path.exists(path)), None)  # noqa: PTH110


def cause_of(error: Exception, log: list[str], *, tls: bool, phase: str) -> str:
    """The named cause of a failed `open` or `read`.

    Args:
        log: what FFmpeg said meanwhile: only there it tells a bad certificate from a bad network.
    """
    number = getattr(error, "errno", None)
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return "authentication"
    if isinstance(error, av.error.HTTPClientError):
        return "not_found"
    # Of an answer that did not come FFmpeg says "invalid data", and only its log says why.
    said = " ".join(line for line in log if "Failed reading RTSP data" in line)
    if (
        isinstance(error, (av.error.TimeoutError, av.error.ExitError))
        or number in {errno.ETIMEDOUT, errno.EAGAIN}
        or any(word in said for word in ("Immediate exit", "timed out", "temporarily"))
    ):
        return "timeout" if phase == "open" else "stalled"
    if number in UNREACHABLE:
        return "refused"
    if phase == "read":
        return "codec" if isinstance(error, av.error.InvalidDataError) else "ended"
    if tls and any("ertificate" in text or "TLS" in text or "tls" in text for text in log):
        return "tls"
    if said or number in BROKEN or isinstance(error, (av.error.EOFError, av.error.HTTPServerError)):
        return "ended"
    if number == errno.EIO:
        return "tls" if tls else "refused"
    return "codec"


def make(settings: Settings, username: str | None, password: str | None) -> RtspSource:
    """The source of a camera of kind `rtsp`."""
    return RtspSource(settings, username, password)
