"""TensorRT plans: which are there, and why each fits this box or not. None is built."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade
from inspector.engine.best import plans_here
from inspector.engine.load import stages_of
from inspector.engine.plans.overview import overview
from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.plans.overview import Row
    from inspector.engine.plans.store import Plans

_GRADES = {
    "good": Grade.GOOD,
    "unproven": Grade.GOOD,
    "other": Grade.NOTE,
    "missing": Grade.NOTE,
    "damaged": Grade.NOTE,
    "refused": Grade.MEND,
}
_BUILD = "inspector engines build --runtime tensorrt --station FILE"
_REMEDIES = {
    "missing": f"nothing: the station builds it while it judges; or {_BUILD} before",
    "damaged": "nothing: it is not loaded, and is built anew where it is wanted",
    "refused": f"{_BUILD} --again; if that does not help, set another precision",
}


def check_plans(asked: EngineSection, store: Plans) -> Iterator[Finding]:
    """Look at every plan of the station; says nothing where TensorRT is not asked for.

    Args:
        store: the station's plans.
    """
    if asked.runtime == "openvino":
        return
    try:
        engines = [plans_here(name, asked, store) for _, name in stages_of(asked)]
    except (EngineError, UserError):
        return  # told under gpu and engine
    expected = f"a plan for this box in {store.folder}"
    try:
        rows = overview(store, [plans.keys for plans in engines])
    except EngineError as error:
        remedy = "mend the folder, or give another one under engine.plans"
        yield Finding("plan", "folder", Grade.MEND, str(error), expected, remedy)
        return
    yield from (_finding(row, expected) for row in rows)


def _finding(row: Row, expected: str) -> Finding:
    found = f"{row.file}: {row.detail}" if row.file else row.detail
    return Finding(
        "plan",
        row.what or row.file,
        _GRADES[row.state],
        found,
        expected if row.state not in {"good", "unproven"} else "",
        _REMEDIES.get(row.state, ""),
        asdict(row),
    )
