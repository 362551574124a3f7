"""The reader by itself, turn by turn: its member of the group, the line and the time are ours."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kafka.structs import TopicPartition

from inspector.config.secrets import Secrets
from inspector.config.signaller import Signaller
from inspector.events.broker import CannotConnectError, Trouble
from inspector.events.documents import encode
from inspector.events.seen import Seen
from inspector.line.parts import Done
from inspector.line.registers import Answer, Result
from inspector.signaller import reader as reader_module
from inspector.signaller.positions import Begun, Track, decode
from inspector.signaller.positions import encode as encode_begun
from inspector.signaller.reader import Reader
from inspector.signaller.tally import Tally
from tests.events.making import STATION, Maker, topics_of
from tests.signaller.lineside import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.line.lease import Lease

CAMERA = f"{STATION}/infeed"
PARTITION = TopicPartition("inspection.rejects", 0)
TIMEOUT_S = 10.0
CAPTURED = datetime(2027, 1, 1, tzinfo=UTC)


class Member:
    """Holds the partition, as the library does without the broker; takes commits while `heard`."""

    asking = False

    def __init__(self) -> None:
        self.heard, self.away, self.holds, self.paused = True, False, True, False
        self.joined = 0
        self.track_of = Track({}, 0)
        self.batches: list[Any] = []
        self.commits: list[tuple[int, str]] = []

    def join(self) -> None:
        if self.away:
            raise CannotConnectError(Trouble("refused", "connection refused"))
        self.joined += 1

    def leave(self) -> None:
        pass

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        if self.paused:
            return {}
        records, self.batches = self.batches, []
        return {PARTITION: records} if records else {}

    def lost(self) -> set[Any]:
        return set()

    def partitions(self) -> list[Any]:
        return [PARTITION] if self.holds else []

    def answered(self) -> bool:
        return self.heard

    def track(self, partition: Any) -> Track:
        return self.track_of

    def commit(self, offsets: dict[Any, tuple[int, str]]) -> bool:
        if self.heard:
            self.commits += offsets.values()
        return self.heard

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def trouble(self) -> None:
        """A probe finds the broker: that says nothing of the group."""


class Desk:
    """The line: `told` has part and sequence of each signal."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.last = 0
        self.told: list[tuple[int, int]] = []
        self.on_done: Callable[[Done], None] = lambda _: None

    def open(self, lease: Lease) -> None:
        self.lease = lease

    def close(self, within_s: float) -> None:
        self.lease = None

    def sequence(self, camera: str) -> int | None:
        return None if self.lease is None else self.last

    def signal(
        self, camera: str, event: Any, sequence: int, on_done: Callable[[Done], None]
    ) -> None:
        self.told.append((int(event.data.part_id), sequence))
        self.last, self.on_done = sequence, on_done


class World:
    """A reader that takes its turns when the test wants it to."""

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.member, self.desk = Member(), Desk()
        self.tally = Tally(lambda: {"line": None, "role": "", "broker": {"up": True}})
        self._make = Maker(topics_of("reader"))
        self.reader = self.restarted()

    def restarted(self) -> Reader:
        """A new life on what the group has."""
        config = Signaller.model_validate(
            {
                "version": 1,
                "signaller": "packing",
                "kafka": {"bootstrap_servers": ["127.0.0.1:1"]},
                "consume": {"session_timeout_s": TIMEOUT_S},
                "line": {
                    "modbus": {"host": "127.0.0.1"},
                    "cameras": {CAMERA: {"deadline_ms": 1000}},
                },
            }
        )
        reader = Reader(
            config,
            Secrets({}),
            open_handled=lambda: Seen(None, 1000),
            desk=self.desk,
            tally=self.tally,
            on_end=lambda _: None,
            clock_utc_s=CAPTURED.timestamp,
            clock_ns=lambda: self.now_ns,
        )
        reader._handled = Seen(None, 1000)
        reader._member = self.member  # type: ignore[assignment]  # what the reader needs of it
        return reader

    def turn(self, after_s: float = 0.2) -> None:
        self.now_ns += round(after_s * 1e9)
        try:
            self.reader._turn()
        except CannotConnectError as error:
            self.reader._disconnect(str(error))
            self.reader._connect()

    def knows(self, track: Track, last: int) -> None:
        """What the group has of the partition, and the PLC's last sequence."""
        self.member.track_of = self.reader._tracks[PARTITION] = track
        self.desk.last = last

    def record(self, offset: int, part: int) -> None:
        """A reject comes with the next turn."""
        event = self._make(camera="infeed")
        event.document["data"] |= {"part_id": str(part)}
        event.document["data"]["times"]["captured"] = CAPTURED.isoformat()
        self.member.batches.append(
            SimpleNamespace(
                value=encode(event.document), topic=PARTITION.topic, partition=0, offset=offset
            )
        )

    def acknowledge(self) -> None:
        self.desk.on_done(Done("acknowledged", Answer(self.desk.last, Result.REJECT)))
        self.turn()


@pytest.fixture
def world() -> World:
    world = World()
    for _ in range(2):  # the group is asked, and then the line opened
        world.turn()
    assert world.desk.lease is not None
    return world


