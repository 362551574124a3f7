"""The builder on the simulated GPU: the real builder, with the simulated library in its process."""

from __future__ import annotations

import json
import os
import sys

from tests.engine.simulated_gpu import SITE
from tests.engine.simulated_gpu.device import VARIABLE, Device

if __name__ == "__main__":
    sys.path.insert(0, str(SITE))
    import tensorrt

    from inspector.engine.plans.builder import main
    from tests.engine.simulated_gpu import building

    building.device = Device(**json.loads(os.environ[VARIABLE]))
    tensorrt.__version__ = building.device.version
    os._exit(main())
