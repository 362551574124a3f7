"""What a builder is asked, and what it tells: plain values, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from inspector.engine.plans.key import PlanKey
from inspector.engine.plans.progress import about


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Line):
    """One plan to be built.

    Attributes:
        engine_folder: where the ONNX file comes from, by its digest.
        plans: the plan folder.
        max_bytes: most that the plan folder may hold.
        device: number of the GPU that it is built on.
        again: build though there is a plan of this key, and measure everything anew.
    """

    engine_folder: Path
    plans: Path
    max_bytes: int
    key: PlanKey
    device: int = 0
    again: bool = False


class Stage(_Line):
    """How far the build is.

    Attributes:
        stage: `waiting` for another builder, `reading`, TensorRT's own phases, `writing`.
        percent: of the build as a whole; 0 while it waits.
        left_s: about so long it will still take; None where that is not known.
        detail: for whom it waits.
    """

    t: Literal["stage"] = "stage"
    stage: str
    percent: float = 0.0
    left_s: float | None = None
    detail: str = ""

    @property
    def words(self) -> str:
        """Without the percentage, for a person.

        >>> Stage(stage="Timing graph nodes", left_s=170).words
        'Timing graph nodes, about 3 min left'
        """
        parts = [f"{self.stage}: {self.detail}" if self.detail else self.stage]
        if self.left_s is not None:
            parts.append(f"{about(self.left_s)} left")
        return ", ".join(parts)


class Done(_Line):
    """The plan lies in the folder.

    Attributes:
        made: False where another builder had made it meanwhile.
    """

    t: Literal["done"] = "done"
    made: bool


class Failed(_Line):
    """There is no plan, and why."""

    t: Literal["failed"] = "failed"
    reason: str


class Said(BaseModel):
    """Any line of a builder."""

    model_config = ConfigDict(frozen=True)
    line: Annotated[Stage | Done | Failed, Field(discriminator="t")]
