"""Rings of a camera, each kept until nobody holds a frame of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inspector.frame import Frame

if TYPE_CHECKING:
    from inspector.capture.wire import Message
    from inspector.slots import Ring


@dataclass(slots=True)
class Lease:
    """A ring of one epoch.

    Attributes:
        out: slots (-1: none) of the frames that wait or are taken, by sequence number.
        begun: its epoch has been announced.
        retired: no new frames come into it.
    """

    epoch: int
    ring: Ring
    out: dict[int, int] = field(default_factory=dict)
    begun: bool = False
    retired: bool = False

    @property
    def done(self) -> bool:
        """Whether the ring can be given back."""
        return self.retired and not self.out

    def frame(self, camera: str, message: Message) -> Frame:
        """The frame that a worker tells of, without what only the main process knows of it.

        Raises:
            ValueError: its number or its slot is out already, or the slot does not hold it. What
                cannot be ends the worker here, and not the engine or the judge later.
        """
        slot = int(message["slot"])
        frame = Frame(
            camera=camera,
            stream_epoch=self.epoch,
            sequence=int(message["seq"]),
            height=int(message["h"]),
            width=int(message["w"]),
            arrived_ns=int(message["at"]),
            arrived_utc_ns=int(message["utc"]),
            decoded_ns=int(message["dec"]),
            pts_s=message["pts"],
            ring=self.ring if slot >= 0 else None,
            slot=slot,
            damage=message["damage"],
            fifo=bool(message["fifo"]),
            origin=message["origin"],
        )
        if frame.sequence in self.out or (slot >= 0 and slot in self.out.values()):
            msg = f"camera {camera}: frame {frame.sequence} or its slot {slot} is out already"
            raise ValueError(msg)
        if slot >= 0:
            frame.picture()
        return frame


class Leases:
    """The current ring of a camera and the older ones that are still held. Not thread-safe."""

    def __init__(self) -> None:
        self._by_epoch: dict[int, Lease] = {}
        self.current: Lease | None = None

    def add(self, lease: Lease) -> None:
        """Make this ring the current one."""
        self.retire()
        self._by_epoch[lease.epoch] = lease
        self.current = lease

    def get(self, epoch: int) -> Lease | None:
        """The ring of that epoch, if it is still held."""
        return self._by_epoch.get(epoch)

    def retire(self) -> None:
        """No new frames come into the current ring."""
        if self.current is not None:
            self.current.retired = True
            self.current = None

    def sweep(self) -> list[Lease]:
        """Forget the rings that nobody holds any more, and return them."""
        done = [lease for lease in self._by_epoch.values() if lease.done]
        for lease in done:
            del self._by_epoch[lease.epoch]
        return done

    def all(self) -> list[Lease]:
        """Every ring that is not swept yet."""
        return list(self._by_epoch.values())

    def __len__(self) -> int:
        return len(self._by_epoch)
