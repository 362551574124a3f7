"""A few threads for what must not keep the judge waiting: encoding, and the disk.

Jobs hold a slot and come first; a full queue refuses them. Chores (the disk's own: to sync, to
remove) hold nothing and wait; a full queue refuses them too. One thread does jobs only, so that no
event waits for a sync.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger("inspector.evidence")


class Pool:
    """Bounded queues in front of daemon threads. Any thread may call any method.

    Daemons, since a thread that waits for a dead disk must not hold up the end of the station.

    Args:
        threads: how many work at once; two at least.
        most_jobs, most_chores: bounds of the queues.
    """

    def __init__(self, *, threads: int, most_jobs: int, most_chores: int) -> None:
        self._changed = threading.Condition()
        self._most_jobs, self._most_chores = most_jobs, most_chores
        self._jobs: deque[Callable[[], None]] = deque()
        self._chores: deque[Callable[[], None]] = deque()
        self._jobs_at_work = 0
        self._since: dict[int, float] = {}
        """Threads at work, and since when (monotonic seconds)."""
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(i,), name=f"evidence-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: Callable[[], None]) -> bool:
        """Queue a job; False if there is no room."""
        with self._changed:
            if self._closing or len(self._jobs) >= self._most_jobs:
                return False
            self._jobs.append(job)
            self._changed.notify_all()
            return True

    def put_chore(self, chore: Callable[[], None]) -> bool:
        """Queue a chore; False if there is no room."""
        with self._changed:
            if self._closing or len(self._chores) >= self._most_chores:
                return False
            self._chores.append(chore)
            self._changed.notify_all()
            return True

    def withdraw(self, job: Callable[[], None]) -> bool:
        """Take a job back that has not begun; False if it has."""
        with self._changed:
            try:
                self._jobs.remove(job)
            except ValueError:
                return False
            self._changed.notify_all()
            return True

    def stuck(self, longer_than_s: float) -> bool:
        """Whether every thread has been at one thing for so long."""
        with self._changed:
            began = time.monotonic() - longer_than_s
            return len(self._since) == len(self._threads) and max(self._since.values()) < began

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no job is queued or at work; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._jobs or self._jobs_at_work), timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Work off what is queued, then end; False if that took too long."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        while (next_one := self._next(number)) is not None:
            work, is_job = next_one
            del next_one
            try:
                work()
            except Exception:  # noqa: BLE001 - the thread outlives any error; it is logged
                _log.exception("evidence.fault")
            finally:
                del work  # it may hold a frame, whose slot would stay mapped
                with self._changed:
                    self._jobs_at_work -= is_job
                    del self._since[number]
                    self._changed.notify_all()

    def _next(self, number: int) -> tuple[Callable[[], None], bool] | None:
        """What to do next, and whether it is a job; None at the end."""
        chores = self._chores if number > 0 else ()
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or chores or self._closing)
            if not (self._jobs or chores):
                return None
            self._since[number] = time.monotonic()
            if self._jobs:
                self._jobs_at_work += 1
                return self._jobs.popleft(), True
            return self._chores.popleft(), False
