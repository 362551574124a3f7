"""Faults of a station file: what is wrong, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KeyPath = tuple[str | int, ...]
"""The way from the top of the file to a value: `("cameras", "infeed", "slots")`."""


def dotted(key: KeyPath) -> str:
    """Write a key path the way people say it.

    >>> dotted(("events", "kafka", "bootstrap_servers", 0))
    'events.kafka.bootstrap_servers[0]'
    """
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Fault:
    """One mistake in a station file.

    `line` and `column` count from 1 and are None where the file has no such place. `key` is empty
    for faults of the file as a whole. `got` is what came, `expected` what would have been right;
    neither ever holds a secret.
    """

    key: KeyPath
    problem: str
    line: int | None = None
    column: int | None = None
    got: str | None = None
    expected: str | None = None

    def document(self) -> dict[str, object]:
        """The fault as JSON-able data."""
        return {
            "line": self.line,
            "column": self.column,
            "key": dotted(self.key),
            "problem": self.problem,
            "got": self.got,
            "expected": self.expected,
        }

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line is not None else ""
        parts = [part for part in (where, dotted(self.key)) if part]
        return ": ".join([*parts, self.problem])


class StationFileError(ConfigError):
    """A station file that cannot be used.

    Attributes:
        file: the station file.
        faults: every fault found in it, in the order of the file.
    """

    def __init__(self, file: Path, faults: Iterable[Fault]) -> None:
        self.file = file
        self.faults: Sequence[Fault] = sorted(
            faults, key=lambda fault: (fault.line or 0, fault.column or 0)
        )
        count = len(self.faults)
        head = f"{file}: {count} {'fault' if count == 1 else 'faults'}"
        super().__init__("\n".join([head, *(f"  {fault}" for fault in self.faults)]))

    def __reduce__(self) -> tuple[type[StationFileError], tuple[Path, Sequence[Fault]]]:
        # The exception crosses process boundaries; the default would pickle the message alone.
        return type(self), (self.file, self.faults)
