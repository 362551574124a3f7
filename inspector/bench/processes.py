"""What a process costs, as Linux counts it: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path

SLOTS = "memfd:inspector-"
"""Name of the mappings that are slots (and counters), which every process of a station shares."""


def cpu_s(pid: int) -> float:
    """Processor seconds of all threads of a process, ended ones included.

    Raises:
        OSError: there is no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process without its slots: shared pages count in parts.

    Raises:
        OSError: there is no such process, or it is another user's.
    """
    return _pss_of(Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace"))


def _pss_of(smaps: str) -> int:
    r"""The sum over all mappings but the slots.

    >>> _pss_of("1-2 rw-p 0 0:1 7 /memfd:inspector-a (deleted)\nPss: 8 kB\n3-4 r 0\nPss: 4 kB")
    4096
    """
    total, counts = 0, True
    for line in smaps.splitlines():
        word = line.split(maxsplit=1)[0]
        if word == "Pss:":
            total += int(line.split()[1]) * 1024 * counts
        elif not word.endswith(":"):
            counts = SLOTS not in line
    return total


def children(pid: int) -> list[int]:
    """Processes that a process has started, by any of its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in path.read_text(encoding="ascii").split()]
    return found
