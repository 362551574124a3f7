"""An upgrade: a plan is built while another runtime judges, proved, and then takes the seat.

One thread a seat, from the start of the station or an activation until a plan serves, the plans are
refused, or somebody else takes the seat. A build that fails is tried again, ever more rarely: what
was in the GPU's or the disk's way may go.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import structlog

from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import NoPlanServesError
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.engine.load import Engine
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.request import Stage

LOG_EVERY_S = 10.0
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
        seconds: since the upgrade began.
        last_build_s: how long the last build like it took; None: there was none.
        detail: a sentence: why it failed, for whom it waits.
    """

    state: State
    what: str = ""
    stage: str = ""
    percent: float = 0.0
    seconds: float = 0.0
    last_build_s: float | None = None
    detail: str = ""

    @property
    def sentence(self) -> str:
        """For a person.

        >>> Progress("building", "tiny int8", "Timing graph nodes", 43.2, 130, 240).sentence
        'the plan of tiny int8 is being built: 43 %, Timing graph nodes, 130 s; the last took 240 s'
        """
        if self.state == "waiting":
            return f"waits to build the plan of {self.what}: {self.detail}"
        if self.state == "building":
            before = f"; the last took {self.last_build_s:.0f} s" if self.last_build_s else ""
            stage = f", {self.stage}" if self.stage else ""
            return (
                f"the plan of {self.what} is being built: {self.percent:.0f} %{stage}, "
                f"{self.seconds:.0f} s{before}"
            )
        if self.state == "proving":
            return f"the plan of {self.what} is held against the golden tiles"
        return self.detail


class Upgrade:
    """One seat's way to TensorRT. `start` once; everything else from any thread.

    Args:
        stage: of the seat, for the log.
        plans: of the engine that has the seat.
        swap: gives the seat to the engine; raises EngineError where the seat has another occupant.
        note: told why TensorRT does not serve yet, each time that changes.
        retry_first_s, retry_most_s: bounds of the wait after a failure, which doubles.
    """

    def __init__(
        self,
        stage: str,
        plans: EnginePlans,
        *,
        swap: Callable[[Engine], None],
        note: Callable[[str], None],
        retry_first_s: float = RETRY_FIRST_S,
        retry_most_s: float = RETRY_MOST_S,
    ) -> None:
        self._stage = stage
        self._plans = plans
        self._swap = swap
        self._note = note
        self._retry_s = (retry_first_s, retry_most_s)
        self._stopped = threading.Event()
        self._began_s = time.monotonic()
        self._logged_s = 0.0
        self._progress = Progress("building", plans.keys[0].what)
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
        wait_s, most_s = self._retry_s
        while not self._stopped.is_set():
            try:
                self._once()
            except BuildStoppedError:
                break
            except NoPlanServesError as error:
                self._fail("refused", f"no plan serves: {error}; inspector engines build --again")
                return
            except EngineError as error:
                self._fail("failed", f"no plan could be built: {error}")
            except Exception:  # noqa: BLE001 - the edge of the thread: what judges judges on
                _log.exception("an upgrade failed", stage=self._stage)
                self._fail("failed", "no plan could be built: a fault of the program, see the log")
            else:
                return
            self._stopped.wait(wait_s)
            wait_s = min(2 * wait_s, most_s)
        self._progress = Progress("ended", detail="not wanted any more")

    def _once(self) -> None:
        self._began_s = time.monotonic()
        engine = self._plans.build(on_stage=self._heard, stopped=self._stopped.is_set)
        if self._stopped.is_set():
            engine.close()
            msg = "not wanted any more"
            raise BuildStoppedError(msg)
        try:
            self._swap(engine)
        except EngineError:
            engine.close()
            raise BuildStoppedError from None
        info = engine.info
        took_s = time.monotonic() - self._began_s
        served = f"the plan of {self._progress.what} serves"
        self._progress = Progress("serving", self._progress.what, percent=100.0, detail=served)
        _log.info(
            "plan: serves",
            stage=self._stage,
            engine=f"{info.name} {info.version}",
            precision=info.precision,
            gap=round(engine.parity.gap, 4),
            seconds=round(took_s, 1),
        )

    def _heard(self, key: PlanKey, said: Stage) -> None:
        before = self._progress
        state: State = {"waiting": "waiting", "writing": "proving"}.get(said.stage, "building")  # type: ignore[assignment]
        if before.what != key.what or not before.stage:
            before = replace(before, last_build_s=self._plans.last_build_s(key))
        self._progress = replace(
            before,
            state=state,
            what=key.what,
            stage=said.stage,
            percent=said.percent,
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
                **({"reason": said.detail} if said.detail else {}),
            )

    def _fail(self, state: Literal["failed", "refused"], detail: str) -> None:
        self._progress = replace(self._progress, state=state, detail=detail)
        _log.warning("plan: none serves", stage=self._stage, reason=detail)
        self._note(detail)
