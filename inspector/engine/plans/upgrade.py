"""An upgrade: a plan is built while another runtime judges, proved, and then takes the seat.

One thread a seat, from the start of the station or an activation until the fastest plan serves, the
plans are refused, or somebody else takes the seat. A build that fails is tried again, ever more
rarely: what was in the GPU's or the disk's way may go. The first plan that serves takes the seat
at once; then the one that may be faster is built and measured beside it, and follows if it is.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import structlog

from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import NoPlanServesError
from inspector.engine.plans.progress import about
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.engine.load import Engine
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.later import LaterPlans
    from inspector.engine.plans.request import Stage

LOG_EVERY_S = 10.0
_REMEDY = "inspector engines build --runtime tensorrt --station FILE --again"
RETRY_FIRST_S, RETRY_MOST_S = 600.0, 6 * 3600.0

_log = structlog.get_logger("inspector.engine")

State = Literal["waiting", "building", "proving", "serving", "failed", "refused", "ended"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upgrade is.

    Attributes:
        state: `waiting` for another builder, `building`, `proving` on the golden tiles; then
            `serving`, or `failed` (tried again), `refused` (not tried again), `ended` (not wanted).
        what: engine and precision of the plan in hand.
        stage: TensorRT's name of what it does.
        percent: of this plan's build.
        left_s: about so long its build will still take; None where that is not known.
        seconds: since the upgrade began.
        failures: how often no plan could be built before.
        beside: which plan judges on TensorRT meanwhile; empty: none does yet.
        detail: a sentence: why it failed, for whom it waits.
    """

    state: State
    what: str = ""
    stage: str = ""
    percent: float = 0.0
    left_s: float | None = None
    seconds: float = 0.0
    failures: int = 0
    beside: str = ""
    detail: str = ""

    @property
    def serves(self) -> bool:
        """Whether TensorRT judges."""
        return self.state == "serving" or bool(self.beside)

    @property
    def sentence(self) -> str:
        """For a person.

        >>> Progress("building", "tiny int8", "Timing graph nodes", 43.2, 170, 130).sentence
        'the plan of tiny int8 is being built: 43 %, Timing graph nodes, 130 s, about 3 min left'
        """
        before = f"the plan of {self.beside} serves, and may be slower; " if self.beside else ""
        if self.state == "waiting":
            return f"{before}waits to build the plan of {self.what}: {self.detail}"
        if self.state == "building":
            parts = [f"{self.percent:.0f} %", self.stage, f"{self.seconds:.0f} s"]
            parts += [f"{about(self.left_s)} left"] if self.left_s is not None else []
            said = ", ".join(part for part in parts if part)
            return f"{before}the plan of {self.what} is being built: {said}"
        if self.state == "proving":
            return f"{before}the plan of {self.what} is held against the golden tiles"
        return self.detail


