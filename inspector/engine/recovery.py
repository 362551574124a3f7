"""Recovery: fresh engines in the place of a lost one, sooner at first and then rarely, for ever."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.engine.load import Engine

_log = structlog.get_logger("inspector.engine")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds.

    Attributes:
        first_s, most_s: bounds of the wait before a try, which doubles from the one to the other.
        steady_s: an engine that served this long begins the waits anew.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    steady_s: float = 60.0


class Recovery:
    """Brings a seat's engine back. One thread at most, while there is something to bring back.

    Args:
        stage: for the log.
        accept: takes a fresh engine; False: it is not wanted any more.
    """

    def __init__(self, stage: str, patience: Patience, accept: Callable[[Engine], bool]) -> None:
        self._stage = stage
        self._patience = patience
        self._accept = accept
        self._wait_s = patience.first_s
        self._restored_s: float | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._revive: Callable[[], Engine] | None = None
        self._thread: threading.Thread | None = None

    def begin(self, revive: Callable[[], Engine]) -> None:
        """An engine was lost; `revive` opens another. Any thread; returns at once."""
        with self._lock:
            if self._ended.is_set():
                return
            served_s = time.monotonic() - (self._restored_s or 0.0)
            if self._restored_s is None or served_s >= self._patience.steady_s:
                self._wait_s = self._patience.first_s
            self._revive = revive
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """What was lost is not wanted any more. Any thread."""
        with self._lock:
            self._revive = None

    def close(self) -> None:
        """Try no more; a try that is under way ends by itself, and its engine is closed."""
        self._ended.set()

    def _next(self) -> Callable[[], Engine] | None:
        with self._lock:
            if self._revive is None or self._ended.is_set():
                self._thread = None
                return None
            return self._revive

    def _run(self) -> None:
        while self._next() is not None:
            wait_s = self._wait_s
            self._wait_s = min(2 * wait_s, self._patience.most_s)
            self._ended.wait(wait_s)
            revive = self._next()
            if revive is None:
                return
            try:
                engine = revive()
            except EngineError as error:
                _log.warning(
                    "a lost engine is not back yet",
                    stage=self._stage, reason=str(error), next_try_s=self._wait_s,
                )  # fmt: skip
                continue
            except Exception:  # noqa: BLE001 - whatever a library fails with, trying goes on
                _log.exception("a lost engine is not back yet", stage=self._stage)
                continue
            with self._lock:
                wanted = self._revive is revive and not self._ended.is_set()
                self._revive = None if wanted else self._revive
                self._restored_s = time.monotonic()
            if not (wanted and self._accept(engine)):
                engine.close()
