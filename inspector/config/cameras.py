"""Cameras of a station file: where pictures come from and which of them are judged."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from inspector.config.base import FilePath, Name, Seconds, SecretName, Section

Label = Literal[
    "bad_lighting", "fastfading", "gblur", "jp2k", "jpeg", "motion_blur", "refimgs", "wn"
]

FrozenAfter = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_USER_INFO = re.compile(r"[a-z]+://[^/@]*:[^@]*@", re.IGNORECASE)
"""Also where a character of the password ends what is read as the host."""


class TlsTrust(Section):
    """Whom to believe on a TLS connection. Verification cannot be switched off."""

    ca_file: FilePath | None = None
    """PEM file of the certificate authority; the system's authorities if absent."""


class RtspSource(Section):
    """A network camera: `{kind: rtsp, url: rtsp://10.0.0.21/stream1}`."""

    kind: Literal["rtsp"]
    """A network camera."""
    url: str
    """rtsp:// or rtsps:// address, without user name and password."""
    transport: Literal["tcp", "udp"] = "tcp"
    """tcp loses nothing on the way; udp where the camera offers nothing else."""
    open_timeout_s: Seconds = 3.0
    """Without a connection in this time the camera is lost, and tried again."""
    read_timeout_s: Seconds = 2.0
    """Without a picture in this time the camera has stalled, and is opened anew."""
    frozen_after_s: FrozenAfter = 10.0
    """A picture that stays the same for so long, to the last bit and over two key frames, is
    frozen, and the camera opened anew; 0: never."""
    time_stamps: Literal["use", "ignore"] = "use"
    """ignore: of a camera whose clock runs wrong, so that its frames seem late."""
    tls: TlsTrust = TlsTrust()
    """Whom to believe on an rtsps:// address."""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        msg = "expected an address such as rtsp://10.0.0.21/stream1"
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(msg) from None  # its own words would repeat what may be a password
        if parts.scheme not in {"rtsp", "rtsps"} or not parts.hostname or _BLANK.search(url):
            raise ValueError(msg)
        if "@" in parts.netloc or _USER_INFO.match(url):
            msg = (
                "user name and password do not belong here: name them under credentials"
                " (an @ in the path is written %40)"
            )
            raise ValueError(msg)
        try:
            port = parts.port
        except ValueError:
            port = 0  # here too
        if port == 0:
            msg = "the port must be a number from 1 to 65535"
            raise ValueError(msg)
        return url


class DeviceSource(Section):
    """A camera at this box (V4L2): `{kind: device, path: /dev/video0}`."""

    kind: Literal["device"]
    """A camera at this box (V4L2)."""
    path: FilePath
    """The device."""
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    """Columns asked of the device; its own choice if absent."""
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    """Rows asked of the device; its own choice if absent."""
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Pictures a second asked of the device; its own choice if absent."""
    fourcc: Annotated[str, Field(min_length=4, max_length=4)] | None = None
    """Pixel format asked of the device, such as MJPG or YUYV."""
    open_timeout_s: Seconds = 3.0
    """Without an open device in this time the camera is lost, and tried again."""
    read_timeout_s: Seconds = 2.0
    """Without a picture in this time the camera has stalled, and is opened anew."""
    frozen_after_s: FrozenAfter = 10.0
    """A picture that stays the same for so long, to the last bit, is frozen, and the camera opened
    anew; 0: never."""


class VideoSource(Section):
    """A video file: `{kind: video, path: clip.mp4, loop: true}`."""

    kind: Literal["video"]
    """A video file."""
    path: FilePath
    """The file."""
    loop: bool = False
    """Begin again at the end; otherwise the camera ends."""
    pace: Literal["own", "fast"] = "own"
    """own: as fast as it was recorded; fast: as fast as frames are judged."""


class ImagesSource(Section):
    """A folder of pictures: `{kind: images, folder: pictures, watch: true}`."""

    kind: Literal["images"]
    """A folder of pictures, in the order of their names."""
    folder: FilePath
    """The folder."""
    watch: bool = False
    """Wait for new pictures after the last; otherwise the camera ends. A restart begins anew with
    the first; a folder that was away goes on where it was."""
    loop: bool = False
    """Begin again after the last picture."""
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
    """Kind of the fault."""
    severity: Annotated[int, Field(ge=1, le=5)] = 3
    """1: just visible; 5: gross."""
    from_s: Annotated[float, Field(ge=0, le=86_400)]
    """Begin, counted from the start of the script."""
    to_s: Annotated[float, Field(gt=0, le=86_400)]
    """End, counted from the start of the script."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.to_s <= self.from_s:
            msg = f"to_s ({self.to_s}) must be later than from_s ({self.from_s})"
            raise ValueError(msg)
        return self


