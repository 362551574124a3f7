"""What is written beside a plan: what it was made from and for, its digest, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspector.engine.manifest import Sha256
from inspector.engine.plans.key import PlanKey
from inspector.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

PLAN, SIDECAR = ".plan", ".json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Proven(_Part):
    """The plan reproduced the golden tiles: when, and how well."""

    at: datetime
    gap: float


class Refused(_Part):
    """The plan must not serve: since when, and why."""

    at: datetime
    reason: str


class Chosen(_Part):
    """`precision: auto` has taken the plan: since when, and which one was slower by how much."""

    at: datetime
    why: str


class Sidecar(_Part):
    """The JSON document beside a plan.

    Attributes:
        key: everything that decides whether the plan fits.
        key_sha256: over `key`, so that a document that was changed by hand is found.
        sha256, size_bytes: of the plan.
        build_s: time the build took, in seconds.
        built_by: version of this program.
    """

    plan: Literal[1] = 1
    key: PlanKey
    key_sha256: Sha256
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]
    engine_version: str
    built_at: datetime
    build_s: Annotated[float, Field(ge=0)]
    built_by: str
    proven: Proven | None = None
    refused: Refused | None = None
    chosen: Chosen | None = None

    def document(self) -> bytes:
        """As it is written."""
        return self.model_dump_json(indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of the store.

    Attributes:
        path: of the plan's file.
        used_ns: when it was last loaded or made, UTC.
    """

    path: Path
    sidecar: Sidecar
    used_ns: int

    @property
    def key(self) -> PlanKey:
        """What it was made from and for."""
        return self.sidecar.key

    @property
    def good(self) -> bool:
        """It has reproduced the golden tiles, and nothing speaks against it since."""
        return self.sidecar.proven is not None and self.sidecar.refused is None


@dataclass(frozen=True, slots=True)
class Broken:
    """Files of a plan that cannot be used, and why."""

    path: Path
    reason: str


def read_sidecar(path: Path) -> Sidecar:
    """Read and check the document beside a plan.

    Raises:
        EngineError: it cannot be read, or is not what this version writes.
    """
    try:
        sidecar = Sidecar.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise EngineError(msg) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        msg = f"{path} is not what this version writes beside a plan: {where} {fault['msg']}"
        raise EngineError(msg) from error
    if sidecar.key.sha256 != sidecar.key_sha256:
        msg = f"{path} is damaged: what it says of the plan has another digest than was written"
        raise EngineError(msg)
    return sidecar
