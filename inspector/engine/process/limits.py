"""How long an engine process is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; all of them are counted so that a machine that stands still accuses nobody.

    Attributes:
        start_s: from the spawn to a warm runtime.
        answer_s: from a batch's turn to its answer, in signs of life of the engine process.
        silence_s: without any sign of life, in turns of the thread that listens.
        close_s: to finish what is in flight at the end.
    """

    start_s: float = 300.0
    answer_s: float = 0.8
    silence_s: float = 0.7
    close_s: float = 3.0
