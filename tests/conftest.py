"""What all tests share: the servers they start, and an environment without surprises."""

from __future__ import annotations

import os

import pytest

# Their fixtures start the real counterparts: GStreamer's RTSP server, and an Apache Kafka broker.
pytest_plugins = ["tests.servers.rtsp", "tests.servers.kafka"]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the machine that would change what a station does."""
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith("INSPECTOR_") and not name.startswith("INSPECTOR_TEST_"):
            monkeypatch.delenv(name)
