"""The supervisor of all cameras: the capture stage's door.

One thread of its own listens to all workers' sockets, starts and ends workers, tells of changes.
Frames wait in mailboxes until they are taken, and come back by `release`.
"""

from __future__ import annotations

import os
import random
import selectors
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import structlog

from inspector.capture import wire
from inspector.capture.asks import NoFramesError
from inspector.capture.backoff import Pace
from inspector.capture.hooks import Hooks
from inspector.capture.link import CameraLink
from inspector.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from inspector.capture.process import WorkerProcess
    from inspector.capture.status import CameraStatus, Counters, Result
    from inspector.config.cameras import Camera
    from inspector.config.secrets import Secrets
    from inspector.frame import Frame, Trigger
    from inspector.slots import Ring

TURN_S = 0.1
"""The capture thread looks at clocks this often."""

MOST_MESSAGES = 64
"""Messages of one worker handled in a row, so that no camera keeps the others waiting."""

STOP_S = 0.5
"""What workers get to end by themselves at `close`."""

APPLY_S = 10.0
"""Longest wait for the capture thread to take another set of cameras."""

STOPPING = "the station is stopping"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Another set of cameras, for the capture thread; `done` gives what `Capture.apply` returns."""

    cameras: Mapping[str, Camera]
    first_epochs: Mapping[str, int]
    anew: Collection[str]
    done: Future[dict[str, Future[Counters]]] = field(default_factory=Future)


class Capture:
    """All cameras of a station.

    Args:
        cameras: by name.
        secrets: where credentials are found, when a worker starts.
        first_epochs: stream_epoch of each camera's first connection; 0 where absent.
        on_change: a camera's state or cause changed.
        on_epoch: a new stream_epoch begins; before its first frame can be taken.
        on_ring: frames of this ring will come. The ring stays the capture stage's.
        on_ring_end: the ring of that key is no longer used.
        on_missed: no frame will answer these triggers: the cause (`camera_away`, `shutdown`) and a
            sentence that says why.
        counted: cameras each of whose frames is a part of its own, so that none is superseded.
        pace: patience with cameras that are away.

    All `on_` hooks are called in the capture thread, `on_missed` also in the one that calls `stop`;
    they must not block it, and not call `close`.
    Methods may be called from any thread. The constructor starts nothing.
    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        *,
        secrets: Secrets,
        first_epochs: Mapping[str, int],
        on_change: Callable[[CameraStatus], None],
        on_epoch: Callable[[str, int], None],
        on_ring: Callable[[Ring], None],
        on_ring_end: Callable[[str], None],
        on_missed: Callable[[tuple[Trigger, ...], str, str], None] = lambda *_: None,
        counted: Collection[str] = (),
        pace: Pace | None = None,
    ) -> None:
        self._counted = frozenset(counted)
        self._pace = pace or Pace()
        self._ready = threading.Condition(threading.RLock())
        self._secrets = secrets
        self._hooks = Hooks(on_change, on_epoch, on_ring, on_ring_end, on_missed)
        self._rng = random.Random()
        self._on_missed = on_missed
        self._links = {
            name: self._link(name, camera, first_epochs) for name, camera in cameras.items()
        }
        self._leaving: dict[CameraLink, Future[Counters]] = {}
        self._asked: deque[_Asked] = deque()
        self._order = list(self._links)
        self._turn = 0
        self._turned_ns = 0
        self._stopping = False
        self._closing = False
        self._undead: list[WorkerProcess] = []
        self._selector: selectors.BaseSelector | None = None
        self._wake_fd = -1
        self._thread: threading.Thread | None = None

    def _link(self, name: str, camera: Camera, first_epochs: Mapping[str, int]) -> CameraLink:
        return CameraLink(
            name,
            camera,
            self._secrets,
            first_epochs.get(name, 0),
            self._hooks,
            self._pace,
            self._rng,
            self._ready,
            counted=name in self._counted,
        )

    # -- the door -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; returns at once. Cameras come up when they can."""
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_fd, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """True as soon as a frame can be taken; False when the time is over."""
        with self._ready:
            return self._ready.wait_for(self._any_ready, timeout_s)

    def take(self, most: int) -> list[Frame]:
        """Up to `most` ready frames, cameras in turn. Each is to be handed back by `release`."""
        taken: list[Frame] = []
        with self._ready:
            empty = 0
            while len(taken) < most and empty < len(self._order):
                link = self._links[self._order[self._turn]]
                self._turn = (self._turn + 1) % len(self._order)
                frame = link.mailbox.take()
                if frame is None:
                    empty += 1
                else:
                    empty = 0
                    taken.append(frame)
        return taken

    def release(self, frame: Frame, result: Result) -> None:
        """A taken frame is done with; its pixels may be overwritten from now on.

        Raises:
            ValueError: it was released before.
        """
        with self._ready:
            sweep = self._holder(frame).hand_back(frame, result)
        if sweep:
            self._wake()

    def apply(
        self,
        cameras: Mapping[str, Camera],
        *,
        first_epochs: Mapping[str, int],
        anew: Collection[str],
    ) -> dict[str, Future[Counters]]:
        """Go on with another set of cameras. Those that stay as they are do not notice.

        Frames of a removed camera that are taken are finished; those that still wait are counted
        as `shutdown`, and so is what its worker has not sent. Of a camera that starts anew all that
        its worker has sent is judged.

        Args:
            cameras: by name; all of them.
            first_epochs: stream_epoch of the first connection of each camera that is new.
            anew: cameras that go on with a new worker. Of all others what their worker uses holds
                from the next one on, and what triggers are asked with (delay, deadline) at once.

        Returns:
            The last counters of each removed camera, once its worker has ended and nobody holds a
            frame of it: then its books are closed, and nothing more is told of it.

        Raises:
            CaptureError: the stage is not running, or did not come to it in time; all is as before.
        """
        asked = _Asked(cameras, first_epochs, anew)
        with self._ready:
            if self._thread is None or self._stopping:
                msg = "the cameras cannot be changed: the capture stage is not running"
                raise CaptureError(msg)
            self._asked.append(asked)
        self._wake()
        try:
            return asked.done.result(APPLY_S)
        except TimeoutError:
            if not asked.done.cancel():
                return asked.done.result()  # it has begun just now
            msg = f"the capture stage did not take the cameras within {APPLY_S:g} s"
            raise CaptureError(msg) from None

    def stale_logins(self) -> frozenset[str]:
        """Cameras whose secrets have other values than those their newest worker was given."""
        with self._ready:
            links = list(self._links.values())
        return frozenset(link.name for link in links if link.login_is_stale())

    def status(self) -> dict[str, CameraStatus]:
        """All cameras at one instant."""
        with self._ready:
            return {name: link.status() for name, link in self._links.items()}

    def counters(self, camera: str) -> Counters:
        """What became of one camera's frames up to now."""
        with self._ready:
            leaving = {link.name: link for link in self._leaving}
            return (self._links.get(camera) or leaving[camera]).audit.counters()

    def pids(self) -> dict[str, int]:
        """The workers' process ids, of the cameras that have one."""
        with self._ready:
            return {n: link.process.pid for n, link in self._links.items() if link.process}

    def ask(self, camera: str, trigger_id: str, part_id: str | None) -> Trigger:
        """Ask for the first frame that arrives from now, plus the camera's delay, on.

        That frame bears the trigger (`Frame.triggers`), or `on_missed` tells that none will; where
        neither happens the deadline is the caller's to watch.

        Raises:
            KeyError: there is no such camera.
            NoFramesError: it gives no frames now, or the capture stage is stopped.
        """
        with self._ready:
            link = self._links[camera]
            if self._stopping:
                raise NoFramesError("shutdown", STOPPING)
            return link.ask(trigger_id, part_id)

    def awaits_frame(self, trigger: Trigger) -> bool:
        """Whether no frame for that trigger has come yet."""
        with self._ready:
            link = self._links.get(trigger.camera)
            return link is not None and trigger in link.asks

    def progress_ns(self) -> int:
        """Monotonic time of the thread's last turn, for the watchdog; 0 before the first."""
        return self._turned_ns

    @property
    def ended(self) -> bool:
        """Every camera came to its end, and every frame of theirs has been taken."""
        with self._ready:
            return all(link.ended and not len(link.mailbox) for link in self._links.values())

    def stop(self) -> None:
        """No new frames from now on. Those taken may be finished and released. Idempotent."""
        missed: list[Trigger] = []
        with self._ready:
            self._stopping = True
            for link in self._links.values():
                missed += link.asks.clear()
                for frame in link.mailbox.clear():
                    missed += frame.triggers
                    link.hand_back(frame, "shutdown")
            self._ready.notify_all()
        if missed:
            self._on_missed(tuple(missed), "shutdown", STOPPING)
        self._wake()

    def close(self) -> None:
        """End workers and free rings; hooks are silent afterwards. Idempotent."""
        self.stop()
        self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._selector is not None:
            self._selector.close()
            self._selector = None
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _holder(self, frame: Frame) -> CameraLink:
        """The link whose ring holds the frame. Under the lock."""
        link = self._links.get(frame.camera)
        if link is None or link.leases.get(frame.stream_epoch) is None:
            for other in self._leaving:
                if other.name == frame.camera and other.leases.get(frame.stream_epoch):
                    return other
        if link is None:
            msg = f"frame {frame.sequence} of camera {frame.camera} was handed back before"
            raise ValueError(msg)
        return link

    # -- the capture thread -----------------------------------------------------------------------

    def _wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def _any_ready(self) -> bool:
        return any(len(link.mailbox) for link in self._links.values())

    def _run(self) -> None:
        stop_sent = False
        while not self._closing:
            self._turned_ns = time.monotonic_ns()
            if self._stopping and not stop_sent:
                stop_sent = True
                for link in self._links.values():
                    if link.process is not None:
                        link.process.send({"t": "stop"})
            self._serve_asked()
            self._spawn_due()
            self._listen(TURN_S)
            self._tick()
        self._end_all()
        self._serve_asked()

    def _serve_asked(self) -> None:
        """Take the sets of cameras that were asked for."""
        while self._asked:
            asked = self._asked.popleft()
            if not asked.done.set_running_or_notify_cancel():
                continue
            try:
                asked.done.set_result(self._change_cameras(asked))
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                asked.done.set_exception(error)

    def _change_cameras(self, asked: _Asked) -> dict[str, Future[Counters]]:
        new = {
            name: self._link(name, camera, asked.first_epochs)
            for name, camera in asked.cameras.items()
            if name not in self._links
        }
        missed: list[Trigger] = []
        with self._ready:
            if self._stopping:
                msg = "the cameras cannot be changed: the capture stage is stopping"
                raise CaptureError(msg)
            removed = [link for name, link in self._links.items() if name not in asked.cameras]
            left: dict[CameraLink, Future[Counters]] = {link: Future() for link in removed}
            self._leaving |= left
            self._links = {name: new.get(name) or self._links[name] for name in asked.cameras}
            self._order = list(self._links)
            self._turn %= len(self._order)
            for link in removed:
                missed += link.asks.clear()
                for frame in link.mailbox.clear():
                    missed += frame.triggers
                    link.hand_back(frame, "shutdown")
            self._ready.notify_all()
        if missed:
            self._on_missed(tuple(missed), "camera_away", "the camera was removed")
        for link in removed:
            self._guarded(link.leave, link)
        for name, camera in asked.cameras.items():
            link = self._links[name]
            link.use(camera)
            if name in asked.anew:
                self._guarded(link.start_anew, link)
        return {link.name: future for link, future in left.items()}

    def _let_go(self) -> None:
        """Forget the removed cameras that are gone, and close their books."""
        for link, last in list(self._leaving.items()):
            with self._ready:
                if not link.gone_for_good:
                    continue
                del self._leaving[link]
            last.set_result(link.audit.counters())

    def _guarded(self, step: Callable[[], None], link: CameraLink | None = None) -> None:
        """The supervisor outlives any error: it is logged, and the camera's worker starts anew."""
        try:
            step()
        except Exception:  # noqa: BLE001 - any
            _log.exception("capture.fault", camera=link.name if link else None)
            if link is not None and link.process is not None:
                link.process.kill()

    def _spawn_due(self) -> None:
        if self._stopping:
            return
        now = time.monotonic()
        starting = sum(
            link.process is not None and not link.greeted for link in self._links.values()
        )
        for link in self._links.values():
            if starting >= self._pace.spawns:
                return
            if link.wants_worker(now):
                self._guarded(lambda link=link: self._spawn(link), link)  # type: ignore[misc]
                starting += link.process is not None

    def _spawn(self, link: CameraLink) -> None:
        if link.spawn():
            assert link.process is not None and self._selector is not None  # noqa: S101, PT018
            self._selector.register(link.process.end, selectors.EVENT_READ, link)

    def _tick(self) -> None:
        now = time.monotonic()
        self._undead = [process for process in self._undead if not process.reap(0)]
        for link in (*self._links.values(), *self._leaving):
            self._guarded(link.sweep, link)
            if not self._stopping:
                self._guarded(lambda link=link: link.tick(now), link)  # type: ignore[misc]
        self._let_go()

    def _listen(self, seconds: float) -> None:
        assert self._selector is not None, "made by start"  # noqa: S101
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                os.eventfd_read(self._wake_fd)
                continue
            link = cast("CameraLink", key.data)
            self._guarded(lambda link=link: self._drain(link, MOST_MESSAGES), link)  # type: ignore[misc]

    def _drain(self, link: CameraLink, most: int) -> None:
        """Handle a worker's messages, and its end."""
        process = link.process
        assert process is not None and self._selector is not None  # noqa: S101, PT018
        for _ in range(most):
            try:
                got = wire.receive(process.end)
            except BlockingIOError:
                return
            except ValueError:
                _log.error("capture.garbage", camera=link.name)
                process.kill()
                continue
            except OSError:
                got = None
            if got is None:
                self._selector.unregister(process.end)
                link.gone(stopping=self._stopping)
                if not process.reap(0):
                    self._undead.append(process)
                return
            self._deliver(link, got[0])

    def _deliver(self, link: CameraLink, message: wire.Message) -> None:
        with self._ready:
            stopping = self._stopping or link in self._leaving
            if message.get("t") == "frame":
                # Under one lock with `stop`, so that no frame slips in behind it.
                for frame in link.handle(message, stopping=stopping):
                    link.hand_back(frame, "shutdown" if stopping else "superseded")
                self._ready.notify_all()
                return
        link.handle(message, stopping=stopping)

    def _end_all(self) -> None:
        """Ask all workers to end, then end them."""
        everyone = [*self._links.values(), *self._leaving]
        links = [link for link in everyone if link.process is not None]
        for link in links:
            if link.process is not None:
                link.process.send({"t": "stop"})
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and any(link.process for link in links):
            self._listen(0.02)
        for link in links:
            if link.process is not None:
                link.process.kill()
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and any(link.process for link in links):
            self._listen(0.02)
        for link in everyone:
            self._guarded(lambda link=link: link.shut(), link)  # type: ignore[misc]
        for link, last in self._leaving.items():
            last.set_result(link.audit.counters())
