"""What a check found: the one thing that all checks of `inspector doctor` give."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Grade(IntEnum):
    """How good a finding is; the larger the worse.

    NOTE: worth reading, and nothing to do. MEND: the box, a camera, the network or the broker needs
    work. MISTAKE: what the user gave is wrong: the station file, a name, a secret.
    """

    GOOD = 0
    NOTE = 1
    MEND = 2
    MISTAKE = 3

    @property
    def word(self) -> str:
        """For people and programs."""
        return self.name.lower()


_STATUS = {Grade.GOOD: 0, Grade.NOTE: 0, Grade.MEND: 1, Grade.MISTAKE: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Nothing in it is a secret.

    Attributes:
        subject: what kind of thing: `file camera engine gpu plan trigger broker line state
            evidence service page memory clock cpu`.
        name: which one; empty where there is only one.
        grade: how good it is.
        found, expected: in words; `expected` may be empty where nothing was.
        remedy: what to do; empty where there is nothing to do.
        facts: the figures behind the words, by name with their unit.
    """

    subject: str
    name: str
    grade: Grade
    found: str
    expected: str = ""
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"grade": self.grade.word}


def worst(findings: Iterable[Finding]) -> Grade:
    """The worst grade of all; GOOD of none."""
    return max((finding.grade for finding in findings), default=Grade.GOOD)


def status_of(findings: Iterable[Finding]) -> int:
    """Exit status by the worst: 0 good, 1 something to mend, 2 the user's mistake.

    >>> status_of([Finding("cpu", "", Grade.NOTE, "slow"), Finding("clock", "", Grade.MEND, "off")])
    1
    """
    return _STATUS[worst(findings)]
