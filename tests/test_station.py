"""What a station says of itself while something around it fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from inspector.config.secrets import Secrets
from inspector.config.station import Station as StationFile
from inspector.station import Station

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("call", ["stat", "statvfs"])
@pytest.mark.parametrize("fault", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_disk_that_fails_takes_no_status_and_no_metrics_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: int
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    cameras = {"infeed": {"source": {"kind": "pattern"}}}
    config = {"version": 1, "station": "s", "state": str(state), "cameras": cameras}
    station = Station(StationFile.model_validate(config), Secrets())
    assert station.status()["free_bytes"] > 0
    real = getattr(os, call)

    def fails(path: object, *args: object, **options: object) -> object:
        if str(path) == str(state):
            raise OSError(fault, os.strerror(fault), str(state))
        return real(path, *args, **options)

    monkeypatch.setattr(os, call, fails)
    # One that goes by `stat` alone, as the look whether it is there, does not know better.
    assert (station.status()["free_bytes"] is None) is (call == "statvfs")
    assert b"inspector_ready 0.0" in station.metrics.exposition()
