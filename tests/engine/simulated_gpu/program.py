"""The `inspector` command on a box with a simulated GPU."""

from __future__ import annotations

import sys

from tests.engine.simulated_gpu import stand_in

if __name__ == "__main__":
    stand_in.install()

    from inspector.cli import status_of

    sys.exit(status_of())
