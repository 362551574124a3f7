"""One labelled picture of a set, whatever the set was read from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Frame:
    """A file, its label, and what is known of it; severity 0 where it is not known."""

    path: Path
    label: str
    severity: int
    source: str
    variant: int = 0
