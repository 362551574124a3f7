"""What of a partition is handled, and under which number the last reject of each camera went. Pure.

Both stand in the group's offsets, as offset and metadata of one commit that comes **before** the
signal. So whoever reads on, here after kill -9 or on another box, knows of each camera where the
last signal was begun and with which sequence. A reject before that place was signalled for certain;
the one at that place may have been, and goes again under the same sequence, which the PLC drops if
it knows it. A process that lost its partitions cannot commit, and so it signals nothing.

Offsets only rise. Where they go back the log lost its end (a broker's power cut), or the topic was
made anew: what was known of places in it means nothing any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.events.model import FrameRejected

METADATA_BYTES = 4000
"""A broker takes 4096 bytes (`offset.metadata.max.bytes`)."""
_ENTRY = re.compile(r"(\S+)=([0-9]{1,5})@([0-9]+)")


@dataclass(frozen=True, slots=True)
class Begun:
    """The last reject of a camera whose signal was begun.

    Attributes:
        sequence: 1…65535.
        offset: its place in the partition.
    """

    sequence: int
    offset: int


def encode(begun: dict[str, Begun]) -> str:
    """As metadata of an offset: `packing-07/infeed=17@4711 …`, the newest first.

    >>> encode({"s/a": Begun(3, 10), "s/b": Begun(9, 12)})
    's/b=9@12 s/a=3@10'
    """
    newest = sorted(begun.items(), key=lambda item: -item[1].offset)
    words: list[str] = []
    left = METADATA_BYTES
    for camera, entry in newest:
        word = f"{camera}={entry.sequence}@{entry.offset}"
        left -= len(word) + 1
        if left < 0:
            break  # of a hundred cameras in one partition; their sequences go on from the PLC's
        words.append(word)
    return " ".join(words)


def decode(metadata: str | None) -> dict[str, Begun]:
    """From metadata; what is not ours is passed over.

    >>> decode("s/a=3@10 nonsense")
    {'s/a': Begun(sequence=3, offset=10)}
    """
    found = (_ENTRY.fullmatch(word) for word in (metadata or "").split())
    return {hit[1]: Begun(int(hit[2]), int(hit[3])) for hit in found if hit}


@dataclass(eq=False, slots=True)
class Entry:
    """A record on its way.

    Attributes:
        event: None where nothing is to be signalled.
        sequence: under which it goes, once that is settled.
    """

    offset: int
    camera: str = ""
    event: FrameRejected | None = None
    sequence: int | None = None


@dataclass(slots=True)
class Track:
    """One partition, as far as it was read.

    Attributes:
        begun: by camera.
        position: the next record to be read after the last that was taken in.
        entries: what is not done with, by offset, oldest first.
    """

    begun: dict[str, Begun]
    position: int
    entries: dict[int, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """A record was read."""
        self.entries[entry.offset] = entry
        self.position = entry.offset + 1

    def end(self, entry: Entry) -> None:
        """Nothing more will be done for a record."""
        if self._has(entry):
            del self.entries[entry.offset]

    def _has(self, entry: Entry) -> bool:
        return self.entries.get(entry.offset) is entry

    def went_back(self, offset: int) -> bool:
        """Whether the log is no longer the one that was read; then it is read as a new one."""
        if offset >= self.position:
            return False
        self.begun.clear()
        self.entries.clear()
        self.position = offset
        return True

    def begin(self, entry: Entry, sequence: int) -> None:
        """The signal of a record begins; of one that the log has lost no place is noted."""
        entry.sequence = sequence
        if self._has(entry):
            self.begun[entry.camera] = Begun(sequence, entry.offset)

    def handled(self) -> int:
        """Everything before this offset is done with."""
        return next(iter(self.entries), self.position)

    def standing(self, entry: Entry) -> Begun | None:
        """What is known of a camera that a record is about."""
        return self.begun.get(entry.camera)

    def signalled_before(self, entry: Entry) -> bool:
        """Whether the record was signalled for certain, by whoever had the partition."""
        begun = self.begun.get(entry.camera)
        return begun is not None and entry.offset < begun.offset

    def in_doubt(self, entry: Entry) -> int | None:
        """The sequence of a record whose signal was begun, and perhaps not ended."""
        begun = self.begun.get(entry.camera)
        return begun.sequence if begun is not None and entry.offset == begun.offset else None
