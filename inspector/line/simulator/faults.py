"""Faults on purpose: which, and at which parts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from inspector.errors import UserError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

_FORM = re.compile(r"(?P<kind>[a-z-]+)(@(?P<part>[0-9]+)|:(?P<percent>[0-9.]+)%)?")


class Kind(StrEnum):
    """What goes wrong."""

    NO_ACK = "no-ack"
    """The answer is never acknowledged."""
    LATE_ACK = "late-ack"
    """It is acknowledged after a while."""
    DROP_CONNECTION = "drop-connection"
    """The PLC breaks the connection off, and each new one for a while."""
    SILENT = "silent"
    """The PLC keeps the connection and answers nothing for a while."""
    EXCEPTION = "exception"
    """The PLC answers each request with a Modbus exception for a while."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, at one part or at a share of all parts.

    Attributes:
        part: its number; None: at any.
        share: of the parts, 0…1.
    """

    kind: Kind
    part: int | None = None
    share: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From a word of the command line.

        >>> Fault.parse("no-ack@17"), Fault.parse("late-ack:2.5%").share
        (Fault(kind=<Kind.NO_ACK: 'no-ack'>, part=17, share=1.0), 0.025)

        Raises:
            UserError: it is none.
        """
        found = _FORM.fullmatch(text.strip())
        kinds = [kind.value for kind in Kind]
        if found is None or found["kind"] not in kinds:
            msg = (
                f'"{text}" is no fault: expected KIND@PART, KIND:PERCENT% or KIND alone (each '
                f"part), with KIND one of {', '.join(kinds)}; such as no-ack@17 or late-ack:2%"
            )
            raise UserError(msg)
        try:
            share = float(found["percent"]) / 100 if found["percent"] else 1.0
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            msg = f'"{text}": expected more than 0 and at most 100 percent'
            raise UserError(msg)
        return cls(Kind(found["kind"]), int(found["part"]) if found["part"] else None, share)


class Plan:
    """Says which faults are due.

    Args:
        faults: those that were asked for from the start.
        chance: decides on shares.
    """

    def __init__(self, faults: Iterable[Fault], chance: random.Random) -> None:
        self._faults = tuple(faults)
        self._chance = chance
        self._once: Counter[Kind] = Counter()
        self.made: Counter[Kind] = Counter()

    def add(self, kind: Kind) -> None:
        """Make it once, at the next chance."""
        self._once[kind] += 1

    def due(self, kind: Kind, part: int) -> bool:
        """Whether a fault is to be made now, at this part."""
        hit = any(
            fault.kind is kind
            and fault.part in {None, part}
            and (fault.share >= 1 or self._chance.random() < fault.share)
            for fault in self._faults
        )
        if self._once[kind]:
            self._once[kind] -= 1
            hit = True
        self.made[kind] += hit
        return hit
