"""The simulated machine, as a test wants it; told to other processes by an environment variable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

VARIABLE = "SIMULATED_GPU"
SLOW_S = 0.1


@dataclass
class Device:
    """The simulated machine.

    Attributes:
        free_mb: GPU memory that a build may take.
        step_s: time of one timed layer.
        unsupported: operators that the parser does not know.
        die_at: stage at whose first report the process kills itself.
        hang_at: stage in which it never returns.
        slow: precisions in which a batch takes `SLOW_S` longer.
        measures: layers may be timed; else the process kills itself when one has to be.
    """

    version: str = "10.15.1.29"
    gpu: str = "Simulated GPU"
    compute_capability: str = "8.7"
    driver: str = "580.65.06"
    free_mb: int = 8192
    step_s: float = 0.0
    unsupported: list[str] = field(default_factory=list)
    die_at: str = ""
    hang_at: str = ""
    slow: list[str] = field(default_factory=list)
    measures: bool = True

    def to_json(self) -> str:
        return json.dumps(asdict(self))
