"""What a plan was compiled from and for. A plan fits where all of it is the same. Pure.

Nothing outside a plan's file says reliably whether it fits: TensorRT finds out by loading it, which
runs its code. So every ingredient is written down when a plan is made, and compared before it is
loaded.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspector.engine.manifest import FilePrecision, Name, Sha256

RECIPE = 1
"""Of the way in which `inspector.engine.plans.compiler` makes a plan; raised when it changes."""

STEM_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}-(fp32|fp16|int8)-[0-9a-f]{16}"
"""Of file names of plans without their suffix, see `PlanKey.stem`."""

Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Ingredient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Platform(_Ingredient):
    """What a plan runs on, as driver and library say it.

    Attributes:
        tensorrt: version of the library, all of its figures: `10.15.1.29`.
        gpu: the device's own name: `Orin`, `NVIDIA L4`.
        compute_capability: of the device: `8.7`.
        cuda: version of CUDA that the driver offers: `13.0`.
        driver: version of the driver: `580.65.06`.
    """

    tensorrt: Text
    gpu: Text
    compute_capability: Text
    cuda: Text
    driver: Text


class BatchProfile(_Ingredient):
    """For which numbers of tiles a plan is compiled: any from `least` to `most`, best at `best`."""

    least: Annotated[int, Field(ge=1)] = 1
    best: Annotated[int, Field(ge=1)]
    most: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.best <= self.most:
            msg = f"expected least <= best <= most, came {self.least}, {self.best}, {self.most}"
            raise ValueError(msg)
        return self

    @classmethod
    def up_to(cls, most: int) -> Self:
        """One tile to `most`; best where it matters, at full batches."""
        return cls(best=most, most=most)


class BuilderSettings(_Ingredient):
    """How a plan is compiled.

    Attributes:
        workspace_mb: GPU memory that a layer may take to work in.
        optimization_level: 0 to 5; higher takes longer and may find faster layers. 3 is TensorRT's
            own default.
        recipe: see `RECIPE`.
    """

    workspace_mb: Annotated[int, Field(ge=1)] = 1024
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    recipe: int = RECIPE


class PlanKey(_Ingredient):
    """Everything that decides whether a plan fits. Two plans of one key are the same plan.

    Attributes:
        engine: the engine's name, for people; its network is `model_sha256`.
        model_sha256: of the ONNX file of the precision.
    """

    engine: Name
    model_sha256: Sha256
    precision: FilePrecision
    batch: BatchProfile
    settings: BuilderSettings = BuilderSettings()
    platform: Platform

    @property
    def sha256(self) -> str:
        """Over all ingredients, the same in every process and on every machine."""
        plain = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def stem(self) -> str:
        """File name of the plan, without its suffix."""
        return f"{self.engine}-{self.precision}-{self.sha256[:16]}"

    @property
    def what(self) -> str:
        """Which plan, for people."""
        return f"{self.engine} {self.precision}"

    @property
    def role(self) -> tuple[str, str]:
        """Of the plans of one role, one at a time serves."""
        return self.engine, self.precision


_WORDS = {
    "engine": "engine",
    "model_sha256": "model file",
    "precision": "precision",
    "batch.least": "smallest batch",
    "batch.best": "best batch",
    "batch.most": "largest batch",
    "settings.workspace_mb": "workspace_mb",
    "settings.optimization_level": "optimization_level",
    "settings.recipe": "recipe of this program",
    "platform.tensorrt": "TensorRT",
    "platform.gpu": "GPU",
    "platform.compute_capability": "compute capability",
    "platform.cuda": "CUDA",
    "platform.driver": "driver",
}
_SHORT_DIGEST = 12


def differences(made: PlanKey, wanted: PlanKey) -> tuple[str, ...]:
    """Why a plan does not fit, one phrase an ingredient; empty where it does.

    Args:
        made: what the plan was compiled from and for.
        wanted: what is asked for here and now.
    """
    there, here = _flat(made.model_dump()), _flat(wanted.model_dump())
    return tuple(
        f"{_WORDS[name]} {_shown(name, there[name])}, here {_shown(name, here[name])}"
        for name in _WORDS
        if there[name] != here[name]
    )


def _flat(nested: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def _shown(name: str, value: object) -> str:
    return f"{value}"[:_SHORT_DIGEST] if name == "model_sha256" else f"{value}"
