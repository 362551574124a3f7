"""Cameras of a station file: where pictures come from and which of them are judged."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from inspector.config.base import FilePath, Name, Seconds, SecretName, Section

Label = Literal[
    "bad_lighting", "fastfading", "gblur", "jp2k", "jpeg", "motion_blur", "refimgs", "wn"
]


class TlsTrust(Section):
    """Whom to believe on a TLS connection. Verification cannot be switched off."""

    ca_file: FilePath | None = None
    """PEM file of the certificate authority; the system's authorities if absent."""


class RtspSource(Section):
    """A network camera: `{kind: rtsp, url: rtsp://10.0.0.21/stream1}`."""

    kind: Literal["rtsp"]
    url: str
    """rtsp:// or rtsps:// address, without user name and password."""
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: Seconds = 3.0
    read_timeout_s: Seconds = 2.0
    tls: TlsTrust = TlsTrust()

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"rtsp", "rtsps"} or not parts.hostname:
            msg = "expected an address such as rtsp://10.0.0.21/stream1"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = "user name and password do not belong here: name them under credentials"
            raise ValueError(msg)
        return url


class DeviceSource(Section):
    """A camera at this box (V4L2): `{kind: device, path: /dev/video0}`."""

    kind: Literal["device"]
    path: FilePath
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    fourcc: Annotated[str, Field(min_length=4, max_length=4)] | None = None
    """Pixel format asked of the device, such as MJPG or YUYV."""
    open_timeout_s: Seconds = 3.0
    read_timeout_s: Seconds = 2.0


class VideoSource(Section):
    """A video file: `{kind: video, path: clip.mp4, loop: true}`."""

    kind: Literal["video"]
    path: FilePath
    loop: bool = False
    pace: Literal["own", "fast"] = "own"
    """own: as fast as it was recorded; fast: as fast as frames are judged."""


class ImagesSource(Section):
    """A folder of pictures: `{kind: images, folder: pictures, watch: true}`."""

    kind: Literal["images"]
    folder: FilePath
    watch: bool = False
    """Wait for new pictures after the last; otherwise the camera ends."""
    loop: bool = False
    every_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Pause between pictures."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.watch and self.loop:
            msg = "watch and loop exclude each other"
            raise ValueError(msg)
        return self


class PatternFault(Section):
    """A scripted fault of the test pattern, repeated with the script's period."""

    label: Literal["bad_lighting", "gblur", "jpeg", "motion_blur", "wn"]
    severity: Annotated[int, Field(ge=1, le=5)] = 3
    from_s: Annotated[float, Field(ge=0, le=86_400)]
    to_s: Annotated[float, Field(gt=0, le=86_400)]

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.to_s <= self.from_s:
            msg = f"to_s ({self.to_s}) must be later than from_s ({self.from_s})"
            raise ValueError(msg)
        return self


class PatternSource(Section):
    """Synthetic parts on a belt: `{kind: pattern, faults: [{label: wn, from_s: 9, to_s: 15}]}`."""

    kind: Literal["pattern"]
    width: Annotated[int, Field(ge=64, le=7680)] = 1280
    height: Annotated[int, Field(ge=64, le=4320)] = 720
    fps: Annotated[float, Field(gt=0, le=240)] = 10.0
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    period_s: Seconds = 60.0
    """The fault script starts again after this long."""
    faults: tuple[PatternFault, ...] = ()


Source = Annotated[
    RtspSource | DeviceSource | VideoSource | ImagesSource | PatternSource,
    Field(discriminator="kind"),
]


class Credentials(Section):
    """Names of the secrets that open a camera."""

    username: SecretName
    password: SecretName


class Inspect(Section):
    """Which frames are judged: `{every_s: 0.2}`; every frame by default."""

    every_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Least time between judged frames; 0: every frame. What comes earlier is `not_due`."""


class Region(Section):
    """The part of the picture that is inspected, in pixels of the source picture."""

    x: Annotated[int, Field(ge=0, le=65535)]
    y: Annotated[int, Field(ge=0, le=65535)]
    width: Annotated[int, Field(ge=1, le=65535)]
    height: Annotated[int, Field(ge=1, le=65535)]


class Camera(Section):
    """One named picture source of the station."""

    source: Source
    credentials: Credentials | None = None
    inspect: Inspect = Inspect()
    region: Region | None = None
    policy: Name = "default"
    max_megapixels: Annotated[float, Field(gt=0, le=200)] = 16.0
    """Largest (cropped) picture that is judged; the slots are sized for it."""
    slots: Annotated[int, Field(ge=2, le=64)] = 6
    """Pictures that may wait or be in work at once."""
    max_age_s: Seconds = 0.5
    """A live frame that lags more than this is stale: counted, never judged."""

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.credentials is not None and self.source.kind != "rtsp":
            msg = f"credentials are for rtsp sources, this one is {self.source.kind}"
            raise ValueError(msg)
        return self