def test_cut_off_from_the_group_it_leaves_the_plc_before_another_can_have_it(world: World) -> None:
    lease = world.desk.lease
    world.member.heard = False
    cut_ns = world.now_ns
    while world.desk.lease is not None:
        world.turn()
        assert world.now_ns < cut_ns + TIMEOUT_S * 1e9
    assert lease is not None
    assert not lease.holds()
    assert not world.reader.active
    for _ in range(100):  # the broker is there again, the partitions are held still
        world.turn()
    assert world.desk.lease is None
    world.member.heard = True
    for _ in range(20):
        world.turn()
    assert world.desk.lease is not None
    assert world.reader.active


@pytest.mark.parametrize("holds", [True, False], ids=["signalling", "standing by"])
def test_a_connection_on_which_the_group_is_silent_is_made_anew(world: World, holds) -> None:
    """As after a renewal of certificates: what is probed anew is well, what was open is not."""
    world.member.heard, world.member.holds = False, holds
    for _ in range(int(TIMEOUT_S / 0.2)):
        world.turn()
    assert world.member.joined == 0, "the group may be at work on its members"
    for _ in range(int(2 * TIMEOUT_S / 0.2)):
        world.turn()
    assert world.member.joined == 1
    world.member.heard, world.member.holds = True, True
    for _ in range(20):
        world.turn()
    assert world.reader.active
    assert world.member.joined == 1


def test_who_stands_by_and_is_answered_stays_connected(world: World) -> None:
    world.member.holds = False
    for _ in range(int(5 * TIMEOUT_S / 0.2)):
        world.turn()
    assert world.member.joined == 0


def test_one_camera_that_is_not_acknowledged_holds_up_itself_alone(world: World) -> None:
    world.record(0, part=1)
    world.turn()
    for offset in range(1, 2 * reader_module.MOST_WAITING):
        world.member.batches.append(
            SimpleNamespace(value=b"{}", topic=PARTITION.topic, partition=0, offset=offset)
        )
        world.turn()
    assert not world.member.paused
    assert len(world.reader._tracks[PARTITION].entries) == 1
    world.turn(after_s=1)
    assert world.member.commits[-1][0] == 0, "what was not done is read again after a kill"
    world.acknowledge()
    world.turn(after_s=1)
    assert world.member.commits[-1][0] == 2 * reader_module.MOST_WAITING


def test_a_quiet_plant_is_no_reason_to_leave(world: World) -> None:
    lease = world.desk.lease
    for _ in range(500):
        world.turn()
        assert world.desk.lease is lease
    assert len(world.member.commits) <= 500 * 0.2 / 2 + 1, "one commit in two seconds"


def test_records_alone_do_not_keep_it_there(world: World) -> None:
    world.member.heard = False
    for offset in range(40):
        world.record(offset, part=1)
        world.turn()
    assert world.desk.lease is None


def test_what_was_under_way_goes_again_under_its_sequence(world: World) -> None:
    world.record(0, part=1)
    world.turn()
    assert world.desk.told == [(1, 1)]
    world.member.heard = False
    for _ in range(50):
        world.turn()
    assert world.desk.lease is None, "and the line never told what became of it"
    world.member.heard = True
    for _ in range(20):
        world.turn()
    assert world.desk.told == [(1, 1), (1, 1)]
    world.acknowledge()
    world.record(1, part=2)
    world.turn()
    assert world.desk.told[2:] == [(2, 2)]


def test_a_log_that_lost_its_end_is_read_as_a_new_one(world: World) -> None:
    world.knows(Track({CAMERA: Begun(17, 4711)}, 4712), last=17)
    for offset, part in [(4712, 1), (4713, 2), (4690, 3), (4700, 4), (4712, 5)]:
        world.record(offset, part)
    world.turn()
    for _ in range(5):
        world.acknowledge()
    parts = [(part, 17 + part) for part in range(1, 6)]
    assert world.desk.told == parts
    assert not world.tally.ignored
    world.turn(after_s=1)
    assert world.member.commits[-1] == (4713, encode_begun({CAMERA: Begun(22, 4712)}))


def test_a_log_that_lost_its_end_is_known_in_the_next_life_too(world: World) -> None:
    world.knows(Track({CAMERA: Begun(17, 4711)}, 4712), last=17)
    world.record(4690, part=1)
    world.record(4700, part=2)
    world.turn()
    world.acknowledge()
    world.turn(after_s=1)
    offset, metadata = world.member.commits[-1]
    assert (offset, decode(metadata)) == (4700, {CAMERA: Begun(19, 4700)})
    world.reader = world.restarted()
    world.knows(Track(decode(metadata), offset), last=19)
    world.record(4700, part=2)
    world.record(4701, part=3)
    for _ in range(3):
        world.turn()
    world.acknowledge()
    assert world.desk.told == [(1, 18), (2, 19), (2, 19), (3, 20)]


def test_what_is_read_again_in_the_same_log_is_passed_over(world: World) -> None:
    world.knows(Track({CAMERA: Begun(17, 12)}, 10), last=17)
    for offset in (10, 11, 12, 13):
        world.record(offset, part=offset)
    world.turn()
    world.acknowledge()
    assert world.desk.told == [(12, 17), (13, 18)], "the one in doubt under its sequence"
    assert world.tally.ignored == {"repeat": 2}


def test_the_wait_for_a_broker_that_is_away_is_no_standstill(world: World, monkeypatch) -> None:
    monkeypatch.setattr(reader_module, "RETRY_S", (3600.0, 3600.0))
    world.member.away = True
    world.reader.start()
    told = set[int]()
    try:
        wait_until("progress", lambda: told.add(world.reader.progress_ns()) or len(told) > 3)
    finally:
        world.reader.stop(60)
    assert "refused" in world.reader.broker[1]
