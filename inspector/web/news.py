"""An event as the page needs it: what a person is told of it, not all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = (
    "camera", "stream_epoch", "part_id", "late", "verdict", "label", "reasons", "cause", "detail",
    "no_evidence", "lost_s", "after_s", "count",
)  # fmt: skip


def slim(event: Mapping[str, Any]) -> dict[str, Any]:
    """The few fields of a CloudEvents document that the page shows; what is null is left out."""
    data = event["data"]
    told = {key: data[key] for key in _KEYS if data.get(key) not in (None, False, [])}
    evidence = data.get("evidence")
    if evidence:
        told["picture"] = evidence["uri"]
    if data.get("probabilities"):
        told["probabilities"] = {k: round(p, 3) for k, p in data["probabilities"].items()}
    return {"id": event["id"], "type": event["type"], "time": event["time"], **told}
