"""Reads rejects as one member of the group, and hands them to the line, one a camera at a time.

A record's way: read → sorted → waits for its camera → its beginning is committed → signalled →
the PLC acknowledges → its offset is committed. Cameras do not wait for one another. Everything of
Kafka happens in the reader's thread, since its consumer belongs to one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from kafka import errors as kafka_errors

from inspector.errors import EventsError, InspectorError
from inspector.events.broker import CannotConnectError, Trouble
from inspector.events.model import parse
from inspector.line.lease import Lease, now_ns
from inspector.line.registers import next_count
from inspector.signaller.member import Member
from inspector.signaller.narration import Thinned
from inspector.signaller.positions import Entry, Track, encode
from inspector.signaller.sorting import age_s, camera_of, ignored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inspector.config.secrets import Secrets
    from inspector.config.signaller import Signaller
    from inspector.events.model import FrameRejected
    from inspector.events.seen import Seen
    from inspector.line.parts import Done
    from inspector.signaller.tally import Tally

IDLE_POLL_MS = 200
BUSY_POLL_MS = 5
"""While signals are under way or wait: an acknowledgement is no record, and does not end a poll."""
MOST_WAITING = 1000
"""Records taken in and not done with; beyond, no more are fetched until half of them are."""
COMMIT_S = 0.2
"""Offsets of what is done are committed so often, where no beginning is."""
RETRY_S = (0.5, 10.0)
STEP_S = 0.5
LOOK_S = 3.0
"""The group is asked at least so often whether it counts us in, with a short `session_timeout_s`
five times in that: well before the lease on the PLC lapses."""
SILENCES = 2
"""After so many session timeouts without an answer the connection is made anew."""

_log = structlog.get_logger("inspector.signaller")


class Desk(Protocol):
    """What the reader needs of the line."""

    def open(self, lease: Lease) -> None:
        """This process signals from now on, until the lease lapses."""

    def close(self, within_s: float) -> None:
        """It does so no longer; what is under way may take so long."""

    def sequence(self, camera: str) -> int | None:
        """The last sequence of a camera; None while the PLC is not connected."""

    def signal(
        self, camera: str, event: FrameRejected, sequence: int, on_done: Callable[[Done], None]
    ) -> None:
        """Signal a reject; `on_done` is called once, in any thread."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A record on its way, and its partition."""

    partition: Any
    entry: Entry
    track: Track

    def end(self) -> None:
        """Nothing more will be done for it."""
        self.track.end(self.entry)


