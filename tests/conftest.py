"""What all tests share: the servers they start, and an environment without surprises."""

from __future__ import annotations

import os
import signal

import pytest
import structlog

# Their fixtures start the real counterparts: GStreamer's RTSP server, and an Apache Kafka broker.
pytest_plugins = [
    "tests.servers.rtsp",
    "tests.servers.kafka",
    "tests.servers.disk",
    "tests.engine.simulated_gpu.fixtures",
]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So is a run that a shell put into the background: the programs it starts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine, and no log level of an earlier test, changes what is done."""
    structlog.reset_defaults()
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith("INSPECTOR_") and not name.startswith("INSPECTOR_TEST_"):
            monkeypatch.delenv(name)
