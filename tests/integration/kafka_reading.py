"""What came to the broker, and what the station kept: both read by other programs than ours."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read_with_kcat(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """All records of a topic, each as `kcat -J` prints it: key, headers, payload."""
    done = subprocess.run(
        ["kcat", "-b", bootstrap, "-t", topic, "-C", "-e", "-q", "-J"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def outbox_events(station_file: Path) -> list[dict[str, Any]]:
    """All events in a station's outbox, as `inspector events list --json` prints them."""
    done = subprocess.run(
        [sys.executable, "-m", "inspector.cli", "events", "list", str(station_file), "--json",
         "--limit=1000000"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]