class Upgrade:
    """One seat's way to TensorRT. `start` once; everything else from any thread.

    Args:
        stage: of the seat, for the log.
        plans: of the engine that has the seat; asked for anew at each try where the GPU failed.
        present: the engine of the seat where it is on TensorRT; None where it is not, or another's.
        swap: gives the seat to the engine, and why; raises EngineError where the seat has another
            occupant.
        note: told why TensorRT does not serve yet, each time that changes.
        retry_first_s, retry_most_s: bounds of the wait after a failure, which doubles.
    """

    def __init__(
        self,
        stage: str,
        plans: EnginePlans | LaterPlans,
        *,
        present: Callable[[], Engine | None],
        swap: Callable[[Engine, str], None],
        note: Callable[[str], None],
        retry_first_s: float = RETRY_FIRST_S,
        retry_most_s: float = RETRY_MOST_S,
    ) -> None:
        self._stage = stage
        self._asked = plans
        self._present = present
        self._swap = swap
        self._note = note
        self._retry_s = (retry_first_s, retry_most_s)
        self._stopped = threading.Event()
        self._began_s = time.monotonic()
        self._logged_s = 0.0
        self._progress = Progress("building", plans.what)
        # The kernel ends a builder with the thread that started it: this one waits for it.
        self._thread = threading.Thread(target=self._run, name=f"upgrade-{stage}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return replace(self._progress, seconds=round(time.monotonic() - self._began_s, 1))

    def stop(self) -> None:
        """Not wanted any more: the builder is ended, the seat left alone. Returns at once."""
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of what was stopped."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            engine = self._present() or self._first()
            if engine is not None:
                self._seek_faster(engine)
        except BuildStoppedError:
            self._progress = Progress("ended", detail="not wanted any more")

    # -- a plan that serves ----------------------------------------------------------------------

    def _first(self) -> Engine | None:
        """The engine on the first plan that serves, in its seat; None where all are refused."""
        wait_s, most_s = self._retry_s
        while not self._stopped.is_set():
            try:
                return self._once()
            except BuildStoppedError:
                raise
            except NoPlanServesError as error:
                self._fail("refused", f"no plan serves: {error}; {_REMEDY}")
                return None
            except EngineError as error:
                self._fail("failed", f"no plan serves yet: {error}")
            except Exception:  # noqa: BLE001 - the edge of the thread: what judges judges on
                _log.exception("an upgrade failed", stage=self._stage)
                self._fail("failed", "no plan serves yet: a fault of the program, see the log")
            self._stopped.wait(wait_s)
            wait_s = min(2 * wait_s, most_s)
        raise BuildStoppedError

    def _once(self) -> Engine:
        self._began_s = time.monotonic()
        plans = self._asked = self._asked.here()
        engine = plans.build(on_stage=self._heard, stopped=self._stopped.is_set)
        self._seat(engine, "its plan reproduces the golden tiles")
        self._serves(engine, "")
        return engine

    def _seat(self, engine: Engine, why: str) -> None:
        """Give the seat to an engine, or close it. Raises BuildStoppedError."""
        try:
            if self._stopped.is_set():
                raise BuildStoppedError
            self._swap(engine, why)
        except EngineError:
            engine.close()
            raise BuildStoppedError from None

    # -- the plan that is the fastest ------------------------------------------------------------

    def _seek_faster(self, engine: Engine) -> None:
        """Build the plan that may be faster, and let the faster one judge. Never costs the seat."""
        what = f"{engine.manifest.name} {engine.info.precision}"
        plans = self._asked.here()
        rival = plans.rival(engine)
        if rival is None:
            self._progress = _serving(what, "")
            return
        self._began_s = time.monotonic()
        self._progress = Progress("building", rival.what, beside=what)
        try:
            other, why = self._measured(plans, rival)
        except BuildStoppedError:
            raise
        except EngineError as error:
            if self._stopped.is_set():  # one of the two was closed meanwhile
                raise BuildStoppedError from error
            other, why = None, f"{rival.precision} is not measured: {error}"
        except Exception:  # noqa: BLE001 - the edge of the thread: what judges judges on
            _log.exception("a plan could not be measured", stage=self._stage)
            other, why = None, f"{rival.precision} is not measured: a fault of the program"
        _log.info("plan: compared", stage=self._stage, engine=engine.manifest.name, reason=why)
        if other is None:
            self._progress = _serving(what, why)
        else:
            self._seat(other, why)
            self._serves(other, why)

    def _measured(self, plans: EnginePlans, rival: PlanKey) -> tuple[Engine | None, str]:
        """The engine on the rival's plan where it is faster, else None; and by how much."""
        other = plans.build_rival(rival, on_stage=self._heard, stopped=self._stopped.is_set)
        faster = False
        try:
            present = self._present()
            if present is None:
                raise BuildStoppedError
            faster, why = plans.faster(present, other)
        finally:
            if not faster:
                other.close()
        return other if faster else None, why

    # -- what is told ----------------------------------------------------------------------------

    def _serves(self, engine: Engine, why: str) -> None:
        info = engine.info
        self._progress = _serving(f"{engine.manifest.name} {info.precision}", why)
        _log.info(
            "plan: serves",
            stage=self._stage,
            engine=f"{info.name} {info.version}",
            precision=info.precision,
            gap=round(engine.parity.gap, 4),
            seconds=round(time.monotonic() - self._began_s, 1),
        )

    def _heard(self, key: PlanKey, said: Stage) -> None:
        before = self._progress
        state: State = {"waiting": "waiting", "writing": "proving"}.get(said.stage, "building")  # type: ignore[assignment]
        self._progress = replace(
            before,
            state=state,
            what=key.what,
            stage=said.stage,
            percent=said.percent,
            left_s=said.left_s,
            detail=said.detail,
        )
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            _log.info(
                f"plan: {state}",
                stage=self._stage,
                plan=key.what,
                percent=said.percent,
                step=said.stage,
                seconds=round(now_s - self._began_s, 1),
                **({"left_s": said.left_s} if said.left_s is not None else {}),
                **({"reason": said.detail} if said.detail else {}),
            )

    def _fail(self, state: Literal["failed", "refused"], detail: str) -> None:
        failures = self._progress.failures + 1
        self._progress = Progress(state, self._progress.what, failures=failures, detail=detail)
        _log.warning("plan: none serves", stage=self._stage, reason=detail)
        self._note(detail)


def _serving(what: str, why: str) -> Progress:
    told = f"the plan of {what} serves"
    return Progress("serving", what, percent=100.0, detail=f"{told}: {why}" if why else told)
