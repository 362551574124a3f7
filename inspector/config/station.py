"""The station file: one running service on one box."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from inspector.config.base import FilePath, Name, SecretName, Section, StatePath
from inspector.config.cameras import Camera, Label
from inspector.config.events import Events
from inspector.config.evidence import Evidence
from inspector.config.line import Line

if TYPE_CHECKING:
    from inspector.config.faults import KeyPath


class Engine(Section):
    """Which networks judge, on what."""

    screen: Name = "simplenet"
    """Engine that sees every frame."""
    confirm: Name | None = None
    """Engine that judges again what the screen does not accept."""
    folder: FilePath | None = None
    """Folder of the station's own engine folders, looked at before the shipped ones."""
    runtime: Literal["auto", "tensorrt", "openvino"] = "auto"
    """What runs the engines; auto: TensorRT where there is one, else OpenVINO."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """auto: the fastest that reproduces the golden tiles."""
    fallback: Literal["openvino", "none"] = "openvino"
    """Runtime to serve on while the other is not ready, or has failed."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most tiles judged at once."""
    max_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    """Longest wait for more tiles."""
    confirm_within_ms: Annotated[float, Field(gt=0, le=60_000)] = 200.0
    """Without the confirming engine's answer in this time the screen's verdict stands."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads of the openvino runtime; all of them if absent."""
    plans: StatePath = Path("plans")
    """Folder of compiled TensorRT plans; a relative path starts at the state folder."""
    plans_max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 4000
    """Bound of all plans; the last good one of each engine and precision stays in any case."""
    device: Annotated[int, Field(ge=0, le=255)] = 0
    """Number of the GPU that the tensorrt runtime uses."""
    own_process: bool = False
    """Run openvino in a process of its own, so that a crash in it does not end the station."""


class Policy(Section):
    """How verdicts become events: degraded when `needed` of the last `window` are rejected."""

    reject: Literal["all"] | Annotated[tuple[Label, ...], Field(min_length=1)] = "all"
    """Labels that count; a frame rejected for another label counts as accepted."""
    needed: Annotated[int, Field(ge=1, le=10_000)] = 3
    """So many rejected frames in the window make the camera degraded."""
    window: Annotated[int, Field(ge=1, le=10_000)] = 5
    """So many judged frames are looked back on."""
    recover_after: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Accepted frames in a row that end the degraded state."""
    emit: Literal["rejects", "transitions"] = "rejects"
    """rejects: an event for each rejected frame, and for changes; transitions: for changes only."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.needed > self.window:
            msg = f"needed ({self.needed}) cannot exceed window ({self.window})"
            raise ValueError(msg)
        return self


class Web(Section):
    """The station's pages and interfaces."""

    listen: str = "127.0.0.1:8787"
    """ADDRESS:PORT; port 0 takes a free one."""
    token: SecretName | None = None
    """Name of the secret that callers must show; required on any address but loopback."""

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
            if not 0 <= int(port) <= 65535:  # noqa: PLR2004 - the range of ports
                raise ValueError
        except ValueError:
            msg = "expected ADDRESS:PORT with an IP address, such as 127.0.0.1:8787"
            raise ValueError(msg) from None
        return listen

    @property
    def host(self) -> str:
        """The address to listen on, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 for any free one."""
        return int(self.listen.rpartition(":")[2])

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token is None and not ipaddress.ip_address(self.host).is_loopback:
            msg = f"{self.host} can be reached from outside: name a secret under token"
            raise ValueError(msg)
        return self


class Station(Section):
    """The whole station file, version 1."""

    version: Literal[1]
    """Version of this file format."""
    station: Name
    """Name of the station; part of every event's source and key."""
    mode: Literal["inspect", "observe"] = "inspect"
    """observe: judge and publish, never signal the line."""
    state: FilePath | None = None
    """Folder of outbox and journal; $STATE_DIRECTORY if absent, else state/STATION."""
    engine: Engine = Engine()
    """Which networks judge, on what."""
    cameras: Annotated[dict[Name, Camera], Field(min_length=1, max_length=256)]
    """The cameras by their names."""
    policies: dict[Name, Policy] = Field(default_factory=dict)
    """The policies by their names; `default` exists even where it is not written."""
    events: Events = Events()
    """What is published, and where to."""
    evidence: Evidence | None = None
    """Pictures of rejected frames, kept beside their events; none if absent."""
    line: Line | None = None
    """The PLC that hears the verdicts; none if absent."""
    web: Web = Web()
    """Page, probes, metrics and interface."""

    @model_validator(mode="after")
    def _line_fits(self) -> Self:
        faults = [] if self.line is None else [*self.line.faults(self.cameras)]
        if faults:
            raise ValidationError.from_exception_data("line", [told(*fault) for fault in faults])
        return self

    @model_validator(mode="after")
    def _policies_exist(self) -> Self:
        known = {"default", *self.policies}
        for name, camera in self.cameras.items():
            if camera.policy not in known:
                names = ", ".join(sorted(known))
                msg = f"camera {name} asks for policy {camera.policy}, known: {names}"
                raise ValueError(msg)
        return self

    def slots(self) -> dict[str, int]:
        """How many slots the ring of each camera has."""
        return {name: camera.slots for name, camera in self.cameras.items()}

    def counted(self) -> frozenset[str]:
        """The cameras that send one picture a part, which is counted on the line."""
        if self.line is None:
            return frozenset()
        signalled = self.line.signalled(self.cameras)
        return frozenset(name for name, camera in signalled.items() if camera.count_parts)

    def policy_of(self, camera: str) -> Policy:
        """The policy of a camera; `default` exists even where the file does not write it.

        A camera of which each judged frame is a part decides by each frame alone.
        """
        asked = self.cameras[camera]
        policy = self.policies.get(asked.policy, Policy())
        if asked.inspect.part_by_part:
            return policy.model_copy(update={"needed": 1, "window": 1, "recover_after": 1})
        return policy


def told(key: KeyPath, problem: str) -> InitErrorDetails:
    """A fault between sections, at the place of its key."""
    kind = PydanticCustomError("value_error", "{problem}", {"problem": problem})
    return InitErrorDetails(type=kind, loc=key, input={})
