"""A box with a simulated GPU, for tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def simulate(monkeypatch):
    """This process has a simulated GPU, from now on one with the attributes of `Device` given."""
    from tests.engine.simulated_gpu import stand_in
    from tests.engine.simulated_gpu.device import VARIABLE, Device

    for module, name, value in stand_in.changes():
        monkeypatch.setattr(module, name, value)

    def become(**attributes):
        monkeypatch.setenv(VARIABLE, Device(**attributes).to_json())

    become()
    return become
