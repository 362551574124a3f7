"""The events in memory that wait for the disk: bounded, first in first out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inspector.errors import EventsError
from inspector.events.records import Rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from inspector.events.records import CameraState, Record

MAX_RECORDS = 20_000
MAX_BYTES = 32 * 1024 * 1024
"""Beyond either, frame.judged and then the oldest frame.rejected are given up."""
HARD_FACTOR = 2
"""Beyond this multiple of either, events that are never shed elsewhere are refused."""


@dataclass(slots=True)
class Item:
    """What one call of `append` asks to be written in one transaction."""

    records: Sequence[Record]
    states: Mapping[str, CameraState]
    future: Future[None]
    asked_ns: int
    shed: int = 0

    def settle(self, *, replaced: bool = False) -> None:
        """Resolve the future: on disk, or not and why."""
        if self.shed:
            msg = f"{self.shed} event(s) were given up: the disk took nothing and memory was full"
        elif replaced:
            msg = "a camera's state waited for the disk until a later one replaced it"
        else:
            self.future.set_result(None)
            return
        self.future.set_exception(EventsError(msg))


@dataclass(slots=True)
class Pending:
    """The queue. Not thread-safe: its owner holds a lock."""

    max_records: int = MAX_RECORDS
    max_bytes: int = MAX_BYTES
    records: int = 0
    bytes: int = 0
    _items: deque[Item] = field(default_factory=deque)
    _by_rank: dict[Rank, deque[tuple[Record, Item]]] = field(
        default_factory=lambda: {rank: deque() for rank in Rank}
    )

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> list[Record]:
        """Queue an item.

        Returns:
            The records that had to be given up for it, oldest first.
        """
        for record in item.records:
            if record.rank is Rank.HEARTBEAT:
                self._drop_oldest(Rank.HEARTBEAT)
            self._by_rank[record.rank].append((record, item))
            self.records += 1
            self.bytes += record.size
        self._items.append(item)
        given_up: list[Record] = []
        while self._over(1):
            shed = (
                self._drop_oldest(Rank.JUDGED)
                or self._drop_oldest(Rank.REJECTED)
                or (self._over(HARD_FACTOR) and self._drop_newest(Rank.KEPT))
            )
            if not shed:
                break
            given_up.append(shed)
        if len(self._items) > HARD_FACTOR * self.max_records:
            self._join_states()
        return given_up

    def take(self, most: int) -> list[Item]:
        """The oldest items, out of the queue: as many as hold `most` records, one at least."""
        taken: list[Item] = []
        count = 0
        while self._items and (not taken or count + len(self._items[0].records) <= most):
            item = self._items.popleft()
            taken.append(item)
            count += len(item.records)
            for record in item.records:
                if not record.shed:
                    # First in, first out: the record is the oldest of its rank.
                    self._by_rank[record.rank].popleft()
        return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Return what was taken and could not be written, to the front."""
        self._items.extendleft(reversed(items))
        for item in reversed(items):
            for record in reversed(item.records):
                if not record.shed:
                    self._by_rank[record.rank].appendleft((record, item))

    def done(self, items: Sequence[Item]) -> None:
        """Forget what was taken and has been written."""
        for item in items:
            for record in item.records:
                if not record.shed:
                    self._less(record)

    def _join_states(self) -> None:
        """Make one of neighbouring items that hold states only: a later state replaces it.

        Raises nothing; the futures of what was joined fail, since their own write never happens.
        """
        kept: deque[Item] = deque()
        for item in self._items:
            if kept and all(record.shed for record in kept[-1].records):
                earlier = kept.pop()
                item.states = {**earlier.states, **item.states}
                earlier.settle(replaced=True)
            kept.append(item)
        self._items = kept

    def _over(self, factor: int) -> bool:
        return self.records > factor * self.max_records or self.bytes > factor * self.max_bytes

    def _drop_oldest(self, rank: Rank) -> Record | None:
        return self._give_up(*self._by_rank[rank].popleft()) if self._by_rank[rank] else None

    def _drop_newest(self, rank: Rank) -> Record | None:
        return self._give_up(*self._by_rank[rank].pop()) if self._by_rank[rank] else None

    def _give_up(self, record: Record, item: Item) -> Record:
        record.shed = True
        if record.rank is not Rank.HEARTBEAT:
            item.shed += 1
        self._less(record)
        return record

    def _less(self, record: Record) -> None:
        self.records -= 1
        self.bytes -= record.size
