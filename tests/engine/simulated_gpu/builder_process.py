"""The builder on the simulated GPU: the real builder, with the simulated library in its process."""

from __future__ import annotations

import json
import os
import sys
from types import ModuleType

from tests.engine.simulated_gpu import building

VARIABLE = "SIMULATED_GPU"


def simulated_tensorrt() -> ModuleType:
    """A module that can be imported as `tensorrt`, for building."""
    module = ModuleType("tensorrt")
    module.__dict__.update({k: v for k, v in vars(building).items() if not k.startswith("_")})
    module.__version__ = building.device.version
    return module


if __name__ == "__main__":
    building.device = building.Device(**json.loads(os.environ[VARIABLE]))
    sys.modules["tensorrt"] = simulated_tensorrt()

    from inspector.engine.plans.builder import main

    os._exit(main())
