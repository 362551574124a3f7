"""`inspector` with one oddity, as the launcher of a test: odd_station.py ODDITY FILE WORD...

`judge`, `capture`, `outbox`: that loop hangs while FILE is there; `load`: so does the load of an
engine. `clock`: while FILE is there, the wall clock is a day behind.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from inspector import cli
from inspector.capture.supervisor import Capture
from inspector.engine import occupying
from inspector.engine.judge import Judge
from inspector.events.writer import Writer

PLACES: dict[str, tuple[Any, str]] = {
    "judge": (Judge, "_patience_s"),
    "capture": (Capture, "_spawn_due"),
    "outbox": (Writer, "_purge_sometimes"),
    "load": (occupying, "load_asked"),
}


def hang_at(owner: Any, name: str, while_there: Path) -> None:
    """Let a function wait, before it does its work, until a file is gone."""
    honest = getattr(owner, name)

    def hanging(*args: Any, **kwargs: Any) -> Any:
        while while_there.exists():
            time.sleep(0.05)
        return honest(*args, **kwargs)

    setattr(owner, name, hanging)


def set_back(while_there: Path) -> None:
    """Let the wall clock be a day behind, as long as a file is there."""
    honest, honest_ns = time.time, time.time_ns

    def behind_s() -> int:
        return 86_400 if while_there.exists() else 0

    time.time = lambda: honest() - behind_s()
    time.time_ns = lambda: honest_ns() - behind_s() * 10**9


if __name__ == "__main__":
    oddity, file = sys.argv[1:3]
    if oddity == "clock":
        set_back(Path(file))
    else:
        hang_at(*PLACES[oddity], Path(file))
    cli.main(sys.argv[3:])