class PatternSource(Section):
    """Synthetic parts on a belt: `{kind: pattern, faults: [{label: wn, from_s: 9, to_s: 15}]}`."""

    kind: Literal["pattern"]
    """Synthetic parts on a belt, for trials without a camera."""
    width: Annotated[int, Field(ge=64, le=7680)] = 1280
    """Columns of the picture."""
    height: Annotated[int, Field(ge=64, le=4320)] = 720
    """Rows of the picture."""
    fps: Annotated[float, Field(gt=0, le=240)] = 10.0
    """Pictures a second."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    """Another number makes other parts."""
    period_s: Seconds = 60.0
    """The fault script starts again after this long."""
    faults: Annotated[tuple[PatternFault, ...], Field(max_length=100)] = ()
    """What goes wrong, and when."""

    @model_validator(mode="after")
    def _within_period(self) -> Self:
        for fault in self.faults:
            if fault.to_s > self.period_s:
                msg = (
                    f"a fault lasts to {fault.to_s:g} s, the script begins again after period_s "
                    f"({self.period_s:g} s)"
                )
                raise ValueError(msg)
        return self


Source = Annotated[
    RtspSource | DeviceSource | VideoSource | ImagesSource | PatternSource,
    Field(discriminator="kind"),
]


class Credentials(Section):
    """Names of the secrets that open a camera."""

    username: SecretName
    """Name of the secret that holds the user name."""
    password: SecretName
    """Name of the secret that holds the password."""


class Barrier(Section):
    """A light barrier in the picture: a strip across the belt that passing parts cover."""

    x: Annotated[int, Field(ge=0, le=65535)]
    """Left edge, in pixels of the source picture."""
    y: Annotated[int, Field(ge=0, le=65535)]
    """Top edge."""
    width: Annotated[int, Field(ge=1, le=8192)]
    """Columns; few where parts move from side to side."""
    height: Annotated[int, Field(ge=1, le=8192)]
    """Rows; few where parts move up or down."""
    parts: Literal["lighter", "darker", "either"] = "either"
    """How parts look against the empty belt."""
    free: Annotated[float, Field(ge=0.05, le=1)] = 0.5
    """Share of the time for which the barrier is free while the belt runs, at least. Below a half
    it must be known whether parts are lighter or darker."""
    contrast: Annotated[float, Field(ge=0.01, le=1)] = 0.1
    """So much of full scale must the light differ from the empty belt's."""
    covered: Annotated[float, Field(ge=0.05, le=1)] = 0.5
    """A part is there while at least this share of the barrier differs."""
    gap_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """The barrier must be free for so long before the next part counts: more than a hole in a part
    takes, less than the gap between two."""
    delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """From the front's arrival at the barrier to the picture that is judged."""

    @model_validator(mode="after")
    def _knowable(self) -> Self:
        if self.parts == "either" and self.free < 0.5:  # noqa: PLR2004 - a majority
            msg = (
                f"with free ({self.free:g}) below 0.5 what is seen most is a part, not the belt; "
                "say whether parts are lighter or darker than it"
            )
            raise ValueError(msg)
        return self


