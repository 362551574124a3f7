"""Every plan of a folder, and why it fits this box or not: for lists and for the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from inspector.engine.plans.key import differences
from inspector.engine.plans.sidecar import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.sidecar import Plan
    from inspector.engine.plans.store import Plans


@dataclass(frozen=True, slots=True)
class Row:
    """One plan, or one that is wanted and not there.

    Attributes:
        file: its name; empty where there is none.
        what: engine and precision.
        state: `good`: it fits and reproduced the golden tiles; `unproven`: it fits, and was not
            held against them yet; `other`: it is for something else; `damaged`; `refused`: it must
            not serve; `missing`: it is wanted and not there.
        detail: why, in words.
        bytes, build_s, built: of the file; None where that is not known.
    """

    file: str
    what: str
    state: Literal["good", "unproven", "other", "damaged", "refused", "missing"]
    detail: str
    bytes: int | None = None
    build_s: float | None = None
    built: str | None = None


def overview(store: Plans, engines: Sequence[Sequence[PlanKey]]) -> list[Row]:
    """All plans that lie in the store, then one row for each engine that none of them serves.

    Args:
        engines: for each engine the plans that would serve here, any of them; may be empty where
            nothing can be asked of this box. Their digests are taken, which reads them.

    Raises:
        EngineError: the folder cannot be read or trusted.
    """
    wanted = [key for keys in engines for key in keys]
    found = {key.stem: store.find(key) for key in wanted}
    rows = []
    for entry in store.all():
        if isinstance(entry, Broken):
            rows.append(Row(entry.path.name, "", "damaged", entry.reason))
        elif (verdict := found.get(entry.key.stem)) and verdict.state == "damaged":
            rows.append(_row(entry, "damaged", verdict.detail))
        else:
            rows.append(_judged(entry, wanted))
    return rows + [
        Row("", keys[0].what, "missing", f"no plan of {keys[0].engine} serves here")
        for keys in engines
        if not any(found[key.stem].state == "fits" for key in keys)
    ]


def _judged(plan: Plan, wanted: Sequence[PlanKey]) -> Row:
    sidecar = plan.sidecar
    if sidecar.refused:
        return _row(plan, "refused", sidecar.refused.reason)
    alike = [differences(plan.key, key) for key in wanted if key.role == plan.key.role]
    if not alike:
        return _row(plan, "other", f"nothing here asks for {plan.key.what}")
    if why := min(alike, key=len):
        return _row(plan, "other", "it is for " + "; ".join(why))
    if sidecar.proven is None:
        return _row(plan, "unproven", "not held against the golden tiles yet")
    chosen = f"; it judges: {sidecar.chosen.why}" if sidecar.chosen else ""
    return _row(plan, "good", f"golden tiles within {sidecar.proven.gap:.4f}{chosen}")


def _row(
    plan: Plan, state: Literal["good", "unproven", "other", "damaged", "refused"], detail: str
) -> Row:
    sidecar = plan.sidecar
    return Row(
        plan.path.name,
        plan.key.what,
        state,
        detail,
        sidecar.size_bytes,
        sidecar.build_s,
        sidecar.built_at.isoformat(timespec="seconds"),
    )
