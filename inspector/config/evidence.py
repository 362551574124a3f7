"""Evidence: which pictures are kept beside their events, and how many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inspector.config.base import Section, StatePath


class Evidence(Section):
    """The pictures that events point to; without this section none are kept."""

    folder: StatePath = Path("evidence")
    """Where they lie; a relative path starts at the state folder."""
    format: Literal["jpeg", "png", "webp"] = "jpeg"
    """png and webp are lossless; webp is smaller and takes ten times as long."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """Of jpeg."""
    keep_days: Annotated[float, Field(gt=0, le=3660, allow_inf_nan=False)] = 30.0
    """Older pictures are removed."""
    max_mb: Annotated[int, Field(ge=1, le=100_000_000)] = 20_000
    """Bound of all pictures; the camera that takes most gives up its oldest."""
    min_free_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 2000
    """Free space that is left to others, the outbox among them; pictures make room for it."""
    per_minute: Annotated[int, Field(ge=1, le=6000)] = 10
    """Most pictures a minute of one camera, of rejected frames."""
    within_ms: Annotated[float, Field(gt=0, le=60_000)] = 2000.0
    """An event waits no longer for its picture; then it goes without one."""
    keep_uncertain: bool = False
    """Also keep pictures of uncertain frames, to be labelled (`python -m train evidence`)."""
    marked_mb: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Pictures of events that operators marked stay beyond all that, in the state folder, up to so
    many MB; then the oldest give way. 0: they go with the others."""

    @model_validator(mode="after")
    def _quality_fits(self) -> Self:
        if "quality" in self.model_fields_set and self.format != "jpeg":
            msg = f"quality goes with format jpeg; {self.format} is lossless"
            raise ValueError(msg)
        return self
