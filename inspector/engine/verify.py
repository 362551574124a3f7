"""Verification of engine folders: every digest, and the golden tiles in every precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engine.golden import TOLERANCE, compare, judge_tiles, read_golden
from inspector.engine.load import available_precisions
from inspector.engine.manifest import read_manifest
from inspector.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.engine.golden import Golden
    from inspector.engine.load import PrecisionChoice
    from inspector.engine.manifest import Manifest, Precision
    from inspector.engine.plans.engine_plans import EnginePlans


@dataclass(frozen=True, slots=True)
class Check:
    """One engine in one precision.

    Attributes:
        precision: None where the folder itself is at fault.
        gap, tolerance: largest difference from the golden probabilities, and the one allowed.
        detail: what was found, in words.
    """

    engine: str
    runtime: str
    precision: str | None
    ok: bool
    gap: float | None
    tolerance: float | None
    detail: str


def verify_plans(plans: EnginePlans) -> list[Check]:
    """Check the plans of one engine that lie there; a fault is a result, never an exception."""
    name, checks = plans.manifest.name, []
    for key in plans.keys:
        precision = key.precision
        found = plans.store.find(key)
        if found.state in {"missing", "other"}:
            continue
        gap, detail, ok = None, found.detail, False
        if found.plan is not None:
            try:
                engine = plans.open(found.plan)
            except EngineError as error:
                detail = str(error)
            else:
                engine.close()
                ok, gap = True, engine.parity.gap
                detail = f"engine {name} on tensorrt ({precision}): {engine.parity.explain()}"
        checks.append(Check(name, "tensorrt", precision, ok, gap, TOLERANCE[precision], detail))
    if not checks:
        why = "; ".join(plans.store.find(key).detail for key in plans.keys)
        detail = f"{why}: run inspector engines build {name} --runtime tensorrt --station FILE"
        checks.append(
            Check(name, "tensorrt", None, ok=False, gap=None, tolerance=None, detail=detail)
        )
    return checks


def verify_engine(folder: Path, *, precision: PrecisionChoice = "auto") -> list[Check]:
    """Check one engine folder on the processor; a fault is a result, never an exception.

    Args:
        folder: the engine folder.
        precision: auto: every precision that the folder has and this processor computes.
    """
    try:
        manifest = read_manifest(folder)
        manifest.check_files()
        golden = read_golden(manifest)
    except EngineError as error:
        return [
            Check(
                folder.name, "openvino", None, ok=False, gap=None, tolerance=None, detail=str(error)
            )
        ]
    names = available_precisions(manifest) if precision == "auto" else (precision,)
    return [_check(manifest, golden, name) for name in names]


def _check(manifest: Manifest, golden: Golden, precision: Precision) -> Check:
    from inspector.engine.openvino import OpenVinoRuntime

    try:
        runtime = OpenVinoRuntime(manifest, precision, max_batch=manifest.sampling.count)
        try:
            came = judge_tiles(runtime, golden.tiles)
        finally:
            runtime.close()
    except EngineError as error:
        return Check(
            manifest.name,
            "openvino",
            precision,
            ok=False,
            gap=None,
            tolerance=None,
            detail=str(error),
        )
    parity = compare(manifest, golden, came, precision)
    detail = f"engine {manifest.name} on openvino ({precision}): {parity.explain()}"
    return Check(
        manifest.name, "openvino", precision, parity.ok, parity.gap, parity.tolerance, detail
    )
