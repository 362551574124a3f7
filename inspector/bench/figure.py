"""A measured figure and the bound it is held against. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class BenchError(InspectorError):
    """A figure could not be measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        name: of the measurement, as `inspector bench NAME` takes it, and which of its figures.
        what: what was measured, in words.
        measured: the figure.
        bound: what it is held against.
        at_least: whether the bound is a lower one.
        unit: of both; empty for ratios.
        details: the figures behind it, by name with their unit.
    """

    name: str
    what: str
    measured: float
    bound: float
    at_least: bool = False
    unit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def miss(self) -> float:
        """By which part of the bound it is missed; 0 where it is met.

        >>> Figure("pipeline", "", measured=0.76, bound=0.95, at_least=True).miss
        0.2
        >>> Figure("decode", "", measured=1.5, bound=1.25).miss
        0.2
        """
        return 0.0 if self.met else round(abs(self.measured - self.bound) / self.bound, 6)

    @property
    def word(self) -> str:
        """Met, or by how much not.

        >>> Figure("decode", "", measured=1.5, bound=1.25).word
        'missed by 20 %'
        """
        return "met" if self.met else f"missed by {self.miss:.0%}".replace("%", " %")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"met": self.met, "miss": self.miss}


def bracketed_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Ours to theirs, of sides that were measured in turn: theirs, ours, theirs, … theirs.

    Each of ours is held against the mean of theirs before and after it, and the median is taken:
    a load of the machine that comes, goes or drifts meanwhile falls out.

    Raises:
        ValueError: not one more of theirs than of ours, or none.

    >>> bracketed_ratio([9.0, 5.0, 8.0], [10.0, 10.0, 10.0, 10.0])
    0.8
    """
    if not ours or len(theirs) != len(ours) + 1:
        msg = f"{len(theirs)} and {len(ours)} measurements, expected one more and at least one"
        raise ValueError(msg)
    pairs = zip(ours, theirs, theirs[1:], strict=False)
    return median(our / ((before + after) / 2) for our, before, after in pairs)


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed.

    >>> share([4.0, 1.0, 3.0, 2.0], 0.5), share(list(range(1, 101)), 0.99)
    (2.0, 99)
    """
    ordered = sorted(values)
    return ordered[max(0, ceil(round(part * len(ordered), 9)) - 1)]
