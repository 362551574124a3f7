"""What became of the wish to keep a picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.evidence.naming import Name


class Kind(StrEnum):
    """Why a picture is wanted; each kind has its own `per_minute`."""

    REJECTED = "rejected"
    DEGRADED = "degraded"
    UNCERTAIN = "uncertain"


class Skip(StrEnum):
    """Why a picture was not kept."""

    PER_MINUTE = "per_minute"
    """The camera had its pictures of this minute."""
    BUSY = "busy"
    """The encoders had no room, or the disk does not keep up."""
    LATE = "late"
    """The event could wait no longer."""
    SPACE = "space"
    """`max_mb` is reached, or the disk is as full as `min_free_mb` allows."""
    UNWRITABLE = "unwritable"
    """The folder cannot be used, or the disk took nothing."""
    STARTING = "starting"
    """The folder is still being looked through."""
    FAILED = "failed"
    """The picture could not be encoded."""
    SHUTDOWN = "shutdown"
    """The station stops."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that lies in the folder."""

    name: Name
    sha256: str

    def to_json(self) -> dict[str, str]:
        """As the events tell it."""
        return {
            "uri": self.name.uri,
            "sha256": self.sha256,
            "media_type": self.name.media_type,
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A picture that was wanted and not kept."""

    cause: Skip


Outcome = Kept | Skipped
