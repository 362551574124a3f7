"""A station in a process of its own, as the service manager would run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

START_WITHIN_S = 120.0
JSON = {"content-type": "application/json"}


class StationProcess:
    """`inspector run` on a station file that is written from `config`.

    Args:
        folder: where file, state and log lie; they outlive the process, so that a second
            `StationProcess` on the same folder is the restart of the first.
        program: the module that is run.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        program: str = "inspector.cli",
    ) -> None:
        self.folder = folder
        self.file = folder / "station.yaml"
        self.state = folder / "state"
        self.write(config)
        self.log_path = folder / f"station-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, "run", str(self.file), "--log-format=json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def write(self, config: Mapping[str, Any]) -> None:
        """Put another station file in the place of the present one."""
        document = {
            "version": 1,
            "station": "test-01",
            "state": str(self.state),
            "web": {"listen": "127.0.0.1:0"},
            **config,
        }
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump(document))
        new.replace(self.file)

    def reload(self, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """POST /api/reload."""
        url = self.page + "/api/reload"
        return httpx.post(url, json=None, headers=JSON | dict(headers or {}), timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def log(self) -> list[dict[str, Any]]:
        """The log so far, one dictionary a line; lines that are no JSON as {"message": line}."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"message": line})
        return lines

    def until(self, what: str, truth: Callable[[], Any], within_s: float = 120.0) -> Any:
        """Wait until `truth` gives something, and return it; the process must live meanwhile."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"station ended: {self._tail()}"
            if got := truth():
                return got
            time.sleep(0.05)
        msg = f"no {what} within {within_s} s: {self._tail()}"
        raise AssertionError(msg)

    def wait_ready(self) -> Self:
        """Wait until the station says that it is ready."""
        line = self.until("readiness", lambda: self._line("ready"), START_WITHIN_S)
        self.page = line["page"].rstrip("/")
        return self

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Ask the station's HTTP interface."""
        return httpx.get(self.page + path, headers=headers, timeout=60)

    def camera(self, name: str) -> dict[str, Any]:
        """What /api/cameras says of one camera."""
        return dict(self.get(f"/api/cameras/{name}").json())

    def terminate(self, within_s: float = 60.0) -> int:
        """SIGTERM, and the exit status. Ten seconds are enough where nobody else is at work."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # the log gets each thread's place
            self.process.wait()
        msg = f"still there {within_s} s after SIGTERM: {self._tail()}"
        raise AssertionError(msg)

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, nothing."""
        self.process.kill()
        self.process.wait()

    def _line(self, message: str) -> dict[str, Any] | None:
        return next((line for line in self.log() if line.get("message") == message), None)

    def _tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]