class Reader:
    """Reads in a thread of its own.

    Args:
        open_handled: opens the ids of events that were signalled; called in the reader's thread.
        desk: the line.
        tally: what becomes of the records.
        on_end: called when it has ended by itself, with the reason.
    """

    def __init__(
        self,
        config: Signaller,
        secrets: Secrets,
        *,
        open_handled: Callable[[], Seen],
        desk: Desk,
        tally: Tally,
        on_end: Callable[[BaseException], None],
        clock_utc_s: Callable[[], float] = time.time,
        clock_ns: Callable[[], int] = now_ns,
    ) -> None:
        self._config = config
        self._member = Member(config, secrets)
        self._say = Thinned()
        self._open_handled = open_handled
        self._desk = desk
        self._tally = tally
        self._on_end = on_end
        self._clock_utc_s = clock_utc_s
        self._clock_ns = clock_ns
        self.broker: tuple[bool, str] = (False, "connecting")
        self.active = False
        """Whether this process has the partitions, as far as the group was heard lately."""
        self._stopping = threading.Event()
        self._turned_ns = 0
        self._tracks: dict[Any, Track] = {}
        self._waiting: dict[str, deque[_Way]] = {name: deque() for name in config.line.cameras}
        self._under_way: dict[str, _Way] = {}
        self._ended: SimpleQueue[tuple[_Way, Done]] = SimpleQueue()
        self._committed: dict[Any, tuple[int, str]] = {}
        self._committed_ns = 0
        self._timeout_s = config.consume.session_timeout_s
        self._look_ns = round(min(LOOK_S, self._timeout_s / 5) * 1e9)
        self._looked_ns = 0
        self._heard_ns = 0
        self._answered_ns = 0
        """When the connection began, or the group last answered on it."""
        self._held = False
        self._lease = Lease(0.0, 0)  # lapsed
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begin; the broker may come later."""
        self._turned_ns = time.monotonic_ns()
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """End what is under way, commit, and leave. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(within_s)

    def progress_ns(self) -> int:
        """Monotonic time of the last turn, for the watchdog; 0 before the first."""
        # The library's own limits end a connection or a request, later than a loop may stand.
        return time.monotonic_ns() if self._member.asking else self._turned_ns

    @property
    def waiting(self) -> int:
        """Rejects that wait for their camera."""
        return sum(map(len, self._waiting.values()))

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._handled = self._open_handled()
        except InspectorError as error:
            self._on_end(error)
            return
        try:
            self._read()
        finally:
            self._handled.close()

    def _read(self) -> None:
        pause_s = RETRY_S[0]
        while not self._stopping.is_set():
            try:
                self._connect()
                pause_s = RETRY_S[0]
                while not self._stopping.is_set():
                    self._turn()
                self._finish()
            except kafka_errors.FencedInstanceIdError:
                self._on_end(self._member.taken_over())
                break
            except (CannotConnectError, kafka_errors.KafkaError, OSError) as error:
                self._disconnect(str(error) or type(error).__name__)
                self._rest(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])
            except Exception as error:  # noqa: BLE001 - the edge of the thread: without it nothing is read
                self._on_end(error)
                break
        self._close()

    def _connect(self) -> None:
        self._member.join()
        self._looked_ns = self._answered_ns = self._clock_ns()
        self._tell_broker(None)

    def _disconnect(self, reason: str) -> None:
        self._tell_broker(reason)
        self._forget(tuple(self._tracks))
        self._close()

    def _rest(self, seconds: float) -> None:
        """Between two tries, in steps: a watchdog is not to take the wait for a standstill."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopping.is_set():
            self._turned_ns = time.monotonic_ns()
            self._stopping.wait(min(left_s, STEP_S))

    def _turn(self) -> None:
        self._turned_ns = time.monotonic_ns()
        busy = self._under_way or any(self._waiting.values())
        batches = self._member.poll(BUSY_POLL_MS if busy else IDLE_POLL_MS)
        if lost := self._member.lost():
            self._forget(lost)
        for partition, records in batches.items():
            track = self._track(partition)
            for record in records:
                self._take(partition, track, record)
        self._note_role()
        self._take_ends()
        self._begin()
        self._commit_ends()
        self._hold_back()
        self._look()

    def _note_role(self) -> None:
        """Signal while the group counts us in, and was heard to do so lately.

        That we hold partitions does not say so by itself: without the broker the library holds
        them for ever, and the group gives them to another after `session_timeout_s`.
        """
        held = bool(self._member.partitions())
        if held and not self._held:
            self._looked_ns = 0  # ask at once
        self._held = held
        if self.active and (not held or self._lease.due()):
            reason = "the group does not answer" if held else "another has the partitions"
            _log.info("standing by", member=self._config.member, reason=reason)
            self._leave_plc(0.0)
        elif held and not self.active:
            lease = Lease(self._timeout_s, self._heard_ns, self._clock_ns)
            if not lease.due():
                _log.info("signalling", group=self._config.group, member=self._config.member)
                self._lease, self.active = lease, True
                self._desk.open(lease)

    # --- records ---------------------------------------------------------------------------------

    def _track(self, partition: Any) -> Track:
        if partition not in self._tracks:
            self._tracks[partition] = self._member.track(partition)
        return self._tracks[partition]

    def _take(self, partition: Any, track: Track, record: Any) -> None:
        before = track.position
        if track.went_back(record.offset):
            _log.warning(
                "the log went back: it lost its end, or the topic was made anew; read as a new one",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                expected=before,
            )
        entry = Entry(record.offset)
        track.add(entry)
        event = self._event_of(record)
        if event is None:
            track.end(entry)
            return
        entry.camera, entry.event = camera_of(event), event
        if track.signalled_before(entry):
            self._tally.ignored["repeat"] += 1
            track.end(entry)
            return
        self._waiting[entry.camera].append(_Way(partition, entry, track))

    def _event_of(self, record: Any) -> FrameRejected | None:
        """The event of a record that is to be signalled."""
        try:
            event = parse(record.value or b"")
        except EventsError as error:
            self._tally.ignored["poison"] += 1
            self._say.warn(
                "a record is no event and is passed over",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=str(error),
            )
            return None
        reason = ignored(
            event,
            self._config.line.cameras,
            self._handled,
            observing=self._config.mode == "observe",
        )
        if reason is None:
            return event  # type: ignore[return-value]  # nothing else has no reason
        self._tally.ignored[reason] += 1
        return None

    def _begin(self) -> None:
        """Begin what can be: first it is committed that it is, then the line is told."""
        ways: list[tuple[_Way, int]] = []
        for camera, queue in self._waiting.items():
            self._drop(camera, queue)
            if not queue or camera in self._under_way:
                continue
            last = self._desk.sequence(camera)
            if last is not None:
                ways.append((queue[0], self._number(queue[0], last)))
        if not ways or not self._commit({way.partition for way, _ in ways}):
            return
        for way, sequence in ways:
            self._signal(way, sequence)

    def _number(self, way: _Way, last: int) -> int:
        """The sequence under which a record goes, now and whenever it goes again."""
        track, entry = way.track, way.entry
        sequence = entry.sequence
        if sequence is None:
            sequence = track.in_doubt(entry)
            if sequence is not None:
                self._tally.repeats += 1
                _log.info("in doubt, goes again", camera=entry.camera, sequence=sequence)
            else:
                known = track.standing(entry)
                sequence = next_count(last if known is None else known.sequence)
        track.begin(entry, sequence)
        return sequence

    def _signal(self, way: _Way, sequence: int) -> None:
        camera, event = way.entry.camera, way.entry.event
        assert event is not None  # noqa: S101 - it waited
        self._waiting[camera].popleft()
        self._under_way[camera] = way
        self._desk.signal(camera, event, sequence, lambda done: self._ended.put((way, done)))

    def _drop(self, camera: str, queue: deque[_Way]) -> None:
        settings = self._config.line.cameras[camera]
        limit_s = (settings.deadline_ms - settings.reserve_ms) / 1000
        now_s = self._clock_utc_s()
        while queue:
            event = queue[0].entry.event
            if event is not None and event.id in self._handled:  # while it waited
                queue.popleft().end()
                self._tally.ignored["repeat"] += 1
                continue
            if event is None or (age := age_s(event, now_s)) < limit_s:
                return
            queue.popleft().end()
            self._tally.old[camera] += 1
            self._say.warn(
                "a reject came too late and is not signalled",
                camera=camera,
                id=event.id,
                age_s=round(age, 3),
                limit_s=limit_s,
            )

    def _take_ends(self) -> None:
        """Ends that the line told: done, or to be signalled again by whoever comes."""
        while True:
            try:
                way, done = self._ended.get_nowait()
            except Empty:
                return
            camera, event = way.entry.camera, way.entry.event
            awaited = self._under_way.get(camera) is way
            if awaited:
                del self._under_way[camera]
            late = done.answer.result.word != "reject"
            end = "too_late" if late and done.end == "acknowledged" else done.end
            self._tally.ended[camera, end] += 1
            if done.end in {"acknowledged", "reset"}:
                way.end()
                if event is not None:
                    self._handled.add(event.id)
            elif awaited:
                self._signal_again(way)

    def _signal_again(self, way: _Way) -> None:
        """Under its sequence, unless it is another's by now."""
        if self._tracks.get(way.partition) is way.track:
            again = replace(way)  # an end of the first that is told late is not its own
            self._waiting[way.entry.camera].appendleft(again)

    # --- the group's offsets ---------------------------------------------------------------------

    def _commit_ends(self) -> None:
        if self._clock_ns() - self._committed_ns >= COMMIT_S * 1e9:
            self._commit(
                part
                for part, track in self._tracks.items()
                if self._committed.get(part) != (track.handled(), encode(track.begun))
            )

    def _commit(self, partitions: Iterable[Any]) -> bool:
        """Whether the group took it: whoever lost its partitions has no say."""
        values = {part: self._tracks[part] for part in partitions if part in self._tracks}
        wanted = {part: (track.handled(), encode(track.begun)) for part, track in values.items()}
        sent_ns = self._committed_ns = self._clock_ns()
        if not wanted:
            return True
        if not self._member.commit(wanted):
            return False
        self._committed.update(wanted)
        self._hear(sent_ns)
        return True

    def _hear(self, sent_ns: int) -> None:
        """The group took a commit, sent then: it counts us in for `session_timeout_s` from there.

        Records prove nothing of that kind: they may come from a broker that is not the group's.
        """
        self._heard_ns = sent_ns
        self._looked_ns = self._answered_ns = self._clock_ns()
        self._lease.renew(sent_ns)
        self._tell_broker(None)

    def _forget(self, partitions: Iterable[Any]) -> None:
        """These partitions are another's, or will be read anew."""
        lost = set(partitions)
        for partition in lost:
            self._tracks.pop(partition, None)
            self._committed.pop(partition, None)
        for camera, queue in self._waiting.items():
            self._waiting[camera] = deque(way for way in queue if way.partition not in lost)

    def _hold_back(self) -> None:
        """No more than a bound is kept here; the broker keeps the rest."""
        kept = sum(len(track.entries) for track in self._tracks.values())
        if kept > MOST_WAITING:
            self._member.pause()
        elif kept < MOST_WAITING // 2:
            self._member.resume()

    def _look(self) -> None:
        """Commit from time to time though nothing is new: does the group count us in?

        The library does not say so by itself: it waits for the broker, and a member whose name
        another has taken over goes on with what it holds. Nor does it ever end a connection that
        it cannot make anew, such as one whose certificates have been renewed since.

        Raises:
            CannotConnectError: the broker is there, and has not answered this member for long.
        """
        now = self._clock_ns()
        if now - self._looked_ns <= self._look_ns:
            return
        self._looked_ns = now
        parts = self._member.partitions()[:1]
        for part in parts:
            self._track(part)
        if parts and self._commit(parts):
            return
        if not parts and self._member.answered():
            self._answered_ns = now
        trouble = self._member.trouble()
        silent_s = (now - self._answered_ns) / 1e9
        if trouble is None and silent_s > SILENCES * self._timeout_s:
            reason = f"group {self._config.group} has been silent for {silent_s:.0f} s, the broker"
            raise CannotConnectError(Trouble("failed", f"{reason} is there; connecting anew"))
        self._tell_broker(trouble)

    def _tell_broker(self, trouble: str | None) -> None:
        now = (trouble is None, trouble or f"reading as {self._config.member}")
        if now != self.broker:
            self.broker = now
            if trouble is None:
                _log.info("connected to the broker", group=self._config.group)
            else:
                _log.warning("the broker cannot be read", reason=trouble)

    # --- the end ---------------------------------------------------------------------------------

    def _finish(self) -> None:
        """What is under way ends with the desk, and then its offsets are committed."""
        self._leave_plc(1.0)
        self._commit(tuple(self._tracks))

    def _leave_plc(self, within_s: float) -> None:
        """Signal no longer. What had not ended goes again: by us, or by whoever comes."""
        self._desk.close(within_s)
        self._lease.end()
        self.active = False
        self._take_ends()
        for way in self._under_way.values():  # handed over when the line had left already
            self._signal_again(way)
        self._under_way.clear()

    def _close(self) -> None:
        self._leave_plc(0.0)
        self._held = False
        self._member.leave()
