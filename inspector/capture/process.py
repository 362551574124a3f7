"""Worker processes: started with two descriptors and nothing else of the station's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.capture import wire
from inspector.capture.counters import CounterPage

if TYPE_CHECKING:
    import socket

PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
"""Environment of a worker; the station's own may hold secrets of others."""


class WorkerProcess:
    """One worker, its socket and its counter page.

    Must be made in a thread that lives as long as the worker: the kernel ends the worker with it.

    Attributes:
        end: our end of the socket pair; does not block.
        page: counters; readable after the worker's end.

    Raises:
        OSError: no process or descriptor is left.
    """

    def __init__(self) -> None:
        self.page = CounterPage.create()
        self.end: socket.socket
        try:
            self.end, theirs = wire.pair()
        except OSError:
            self.page.close()
            raise
        self._unsent: list[dict[str, Any]] = []
        self._stopped_from_s: float | None = None
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "inspector.capture.worker",
                        str(theirs.fileno()),
                        str(self.page.fd),
                    ],
                    pass_fds=(theirs.fileno(), self.page.fd),
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except BaseException:
            self.end.close()
            self.page.close()
            raise
        self.end.setblocking(False)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send a message; one without descriptors waits here if the worker does not read.

        The end of the worker is noticed where its socket is read, so errors are no news.
        """
        try:
            if self._unsent and not fds:
                self._unsent.append(message)
                self.flush()
            else:
                wire.send(self.end, message, fds)
        except BlockingIOError:
            if not fds:  # a worker that does not even take this one is about to be found hung
                self._unsent.append(message)
        except OSError:
            self._unsent.clear()

    def flush(self) -> None:
        """Send what waits."""
        while self._unsent:
            try:
                wire.send(self.end, self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                return
            del self._unsent[0]

    def kill(self) -> None:
        """End the process at once; its messages can still be read."""
        self._process.kill()

    def reap(self, timeout_s: float) -> bool:
        """Whether the process is gone within that time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stopped_s(self, now_s: float) -> float:
        """For how long it has been seen stopped by a signal such as SIGSTOP; 0 while it is not.

        Args:
            now_s: monotonic clock.
        """
        try:
            # WNOWAIT: it only looks, and takes no news from whoever waits for the end.
            stopped = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            stopped = None
        if stopped is None:
            self._stopped_from_s = None
            return 0.0
        if self._stopped_from_s is None:
            self._stopped_from_s = now_s
        return now_s - self._stopped_from_s

    @property
    def exit_text(self) -> str:
        """How the process ended, in words."""
        code = self._process.returncode
        if code is None:
            return "does not end"
        return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        """Give socket and page back. Idempotent."""
        self.end.close()
        self.page.close()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    # One thread a worker; and the package is found where this process found it.
    return kept | {
        "PYTHONPATH": PACKAGE_PARENT,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENCV_FOR_THREADS_NUM": "1",
    }
