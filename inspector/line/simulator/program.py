"""The PLC program as a whole: watches the station's heartbeat, obeys `safe`, runs its lanes. Pure.

What a PLC does with an inspection station, and no more: docs/line.md has the same program in
structured text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from inspector.line.registers import PlcBlock, Safe, next_count
from inspector.line.simulator.faults import Kind, Plan
from inspector.line.simulator.lane import Lane, Mode, Step
from inspector.line.simulator.parts import Belt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.line.registers import Answer, Control, StationBlock, Status

RESET_PULSE_S = 0.2
"""Long enough to be seen by a station that polls, short enough not to be a state."""
SETTLED_BEATS = 2
"""Beats of the station after a fault that show it connected again."""
ONE_STEP_S = 1e-6
HEARTBEAT_S = 0.1
"""Pace of the PLC's own heartbeat."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the line is built and what its program does.

    Attributes:
        per_s: parts a second before each camera.
        parts: how many; None: without end. Where they are not announced: answers acted on.
        travel_s: from camera to ejector, while the belt runs.
        indexed: the belt stands while a part before the camera waits for `ready`; else it moves on.
        heartbeat_within_s: the station is taken for gone when its heartbeat stood for so long.
        when_lost: what is done then.
        reset_after_s: how long the station may order `safe` before reset is pressed; None: never.
        late_ack_s: how long the fault `late-ack` holds an acknowledgement back.
        fault_s: how long the faults of the connection last.
    """

    per_s: float = 5.0
    parts: int | None = None
    first_part: int = 1
    travel_s: float = 0.5
    indexed: bool = False
    heartbeat_within_s: float = 1.0
    when_lost: Literal["reject", "stop"] = "stop"
    reset_after_s: float | None = 2.0
    late_ack_s: float = 1.0
    fault_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Happening:
    """A transition of the program, or anything else that is worth a line in the record.

    Attributes:
        at_s: by the program's clock.
        what: a word, such as `trigger`, `answer`, `ejected`, `mode`.
        camera: None for the program as a whole.
    """

    at_s: float
    what: str
    camera: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What the PLC writes after a scan."""

    plc: PlcBlock
    cameras: Mapping[str, Control]
    happenings: Sequence[Happening]


