"""One camera as the supervisor sees it: its worker, its connection, its frames.

All methods run in the capture thread, except where they say that the lock is enough.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from inspector.capture.asks import Asks, NoFramesError, ask_worker
from inspector.capture.audit import Audit
from inspector.capture.backoff import Backoff
from inspector.capture.counters import ARRIVED, COVERED_PERMILLE, KEY_EVERY, LAST_ARRIVAL_NS
from inspector.capture.hang import UNDYING, find_hang
from inspector.capture.leases import Lease, Leases
from inspector.capture.mailbox import Mailbox
from inspector.capture.process import WorkerProcess
from inspector.capture.rate import Rate
from inspector.capture.status import CameraStatus, Cause, State
from inspector.errors import InspectorError
from inspector.slots import Ring

if TYPE_CHECKING:
    import random

    from inspector.capture.backoff import Pace
    from inspector.capture.counters import CounterPage
    from inspector.capture.hang import Hang
    from inspector.capture.hooks import Hooks
    from inspector.capture.wire import Message
    from inspector.config.cameras import Camera
    from inspector.config.secrets import Secrets
    from inspector.frame import Frame, Trigger

PART_S = 1.0
"""What a worker gets to end by itself when the next one is to take its place, or none."""


class CameraLink:
    """State machine of one camera.

    Args:
        lock: guards mailbox, asks, audit, leases and what `status` reads; the supervisor's own.
        counted: each frame that is due is a part of its own.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        secrets: Secrets,
        first_epoch: int,
        hooks: Hooks,
        pace: Pace,
        rng: random.Random,
        lock: Any,
        *,
        counted: bool = False,
    ) -> None:
        self.name = name
        self.camera = camera
        self._counted = counted
        self._parts = self._parts_before = 0  # so far; before the present worker, which counts anew
        self.mailbox = Mailbox()
        self.asks = Asks()
        self.audit = Audit()
        self.leases = Leases()
        self.process: WorkerProcess | None = None
        self.greeted = False
        self.due_s = 0.0
        self._secrets = secrets
        self._hooks = hooks
        self._lock = lock
        self._pace = pace
        self._rng = rng
        self._backoff = Backoff(pace, rng)
        self._next_epoch = first_epoch
        self._epoch = first_epoch
        self._state: State = "connecting"
        self._cause: Cause | None = None
        self._detail = ""
        self._since = datetime.now(UTC)
        self._restarts: Counter[str] = Counter()
        self._size: tuple[int, int] | None = None
        self._stated_fps: float | None = None
        self._rate = Rate()
        self._last_arrival_ns = 0
        self._active = False  # told to go, and neither lost nor ended since
        self._asked_ns = 0  # when the worker was last asked for something
        self._opened_s: float | None = None
        self._fault = ""
        self._hang: Hang | None = None
        self._undying = False  # the worker hangs, and it was told that no kill ends it
        self._part_by_s: float | None = None  # the worker was told to end; when it is killed
        self._login_mark: bytes | None = None  # of the secrets that the newest worker got

    # -- what the supervisor asks ---------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """The camera came to its end."""
        return self._state == "ended"

    def wants_worker(self, now_s: float) -> bool:
        """Whether a worker should be started now."""
        return self.process is None and not self.ended and now_s >= self.due_s

    @property
    def gone_for_good(self) -> bool:
        """No worker is left, and nobody holds a frame. Under the lock."""
        return self.process is None and not len(self.leases)

    def login_is_stale(self) -> bool:
        """Whether the secrets are others than those the newest worker was given. Any thread."""
        wanted, mark = self.camera.credentials, self._login_mark
        if wanted is None or mark is None:
            return False
        try:
            return self._secrets.mark((wanted.username, wanted.password)) != mark
        except InspectorError:
            return False  # nothing better to offer than what the worker has

    def status(self) -> CameraStatus:
        """A snapshot. Any thread, under the lock."""
        page = self.process.page if self.process else None
        last_ns = max(self._last_arrival_ns, page.read(LAST_ARRIVAL_NS) if page else 0)
        running = self._state == "running"
        return CameraStatus(
            name=self.name,
            kind=self.camera.source.kind,
            state=self._state,
            cause=self._cause,
            detail=self._detail,
            stream_epoch=self._epoch,
            since_utc=self._since,
            size=self._size,
            fps=self._fps() if running else None,
            key_every=(page.read(KEY_EVERY) or None) if page and running else None,
            last_frame_age_s=(time.monotonic_ns() - last_ns) / 1e9 if last_ns else None,
            restarts=dict(self._restarts),
            counters=self.audit.counters(),
            on_trigger=self.camera.inspect.on_trigger,
            on_motion=self.camera.inspect.on_motion is not None,
            covered=self._covered(page) if running else None,
        )

    def _fps(self) -> float | None:
        return self._stated_fps if self._rate.value is None else self._rate.value

    def _covered(self, page: CounterPage | None) -> float | None:
        if page is None or self.camera.inspect.on_motion is None:
            return None
        permille = page.read(COVERED_PERMILLE)
        return permille / 1000 if permille >= 0 else None

    def ask(self, trigger_id: str, part_id: str | None) -> Trigger:
        """Ask for a frame. Any thread, under the lock. Raises NoFramesError."""
        if self._state != "running" or self.process is None:
            why = f"camera {self.name} gives no pictures: it is {self._state}"
            raise NoFramesError("camera_away", f"{why}; {self._detail}" if self._detail else why)
        trigger = ask_worker(self.process.send, self.name, self.camera, trigger_id, part_id)
        self.asks.add(trigger)
        return trigger

    # -- worker ---------------------------------------------------------------------------------

    def spawn(self) -> bool:
        """Start a worker and tell it to connect. False if that failed; it is tried again later."""
        try:
            login = self._login()
            self._lease()
            process = WorkerProcess()
        except InspectorError as error:
            self._login_mark = b""  # unlike any that a secret gives
            self._lost("authentication", str(error))
            return False
        except OSError as error:
            self._lost("crashed", f"no worker can be started for camera {self.name}: {error}")
            return False
        with self._lock:
            self.process = process
            self.audit.open(process.page)
        self.greeted = False
        self._fault = ""
        self._hang, self._undying = None, False
        self._parts_before = self._parts
        settings = self.camera.model_dump(mode="json")
        settings |= {"name": self.name, "counted": self._counted}
        process.send({"t": "settings", "camera": settings, **login})
        self.go()
        return True

    def _login(self) -> dict[str, str | None]:
        wanted = self.camera.credentials
        if wanted is None:
            return {"username": None, "password": None}
        self._login_mark = self._secrets.mark((wanted.username, wanted.password))
        return {
            "username": self._secrets.get(wanted.username),
            "password": self._secrets.get(wanted.password),
        }

    def go(self) -> None:
        """Tell the worker to open its source, with a ring for the epoch that would begin."""
        assert self.process is not None, "a link goes with its worker"  # noqa: S101
        lease = self._lease()
        self._active = True
        self._asked_ns = time.monotonic_ns()
        self.process.send(
            {"t": "go", "epoch": lease.epoch, "slot_bytes": lease.ring.slot_bytes},
            (lease.ring.fd,),
        )

    def _lease(self) -> Lease:
        """The current ring, made for the next epoch where there is none. Raises OSError."""
        with self._lock:
            lease = self.leases.current
            if lease is None:
                lease = Lease(self._next_epoch, self._ring(self._next_epoch))
                self.leases.add(lease)
            return lease

    def _ring(self, epoch: int) -> Ring:
        return Ring.create(
            f"{self.name}/{epoch}",
            slots=self.camera.slots,
            max_pixels=round(self.camera.max_megapixels * 1e6),
        )

    def tick(self, now_s: float) -> None:
        """What time brings: a new try, a hung worker, the frame rate."""
        process = self.process
        if process is None:
            return
        with self._lock:  # other threads send too
            process.flush()
        if self._part_by_s is not None:
            if now_s >= self._part_by_s:
                process.kill()
            return
        self._rate.sample(now_s, process.page.read(ARRIVED))
        if not self._active:
            if self.greeted and now_s >= self.due_s and not self.ended:
                self.go()
            return
        if self._hang is None:
            source, asked_ns = self.camera.source, self._asked_ns
            self._hang = find_hang(process, source, asked_ns, now_s, greeted=self.greeted)
            if self._hang is not None:
                self._fault = self._hang.fault
                process.kill()
        elif not self._undying and self._hang.outlived(now_s):
            self._undying = True
            cause, detail = self._hang.cause, UNDYING.format(name=self.name, fault=self._fault)
            self._become(_away(cause), cause, detail)

    # -- another station file -------------------------------------------------------------------

    def use(self, camera: Camera) -> None:
        """Take these settings: for triggers from now on, for the rest with the next worker."""
        with self._lock:
            self.camera = camera

    def start_anew(self) -> None:
        """Have a new worker take the place of the present one, with the settings of now.

        What the present one has sent is judged; what it has not is counted as `shutdown`.
        """
        self._backoff = Backoff(self._pace, self._rng)
        self.due_s = 0.0
        self.leave()
        if not self._undying:
            self._become("connecting", None, "")

    def leave(self) -> None:
        """Have the worker end; the camera is not lost by that."""
        if self.process is None:  # a ring may wait for the next try
            with self._lock:
                self.leases.retire()
            self.sweep()
        elif self._part_by_s is None:
            self._part_by_s = time.monotonic() + PART_S
            self.process.send({"t": "stop"})

    # -- messages -------------------------------------------------------------------------------

    def handle(self, message: Message, *, stopping: bool) -> list[Frame]:
        """One message of the worker.

        Returns:
            Frames that are to be handed back as superseded (or, when stopping, as shutdown).
        """
        kind = message["t"]
        if self._part_by_s is not None and kind in {"resize", "lost", "ended", "fault"}:
            return []  # the worker is on its way out, and would be asked for nothing more
        if kind == "frame":
            return self._frame(message, stopping=stopping)
        if kind == "hello":
            self.greeted = True
            self._asked_ns = time.monotonic_ns()
        elif kind == "opened":
            self._opened(message["fps"])
        elif kind == "size":
            with self._lock:
                self._size = (int(message["w"]), int(message["h"]))
        elif kind == "resize":
            self._resize()
        elif kind == "lost":
            self._active = False
            self._lost(message["cause"], message["detail"])
        elif kind == "ended":
            self._active = False
            self._at_end()
        elif kind == "fault":
            self._fault = f"failed: {message['detail']}"
        return []

    def _frame(self, message: Message, *, stopping: bool) -> list[Frame]:
        with self._lock:
            lease = self.leases.current
            if lease is None:
                msg = f"camera {self.name}: a frame came outside a connection"
                raise ValueError(msg)
            frame = lease.frame(self.name, message)
            if part := int(message["part"]):
                part = self._parts = self._parts_before + part
            triggers = self.asks.take(frame.arrived_ns)
            frame = replace(frame, triggers=triggers, part=part)
            self.audit.received()
            lease.out[frame.sequence] = frame.slot
            return [frame] if stopping else self.mailbox.put(frame)

    def hand_back(self, frame: Frame, result: str) -> bool:
        """A frame is done with. Any thread, under the lock.

        Returns:
            Whether its ring is to be swept.

        Raises:
            ValueError: the frame is not out: it was handed back before.
        """
        lease = self.leases.get(frame.stream_epoch)
        if lease is None or frame.sequence not in lease.out:
            msg = f"frame {frame.sequence} of camera {self.name} was handed back before"
            raise ValueError(msg)
        del lease.out[frame.sequence]
        self.audit.released(result)
        if not lease.retired and self.process is not None:
            self.process.send({"t": "free", "epoch": lease.epoch, "slot": frame.slot})
        return lease.done

    def sweep(self) -> None:
        """Give back the rings that nobody holds any more."""
        with self._lock:
            done = self.leases.sweep()
        for lease in done:
            if lease.begun:
                self._hooks.on_ring_end(lease.ring.key)
            lease.ring.close()

    # -- changes --------------------------------------------------------------------------------

    def _opened(self, fps: float | None) -> None:
        self._opened_s = time.monotonic()
        self._stated_fps = fps
        self._rate.restart()  # of this connection, and not of the wait for it
        self._begin_epoch()
        self._become("running", None, "")

    def _begin_epoch(self) -> None:
        with self._lock:
            lease = self.leases.current
            assert lease is not None, "the go before made it"  # noqa: S101
            lease.begun = True
            self._epoch = lease.epoch
            self._next_epoch = lease.epoch + 1
        self._hooks.on_epoch(self.name, lease.epoch)
        self._hooks.on_ring(lease.ring)

    def _resize(self) -> None:
        """Pictures of another size come: a new ring and epoch within the same connection."""
        with self._lock:
            self.leases.retire()
        self.sweep()
        self.go()
        self._begin_epoch()

    def _at_end(self) -> None:
        source = self.camera.source
        if source.kind in {"video", "images"}:
            self._leave_epoch()
            self._become("ended", None, "")
            if self.process is not None:
                self.process.send({"t": "stop"})
        else:
            self._lost("ended", f"camera {self.name} ended its stream")

    def _lost(self, cause: str, detail: str) -> None:
        """The connection failed or ended: name the cause and plan the next try."""
        now = time.monotonic()
        if self._opened_s is not None:
            self._backoff.ran(now - self._opened_s)
        self._leave_epoch()
        state = _away(cause)
        slow = cause == "authentication"
        if cause == "region":
            cause, state, slow = "codec", "failed", True
        if cause == "crashed" and self._backoff.crashed(now):
            state, slow = "failed", True
            detail += (
                f"; more than {self._pace.crashes} times within {self._pace.crashes_within_s:g} s,"
                " so it is tried rarely: see the log, and report it"
            )
        self.due_s = now + self._backoff.next_s(slow=slow)
        with self._lock:
            self._restarts[cause] += 1
        self._become(state, cast("Cause", cause), detail)

    def _leave_epoch(self) -> None:
        """Retire the ring if its epoch has begun; one that was never used serves the next try."""
        self._opened_s = None
        with self._lock:
            lease = self.leases.current
            if lease is not None and lease.begun:
                self.leases.retire()
        self.sweep()

    def _become(self, state: State, cause: Cause | None, detail: str) -> None:
        with self._lock:
            changed = (state, cause) != (self._state, self._cause)
            if state != self._state:
                self._since = datetime.now(UTC)
            self._state, self._cause, self._detail = state, cause, detail
            status = self.status() if changed else None
            missed = () if state == "running" else self.asks.clear()
        if missed:
            why = f"camera {self.name} gives no more pictures: it is {state}"
            self._hooks.on_missed(missed, "camera_away", f"{why}; {detail}" if detail else why)
        if status is not None:
            self._hooks.on_change(status)

    def shut(self) -> None:
        """Give back all rings, also of frames that were never released: their pixels stay valid."""
        self.gone(stopping=True)
        with self._lock:
            self.leases.retire()
            held = self.leases.all()
        for lease in held:
            if lease.begun:
                self._hooks.on_ring_end(lease.ring.key)
            lease.ring.close()

    def gone(self, *, stopping: bool) -> None:
        """The worker's socket ended, and all its messages have been handled."""
        process = self.process
        if process is None:
            return
        process.kill()
        process.reap(1.0)
        parting, self._part_by_s = self._part_by_s is not None, None
        with self._lock:
            self._last_arrival_ns = max(self._last_arrival_ns, process.page.read(LAST_ARRIVAL_NS))
            self.audit.close("shutdown" if stopping or parting else "worker_lost")
            self.process = None
            # Its slots may be half written: a ring never serves two workers.
            self.leases.retire()
        process.close()
        self._active = False
        self._rate.restart()
        self.sweep()
        if parting and not stopping:
            self._opened_s = self._stated_fps = None
            self._become("connecting", None, "")
        elif not stopping and not self.ended:
            what = self._fault or process.exit_text
            cause = self._hang.cause if self._hang is not None else "crashed"
            self._lost(cause, f"the worker of camera {self.name} {what}")


def _away(cause: str) -> State:
    """What a camera is by that cause."""
    return "stalled" if cause in {"stalled", "frozen"} else "lost"
