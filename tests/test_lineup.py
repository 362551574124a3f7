"""All that knows cameras by name changes together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inspector.camera_events import CameraEvents
from inspector.capture.supervisor import Capture
from inspector.config.changes import plan
from inspector.config.evidence import Evidence as Pictures
from inspector.config.secrets import Secrets
from inspector.config.station import Station
from inspector.errors import CaptureError
from inspector.events.documents import Documents
from inspector.evidence.store import Evidence
from inspector.lineup import Lineup
from inspector.marked import MarkedPictures
from inspector.observe.health import Health
from inspector.viewing import Viewing
from tests.test_ruling import BAD, Desk

if TYPE_CHECKING:
    from pathlib import Path


def station(*cameras: str, needed: int) -> Station:
    source: dict[str, Any] = {"source": {"kind": "pattern"}}
    return Station.model_validate(
        {
            "version": 1,
            "station": "packing-07",
            "cameras": dict.fromkeys(cameras, source),
            "policies": {"default": {"needed": needed, "window": 3}},
        }
    )


def test_where_the_capture_stage_declines_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    old, new = station("infeed", needed=2), station("outfeed", needed=1)
    desk = Desk(tmp_path, old)
    capture = Capture(
        old.cameras,
        secrets=Secrets({}),
        first_epochs={},
        on_change=lambda _: None,
        on_epoch=lambda *_: None,
        on_ring=lambda _: None,
        on_ring_end=lambda _: None,
    )
    documents = Documents("packing-07", "inspect", old.events.topics)
    camera_events = CameraEvents(documents, desk.rulings.tell_of_camera)
    evidence = Evidence(tmp_path / "evidence", Pictures(), slots=old.slots(), stored=lambda _: {})
    viewing = Viewing(tmp_path, MarkedPictures(tmp_path, None), status=dict, ready=Health().ready)
    lineup = Lineup(old, capture, desk.rulings, camera_events, desk.metrics, evidence, viewing)
    with pytest.raises(CaptureError, match="the capture stage is not running"):
        lineup.change(new, plan(old, new))
    assert lineup.config is old
    assert list(evidence.stats().cameras) == ["infeed"]
    assert list(capture.status()) == ["infeed"]
    assert desk.rulings.next_epochs() == {"infeed": 1}
    desk.rule(BAD)
    assert desk.rulings.quality("infeed") == "good", "one reject is enough for the new file alone"
    desk.rule(BAD)
    assert desk.rulings.quality("infeed") == "degraded"
    desk.outbox.close()
