"""The `inspector` command with the TensorRT that a test asks for."""

from __future__ import annotations

import os
import sys

import pytest

from tests.gpu.box import PREFERRED, prefer

if __name__ == "__main__":
    if folder := os.environ.get(PREFERRED):
        prefer(folder, pytest.MonkeyPatch())

    from inspector.cli import status_of

    sys.exit(status_of())
