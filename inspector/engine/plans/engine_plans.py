"""The plans that one engine may run on here: opened where one fits, built where none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from inspector.engine.golden import read_golden
from inspector.engine.load import tile_seconds
from inspector.engine.manifest import read_manifest
from inspector.engine.plans.building import BuildStoppedError, build_plan
from inspector.engine.plans.key import BatchProfile, PlanKey, Platform
from inspector.engine.plans.request import Request
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import TensorRtSpec
from inspector.errors import EngineError, ParityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inspector.engine.load import Engine, PrecisionChoice
    from inspector.engine.manifest import FilePrecision, Manifest
    from inspector.engine.nvidia.report import NvidiaReport
    from inspector.engine.plans.request import Stage
    from inspector.engine.plans.sidecar import Plan
    from inspector.engine.plans.store import Plans

PRECISIONS: tuple[FilePrecision, ...] = ("int8", "fp16", "fp32")
"""In the order in which `auto` tries them, the fastest as a rule first."""
WORTH_COMPARING = ("int8", "fp16")
"""fp32 runs only where neither serves: without TF32 it is not to be expected to be faster."""
_ROUNDS = 3

_log = structlog.get_logger("inspector.engine")


class NoPlanServesError(EngineError):
    """Every plan of the engine is refused: to build them again would give the same."""


def platform_of(report: NvidiaReport) -> Platform:
    """What a plan is compiled for on this box.

    Raises:
        EngineError: TensorRT cannot run here, and why.
    """
    gpu, tensorrt = report.require()
    return Platform(
        tensorrt=tensorrt.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        cuda=gpu.cuda,
        driver=gpu.driver or "unknown",
    )


@dataclass(frozen=True, slots=True)
class EnginePlans:
    """One engine on this box's GPU.

    Attributes:
        manifest: of the engine folder.
        keys: of the plans that may serve, in the order in which they are tried.
        store: where they lie.
        device: number of the GPU.
        writes: what comes of a plan is written beside it.
    """

    manifest: Manifest
    keys: tuple[PlanKey, ...]
    store: Plans
    device: int = 0
    writes: bool = True

    @classmethod
    def of(
        cls,
        folder: Path,
        platform: Platform,
        store: Plans,
        *,
        precision: PrecisionChoice,
        max_batch: int,
        device: int = 0,
    ) -> EnginePlans:
        """The plans of the engine in a folder.

        Raises:
            EngineError: the folder is at fault, or has no file of that precision.
        """
        manifest = read_manifest(folder)
        present = manifest.files.present()
        names = [name for name in PRECISIONS if precision in {"auto", name} and name in present]
        if not names:
            msg = (
                f"engine {manifest.name}: tensorrt cannot run it in {precision}; it has files of "
                f"{', '.join(present)}"
            )
            raise EngineError(msg)
        keys = tuple(
            PlanKey(
                engine=manifest.name,
                model_sha256=manifest.file_of(name).sha256,
                precision=name,
                batch=BatchProfile.up_to(max_batch),
                platform=platform,
            )
            for name in names
        )
        return cls(manifest, keys, store, device)

    @property
    def what(self) -> str:
        """Of which plan is the first to be tried, for the user."""
        return self.keys[0].what

    def here(self) -> EnginePlans:
        """These: the GPU is known. See `LaterPlans`."""
        return self

    def open_ready(self) -> Engine:
        """Open the fastest plan that is there, fits, and reproduces the golden tiles.

        Which one is the fastest is known once `faster` was asked; before that, the first.

        Raises:
            NoPlanServesError: all of them are refused.
            EngineError: none is there that serves: why not.
        """
        reasons: list[str] = []
        refused = 0
        for key in self._in_order():
            found = self.store.find(key)
            if found.state == "fits" and found.plan is not None:
                try:
                    return self.open(found.plan)
                except ParityError as error:
                    refused += 1
                    reasons.append(str(error))
                    continue
                except EngineError as error:
                    reasons.append(str(error))
                    continue
            refused += found.state == "refused"
            if found.state != "missing":
                reasons.append(found.detail)
        what = NoPlanServesError if refused == len(self.keys) else EngineError
        raise what("; ".join(reasons) or f"no plan of {self.manifest.name} yet")

    def build(
        self,
        *,
        on_stage: Callable[[PlanKey, Stage], None],
        stopped: Callable[[], bool] = bool,
        again: bool = False,
    ) -> Engine:
        """Build plans in their order until one serves; takes minutes. Those that are there count.

        Args:
            on_stage: told which plan is built and how far it is.
            stopped: whether to give up.
            again: build those too that are there, or refused.

        Raises:
            BuildStoppedError: `stopped` said so.
            NoPlanServesError: all of them are refused.
            EngineError: none could be built and loaded: why, for each.
        """
        reasons: list[str] = []
        refused = 0
        for key in self.keys if again else self._in_order():
            found = self.store.find(key)
            if found.state == "refused" and not again:
                refused += 1
                reasons.append(found.detail)
                continue
            try:
                return self.open(self._build_one(key, on_stage, stopped, again=again))
            except BuildStoppedError:
                raise
            except EngineError as error:
                refused += isinstance(error, ParityError)
                reasons.append(str(error))
        what = NoPlanServesError if refused == len(self.keys) else EngineError
        raise what("; ".join(reasons))

    def _build_one(
        self,
        key: PlanKey,
        on_stage: Callable[[PlanKey, Stage], None],
        stopped: Callable[[], bool],
        *,
        again: bool,
    ) -> Plan:
        request = Request(
            engine_folder=self.manifest.folder,
            plans=self.store.folder,
            max_bytes=self.store.max_bytes,
            key=key,
            device=self.device,
            again=again,
        )
        plan, _ = build_plan(request, on_stage=lambda said: on_stage(key, said), stopped=stopped)
        return plan

    def open(self, plan: Plan) -> Engine:
        """Load a plan in an engine process, and hold it against the golden tiles; takes seconds.

        What comes of it is written beside the plan.

        Raises:
            ParityError: it does not reproduce them; it is refused from now on.
            EngineError: it cannot be loaded.
        """
        try:
            engine = open_engine(self.manifest, self.spec_of(plan))
        except ParityError as error:
            reason = str(error)
            self._note(lambda: self.store.refuse(plan, reason))
            raise
        if not plan.good:
            self._note(lambda: self.store.prove(plan, engine.parity.gap))
        if self.writes:
            self.store.used(plan)
        return engine

    def spec_of(self, plan: Plan) -> TensorRtSpec:
        """What an engine process needs to run a plan."""
        return TensorRtSpec(
            folder=self.manifest.folder,
            precision=plan.key.precision,
            max_batch=plan.key.batch.most,
            plan=plan.path.absolute(),
            plan_sha256=plan.sidecar.sha256,
            device=self.device,
        )

    def plan_of(self, engine: Engine) -> Plan:
        """The plan that an engine which was opened here runs. Raises EngineError."""
        key = next(key for key in self.keys if key.precision == engine.info.precision)
        found = self.store.find(key)
        if found.plan is None:
            raise EngineError(found.detail)
        return found.plan

    # -- which is the fastest --------------------------------------------------------------------

    def rival(self, engine: Engine) -> PlanKey | None:
        """The plan that may be faster than the one an engine runs; None: that is known, or none is.

        What was tried before the engine's own and did not serve is no rival: it is not built again.
        """
        own = next(key for key in self.keys if key.precision == engine.info.precision)
        said = self.store.said_of(own)
        if said is not None and said.chosen is not None:
            return None
        for key in self.keys[self.keys.index(own) + 1 :]:
            said = self.store.said_of(key)
            if key.precision in WORTH_COMPARING and not (said and said.refused):
                return key
        return None

    def build_rival(
        self,
        rival: PlanKey,
        *,
        on_stage: Callable[[PlanKey, Stage], None],
        stopped: Callable[[], bool] = bool,
        again: bool = False,
    ) -> Engine:
        """Build another plan beside the one that serves, and open it; takes minutes.

        Raises:
            BuildStoppedError: `stopped` said so.
            ParityError: it does not reproduce the golden tiles; it is refused from now on.
            EngineError: it cannot be built or loaded.
        """
        return self.open(self._build_one(rival, on_stage, stopped, again=again))

    def faster(self, present: Engine, other: Engine) -> tuple[bool, str]:
        """Whether `other` is faster than `present`, measured in turn; and a sentence with both.

        The choice is kept beside the plan: no start measures again.

        Raises:
            EngineError: one of them failed.
        """
        golden = read_golden(self.manifest)
        rounds = [
            [tile_seconds(engine.runtime, golden) for engine in (present, other)]
            for _ in range(_ROUNDS)
        ]
        present_s, other_s = map(min, zip(*rounds, strict=True))
        best, slow = (other, present) if other_s < present_s else (present, other)
        why = (
            f"{slow.info.precision} takes {max(present_s, other_s) * 1e3:.2f} ms a tile, "
            f"{best.info.precision} {min(present_s, other_s) * 1e3:.2f} ms"
        )
        self._note(lambda: self.store.choose(self.plan_of(best), why))
        return best is other, why

    def _in_order(self) -> list[PlanKey]:
        """The plan that was found to be the fastest, then the others as `auto` tries them."""

        def is_slower(key: PlanKey) -> bool:
            said = self.store.said_of(key)
            return said is None or said.chosen is None

        return sorted(self.keys, key=is_slower)

    def _note(self, write: Callable[[], Plan]) -> None:
        if not self.writes:
            return
        try:
            write()
        except EngineError as error:
            # It is found out again at the next start.
            _log.warning("what came of a plan cannot be written down", fault=str(error))
