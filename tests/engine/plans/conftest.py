"""Keys and stores of plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inspector.engine.plans.key import BatchProfile, PlanKey, Platform
from inspector.engine.plans.store import Plans

PLATFORM = Platform(
    tensorrt="10.15.1.29",
    gpu="Simulated GPU",
    compute_capability="8.7",
    cuda="13.0",
    driver="580.65.06",
)


def key(**changes) -> PlanKey:
    """A key, with other values where a test wants them."""
    values = {
        "engine": "tiny",
        "model_sha256": "ab" * 32,
        "precision": "int8",
        "batch": BatchProfile.up_to(16),
        "platform": PLATFORM,
    }
    return PlanKey(**values | changes)


class Clock:
    """UTC that goes on by a minute at each look."""

    def __init__(self):
        self.now = datetime(2026, 1, 31, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def plans(tmp_path) -> Plans:
    """An empty store of 1 MB."""
    return Plans(tmp_path / "plans", max_bytes=1_000_000, now=Clock())
