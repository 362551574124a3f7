"""Parts on the belt, from the camera to the ejector, and what became of them. Pure."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from inspector.line.registers import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.line.registers import Answer

TIMES_KEPT = 100_000
"""Response times kept for the summary."""


class Fate(StrEnum):
    """Where a part is, or how it ended."""

    IN_POSITION = "in_position"
    """Before the camera, not announced yet."""
    ASKED = "asked"
    ANSWERED = "answered"
    WRONG = "wrong"
    """The answer that came was not one for this part, or none that the map knows."""
    MISSED = "missed"
    """The station was not ready while the part was before the camera."""
    GIVEN_UP = "given_up"
    """Asked about, and not waited for any longer: the program went safe."""
    NOT_ASKED = "not_asked"
    """It passed while the program was told to ask nothing."""


@dataclass(slots=True)
class Part:
    """One part.

    Attributes:
        at_s: when it came before the camera, in seconds that the belt has run.
        asked_s: when it was announced, by the clock.
        spoilt: a fault was made on purpose while it was under way; it is no fault of the station.
        passes: it is let through whatever comes, since the station observes only.
    """

    number: int
    at_s: float
    fate: Fate = Fate.IN_POSITION
    asked_s: float = 0.0
    answer: Answer | None = None
    spoilt: bool = False
    passes: bool = False

    @property
    def ejected(self) -> bool:
        """What the ejector does with it: all goes out that was not called good."""
        good = self.answer is not None and self.answer.result is Result.ACCEPT
        return not self.passes and not (good and self.fate is Fate.ANSWERED)


@dataclass(slots=True)
class Tally:
    """What became of the parts of one camera.

    Attributes:
        answers: by result; the late ones too.
        late: answers that came when their part had passed the ejector already.
        late_rejects: rejects among them, but for those that a fault on purpose held back.
        wrong: answers for another part, or that the map does not know.
        missing: parts that went out without an answer though the station was asked or had to be.
        spoilt: the same, while a fault was made on purpose.
        repeats: answers with the sequence of the one before, acknowledged and not acted on.
        not_asked: parts that passed while the program was told to ask nothing.
        acted: answers acted on, where parts are not announced.
        held_up_s: how long an indexed belt stood since the station was not ready.
    """

    parts: int = 0
    asked: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    ejected: int = 0
    passed: int = 0
    late: int = 0
    late_rejects: int = 0
    wrong: int = 0
    missing: int = 0
    spoilt: int = 0
    repeats: int = 0
    not_asked: int = 0
    acted: int = 0
    held_up_s: float = 0.0
    answered_ms: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))

    @property
    def well(self) -> bool:
        """Whether each part got its own answer, and in time."""
        return not (self.wrong or self.missing or self.late_rejects)

    def answered_within_ms(self, share: float) -> float | None:
        """That share of the answers came within so many milliseconds; None without answers.

        >>> Tally(answered_ms=deque([5.0, 1.0, 9.0])).answered_within_ms(0.5)
        5.0
        """
        times = sorted(self.answered_ms)
        return times[max(math.ceil(share * len(times)) - 1, 0)] if times else None

    def document(self) -> dict[str, object]:
        """The tally as JSON-able data."""
        counts = {
            name: getattr(self, name)
            for name in (
                *("parts", "asked", "ejected", "passed", "wrong", "missing", "late"),
                *("late_rejects", "spoilt", "repeats", "not_asked", "acted"),
            )
        }
        times = {f"p{share}": self.answered_within_ms(share / 100) for share in (50, 99, 100)}
        counts["held_up_s"] = round(self.held_up_s, 3)
        return {**counts, "answers": dict(self.answers), "answered_ms": times}


class Belt:
    """Parts at equal distances; they move while the belt runs.

    Args:
        per_s: parts a second.
        parts: how many there are; None: without end.
        travel_s: from the camera to the ejector.
        first: number of the first part.
    """

    def __init__(self, *, per_s: float, parts: int | None, travel_s: float, first: int = 1) -> None:
        self._per_s = per_s
        self._parts = parts
        self._travel_s = travel_s
        self._first = first
        self._come = 0
        self._on_it: deque[Part] = deque()
        self.ran_s = 0.0

    def run(self, seconds: float) -> None:
        """Let it run for so long."""
        self.ran_s += seconds

    @property
    def until_next_s(self) -> float:
        """How long it has to run until the next part is before the camera; infinite without one."""
        if self._all_came:
            return math.inf
        return max((self._come + 1) / self._per_s - self.ran_s, 0.0)

    def arriving(self) -> Iterator[Part]:
        """Parts that have come before the camera since the last call."""
        while not self._all_came and (self._come + 1) / self._per_s <= self.ran_s:
            number = (self._first + self._come - 1) % 0xFFFF_FFFF + 1
            self._come += 1
            part = Part(number, self._come / self._per_s)
            self._on_it.append(part)
            yield part

    def leaving(self) -> Iterator[Part]:
        """Parts that have come to the ejector since the last call."""
        while self._on_it and self._on_it[0].at_s + self._travel_s <= self.ran_s:
            yield self._on_it.popleft()

    def part(self, number: int) -> Part | None:
        """A part that is still on the belt."""
        return next((part for part in self._on_it if part.number == number), None)

    @property
    def on_it(self) -> tuple[Part, ...]:
        """Parts between camera and ejector, the first to leave first."""
        return tuple(self._on_it)

    @property
    def ended(self) -> bool:
        """Whether the last part has left."""
        return self._all_came and not self._on_it

    @property
    def _all_came(self) -> bool:
        return self._parts is not None and self._come >= self._parts