class Program:
    """Runs one line. Belongs to one thread.

    Args:
        cameras: by name, in the order of their blocks: whether the program announces parts to the
            station (`trigger: plc`); else it acts on each new answer as it comes.
        plan: faults to be made on purpose.
    """

    def __init__(self, settings: Settings, cameras: Mapping[str, bool], plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        self._happenings: list[Happening] = []
        self.lanes = {
            name: self._lane(name, announces=announces) for name, announces in cameras.items()
        }
        self.mode = Mode.STOP
        self.why = "no heartbeat was heard yet"
        self._now_s = 0.0
        self._last_s: float | None = None
        self._heartbeat = self._beats = 0
        self._disturbed: tuple[float, int] | None = None
        """A fault on purpose: when it is over, and beats heard by then. None: all is settled."""
        self._beat_s: float | None = None
        self._own_heartbeat = 0
        self._own_beat_s = float("-inf")
        self._ordered_s: float | None = None
        self._reset_until_s = float("-inf")

    def _lane(self, name: str, *, announces: bool) -> Lane:
        settings = self._settings
        belt = Belt(
            per_s=settings.per_s,
            parts=settings.parts if announces else 0,
            travel_s=settings.travel_s,
            first=settings.first_part,
        )
        return Lane(
            belt,
            announces=announces,
            plan=self._plan,
            late_ack_s=settings.late_ack_s,
            tell=self._teller(name),
        )

    def _teller(self, camera: str | None) -> Callable[..., None]:
        def tell(what: str, **details: object) -> None:
            self._happenings.append(Happening(self._now_s, what, camera, details))

        return tell

    def press_reset(self) -> None:
        """Press the operator's reset, as it is pressed when the cause is gone."""
        self._reset_until_s = self._now_s + RESET_PULSE_S
        self._teller(None)("reset")

    def make(self, kind: Kind) -> None:
        """Make a fault once, at the next chance; those of the connection at once."""
        if kind in {Kind.NO_ACK, Kind.LATE_ACK}:
            self._plan.add(kind)
        else:
            self._plan.made[kind] += 1
            self._teller(None)("fault", kind=kind.value)

    def scan(
        self, now_s: float, station: StationBlock, cameras: Mapping[str, tuple[Status, Answer]]
    ) -> Told:
        """Take one step: what the station wrote in, what the PLC writes out."""
        passed_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._now_s = self._last_s = now_s
        heard = self._hear(station)
        self._decide(station, heard=heard)
        self._settle(cameras)
        told = {}
        for name, lane in self.lanes.items():
            if self.mode is not Mode.STOP:
                self._run_belt(lane, passed_s)
            told[name] = lane.scan(now_s, self.mode, *cameras[name], heard=heard)
        if now_s - self._own_beat_s >= HEARTBEAT_S:
            self._own_heartbeat, self._own_beat_s = next_count(self._own_heartbeat), now_s
        running = self.mode is not Mode.STOP
        block = PlcBlock(self._own_heartbeat, running, now_s < self._reset_until_s)
        happenings, self._happenings = self._happenings, []
        for each in happenings:
            if each.what == "fault":
                self._disturb(str(each.details["kind"]))
        return Told(block, told, happenings)

    @property
    def ended(self) -> bool:
        """Whether all parts have left and no handshake is open."""
        parts = self._settings.parts
        if parts is None or any(lane.step is not Step.WAITING for lane in self.lanes.values()):
            return False
        return all(
            lane.belt.ended if lane.announces else lane.tally.acted >= parts
            for lane in self.lanes.values()
        )

    def verdict(self) -> tuple[bool, str]:
        """Whether each part got its own answer in time, and the same in words."""
        tallies = [lane.tally for lane in self.lanes.values()]
        if not all(tally.well for tally in tallies):
            return False, "not well: parts got a wrong answer, or none in time"
        if self._settings.parts is not None and not self.ended:
            return False, "not well: it ended before all parts had come"
        if not any(tally.answers for tally in tallies):
            return True, "no part was answered, and none had to be"
        return True, "well: each part got its own answer, in time"

    def _run_belt(self, lane: Lane, seconds: float) -> None:
        if not self._settings.indexed:
            lane.belt.run(seconds)
        elif not lane.held_up:
            # No further than to the next part, or two would come with a scan that was late.
            lane.belt.run(min(seconds, lane.belt.until_next_s + ONE_STEP_S))
        else:
            lane.tally.held_up_s += seconds

    def _hear(self, station: StationBlock) -> bool:
        """Whether the station is there and serves."""
        if station.heartbeat != self._heartbeat:
            self._heartbeat, self._beat_s = station.heartbeat, self._now_s
            self._beats += 1
        alive = self._beat_s is not None and (
            self._now_s - self._beat_s <= self._settings.heartbeat_within_s
        )
        return alive and station.serving

    def _disturb(self, kind: str) -> None:
        """A fault is made: what becomes of the parts until all is settled is not the station's."""
        lasts_s = 0.0 if kind in {Kind.NO_ACK, Kind.LATE_ACK} else self._settings.fault_s
        self._disturbed = self._now_s + lasts_s, self._beats
        for lane in self.lanes.values():
            lane.spoil()

    def _settle(self, cameras: Mapping[str, tuple[Status, Answer]]) -> None:
        if self._disturbed is None:
            return
        for lane in self.lanes.values():
            lane.spoil()
        over_s, beats = self._disturbed
        if self._now_s < over_s:
            self._disturbed = over_s, self._beats
        elif self.mode is Mode.RUN and self._beats >= beats + SETTLED_BEATS:
            idle = all(lane.step is Step.WAITING for lane in self.lanes.values())
            ready = all(
                cameras[name][0].ready for name, lane in self.lanes.items() if lane.announces
            )
            if idle and ready:
                self._disturbed = None
                self._teller(None)("settled")

    def _decide(self, station: StationBlock, *, heard: bool) -> None:
        lost = Mode(self._settings.when_lost)
        if self._beat_s is None:
            self._go(Mode.STOP, "no heartbeat was heard yet")
        elif not heard and station.serving:
            self._go(lost, "the station's heartbeat stands still")
        elif not heard:
            self._go(lost, "the station does not serve")
        elif station.safe is not Safe.NORMAL:
            self._go(Mode(station.safe.word), f"the station orders {station.safe.word}")
        elif station.observing:
            self._go(Mode.OBSERVE, "the station only looks on")
        else:
            self._go(Mode.RUN, "all is well")
        ordered = heard and station.safe is not Safe.NORMAL
        if not ordered:
            self._ordered_s = None
            return
        if self._ordered_s is None:
            self._ordered_s = self._now_s
        after_s = self._settings.reset_after_s
        if after_s is not None and self._now_s - self._ordered_s >= after_s:
            self._ordered_s = self._now_s
            self.press_reset()

    def _go(self, mode: Mode, why: str) -> None:
        if (mode, why) != (self.mode, self.why):
            self._teller(None)("mode", now=mode.value, before=self.mode.value, why=why)
            self.mode, self.why = mode, why
