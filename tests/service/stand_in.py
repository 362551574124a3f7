"""A stand-in for systemd where none runs as process 1: runs one unit, by the settings of its file.

What it obeys it reads from the unit: start, stop, abort and watchdog timeouts, extensions of the
start, restart rules, credentials, state folder, who may notify. It does nothing else of systemd's
work: the sandbox is looked at by `systemd-analyze`, not here.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.service.unit import UNIT, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TURN_S = 0.02


@dataclass(frozen=True)
class Happened:
    """One line of the stand-in's journal; `at` is monotonic, in seconds."""

    at: float
    what: str
    detail: str = ""


class StandIn:
    """Runs `inspector@INSTANCE` below a folder that stands for the root of the box.

    Args:
        root: has `etc/inspector` and `var/lib`; the absolute paths of the unit are meant below it.
        launcher: what stands for the first word of ExecStart.
        drop_ins: texts that are read after the unit file.
        unit: another unit file than the station's.
    """

    def __init__(
        self,
        root: Path,
        launcher: Sequence[str],
        *drop_ins: str,
        instance: str = "line-1",
        unit: Path = UNIT,
    ) -> None:
        self.unit = Unit.read(unit, instance, *drop_ins)
        self.root = root
        self.state = "inactive"
        self.status = ""
        self.journal: list[Happened] = []
        self.log_path = root / "journal.log"
        self.state_folder = self._folder(f"/var/lib/{self.unit.one('StateDirectory')}")
        self._launcher = list(launcher)
        self._process: subprocess.Popen[bytes] | None = None
        self._due: float | None = None
        self._watchdog: float | None = None
        self._stop_asked = False
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(root / "notify"))
        self._socket.settimeout(TURN_S)
        self._thread = threading.Thread(target=self._run, name="stand-in", daemon=True)

    def __enter__(self) -> Self:
        self._start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._process is not None:
            self._kill_all()
            self._process.wait()
        self._socket.close()

    # What a test asks for.

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """As `systemctl stop`; the state becomes `inactive` when it is done."""
        self._stop_asked = True

    def reload(self) -> None:
        """As `systemctl reload`; the state is `reloading` from when the station says so."""
        words = self.unit.command("ExecReload")
        subprocess.run([word.replace("$MAINPID", str(self.pid)) for word in words], check=True)

    def happened(self, what: str) -> list[Happened]:
        """Lines of the journal of one kind, oldest first."""
        return [line for line in tuple(self.journal) if line.what == what]

    def until(self, what: str, truth: Callable[[], Any], within_s: float = 120.0) -> Any:
        """Wait until `truth` gives something, and return it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if got := truth():
                return got
            time.sleep(0.02)
        tail = self.log_path.read_text(errors="replace")[-3000:]
        msg = f"no {what} within {within_s} s; {self.state}: {self.journal[-20:]}\n{tail}"
        raise AssertionError(msg)

    def wait_for(self, state: str, within_s: float = 120.0) -> Self:
        """Wait until the unit is in a state."""
        self.until(state, lambda: self.state == state, within_s)
        return self

    # The manager's thread.

    def _folder(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _note(self, what: str, detail: str = "") -> None:
        self.journal.append(Happened(time.monotonic(), what, detail))

    def _in(self, seconds: float) -> float:
        return time.monotonic() + seconds

    def _start(self) -> None:
        unit = self.unit
        first, *words = unit.command("ExecStart")
        assert first == "/usr/local/bin/inspector"
        words = [str(self._folder(w)) if w.startswith("/etc/") else w for w in words]
        self.state_folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "NOTIFY_SOCKET": str(self.root / "notify"),
            "WATCHDOG_USEC": str(round(unit.seconds("WatchdogSec") * 1e6)),
            "STATE_DIRECTORY": str(self.state_folder),
            "CREDENTIALS_DIRECTORY": str(self._credentials()),
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                ["prlimit", f"--core={unit.one('LimitCORE')}", *self._launcher, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.state_folder,
                start_new_session=True,
            )
        self.state, self.status = "activating", ""
        self._due, self._watchdog = self._in(unit.seconds("TimeoutStartSec")), None
        self._note("start", str(self._process.pid))

    def _credentials(self) -> Path:
        """Of a folder each file is a credential, by the id, an underscore and its name."""
        made = self.root / "run" / "credentials"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for value in self.unit.all("LoadCredential"):
            name, path = value.split(":", 1)
            source = self._folder(path)
            inner = source.iterdir() if source.is_dir() else [source]
            files = [file for file in inner if not file.is_symlink()]
            for file in files:
                to = f"{name}_{file.name}" if source.is_dir() else name
                shutil.copy(file, made / to)
        return made

    def _run(self) -> None:
        while not self._over.is_set():
            self._listen()
            status = self._process.poll() if self._process is not None else None
            if status is not None:
                while self._listen():
                    pass  # what it said last
                self._ended(status)
            elif self._stop_asked and self.state in {"activating", "running", "reloading"}:
                self._signal(signal.SIGTERM, "stopping", self.unit.seconds("TimeoutStopSec"))
            elif self._watchdog is not None and time.monotonic() > self._watchdog:
                self._note("watchdog")
                self._signal(signal.SIGABRT, "aborting", self.unit.seconds("TimeoutAbortSec"))
            elif self._due is not None and time.monotonic() > self._due:
                self._timed_out()

    def _timed_out(self) -> None:
        if self.state == "auto-restart":
            self._start()
        elif self.state == "activating":
            self._note("start timed out")
            self._signal(signal.SIGTERM, "aborting", self.unit.seconds("TimeoutStopSec"))
        else:
            self._note("killed")
            self._kill_all()
            self._due = None

    def _signal(self, number: signal.Signals, state: str, timeout_s: float) -> None:
        """To the main process alone (KillMode=mixed), and a stopped one goes on to die of it."""
        os.kill(self.pid, number)
        os.kill(self.pid, signal.SIGCONT)
        self._note("signal", number.name)
        self.state, self._due, self._watchdog = state, self._in(timeout_s), None

    def _kill_all(self) -> None:
        assert self.unit.one("KillMode") == "mixed"
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _ended(self, status: int) -> None:
        """The main process is dead: the rest of its group goes, and the restart rules decide."""
        self._note("end", str(status))
        self._kill_all()
        self._process, self._due, self._watchdog = None, None, None
        prevented = status in self.unit.statuses("RestartPreventExitStatus")
        if self._stop_asked:
            self.state = "inactive" if status == 0 else "failed"
        elif self.unit.one("Restart") == "always" and not prevented:
            assert self.unit.one("StartLimitIntervalSec", section="Unit") == "0"
            self.state, self._due = "auto-restart", self._in(self.unit.seconds("RestartSec"))
        else:
            self.state = "failed" if status else "inactive"

    def _listen(self) -> bool:
        """Take a message; False if none came."""
        try:
            message, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            return False
        sender = struct.unpack("3i", ancillary[0][2])[0]
        assert self.unit.one("NotifyAccess") == "main"
        if self._process is None or sender != self._process.pid:
            self._note("stranger", f"{sender}: {message!r}")
            return True
        for line in message.decode().splitlines():
            name, _, value = line.partition("=")
            self._note(name, value)
            self._told(name, value)
        return True

    def _told(self, name: str, value: str) -> None:
        if name == "STATUS":
            self.status = value
        elif name == "READY" and self.state in {"activating", "reloading"}:
            self.state, self._due = "running", None
            self._watchdog = self._in(self.unit.seconds("WatchdogSec"))
        elif name == "RELOADING":
            self.state = "reloading"
        elif name == "WATCHDOG" and self._watchdog is not None:
            self._watchdog = self._in(self.unit.seconds("WatchdogSec"))
        elif name == "EXTEND_TIMEOUT_USEC" and self.state == "activating":
            self._due = max(self._due or 0.0, self._in(int(value) / 1e6))
        elif name == "STOPPING" and self.state == "running":
            self.state, self._due = "stopping", self._in(self.unit.seconds("TimeoutStopSec"))
            self._watchdog = None