class Inspect(Section):
    """Which frames are judged: by `every_s`, `on_trigger` or `on_motion`; all by default."""

    every_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Least time between judged frames; 0: every frame. What comes earlier is `not_due`."""
    on_trigger: bool = False
    """true: only those that a trigger asks for; all others are `not_due`."""
    on_motion: Barrier | None = None
    """One for each part that passes a barrier in the picture; all others are `not_due`."""
    deadline_ms: Annotated[float, Field(ge=1, le=60_000)] = 1000.0
    """Longest that a trigger waits for its verdict; then the answer is `unjudgeable`."""

    @model_validator(mode="after")
    def _one_reason(self) -> Self:
        asked = {
            "on_trigger": self.on_trigger,
            "on_motion": self.on_motion is not None,
            f"every_s ({self.every_s:g})": self.every_s > 0,
        }
        reasons = [name for name, wanted in asked.items() if wanted]
        if len(reasons) > 1:
            msg = f"{' and '.join(reasons)} exclude each other"
            raise ValueError(msg)
        return self

    @property
    def part_by_part(self) -> bool:
        """Whether each judged frame is of another part."""
        return self.on_trigger or self.on_motion is not None


class Region(Section):
    """The part of the picture that is inspected, in pixels of the source picture."""

    x: Annotated[int, Field(ge=0, le=65535)]
    """Left edge."""
    y: Annotated[int, Field(ge=0, le=65535)]
    """Top edge."""
    width: Annotated[int, Field(ge=1, le=65535)]
    """Columns."""
    height: Annotated[int, Field(ge=1, le=65535)]
    """Rows."""


class Camera(Section):
    """One named picture source of the station."""

    source: Source
    """Where its pictures come from; `kind` decides which keys there are."""
    credentials: Credentials | None = None
    """Names of the secrets that open it; rtsp only."""
    inspect: Inspect = Inspect()
    """Which of its frames are judged."""
    region: Region | None = None
    """The part of the picture that is judged; all of it if absent."""
    policy: Name = "default"
    """Name of the policy that turns its verdicts into events."""
    max_megapixels: Annotated[float, Field(gt=0, le=200)] = 16.0
    """Largest (cropped) picture that is judged; the slots are sized for it."""
    slots: Annotated[int, Field(ge=2, le=64)] = 6
    """Pictures that may wait or be in work at once."""
    max_age_s: Seconds = 0.5
    """A live frame that lags more than this is stale: counted, never judged."""
    camera_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """What the stream lags behind the scene: a trigger is answered by the first frame that arrives
    so long after it."""

    @model_validator(mode="after")
    def _answers_in_time(self) -> Self:
        if self.camera_delay_ms >= self.inspect.deadline_ms:
            msg = (
                f"camera_delay_ms ({self.camera_delay_ms:g}) must be less than inspect.deadline_ms "
                f"({self.inspect.deadline_ms:g}), or no trigger is answered in time"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.credentials is not None and self.source.kind != "rtsp":
            msg = f"credentials are for rtsp sources, this one is {self.source.kind}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _fits_a_slot(self) -> Self:
        part = self.region or self.source
        if isinstance(part, Region | PatternSource):
            pixels = part.width * part.height
            if pixels > round(self.max_megapixels * 1e6):
                msg = (
                    f"pictures of {part.width}x{part.height} have {pixels / 1e6:.1f} megapixels, "
                    f"max_megapixels is {self.max_megapixels:g}; none of them would be judged"
                )
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _inside_the_pattern(self) -> Self:
        source = self.source
        if not isinstance(source, PatternSource):
            return self  # what a camera sends is known when it comes
        areas = {"region": self.region, "inspect.on_motion": self.inspect.on_motion}
        for key, area in areas.items():
            if area is None:
                continue
            right, bottom = area.x + area.width, area.y + area.height
            if right > source.width or bottom > source.height:
                msg = (
                    f"{key} reaches to column {right} and row {bottom}, the pattern has "
                    f"{source.width}x{source.height}"
                )
                raise ValueError(msg)
        return self
