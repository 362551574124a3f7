"""The frame: one picture of one camera on its way through the station, and who asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.slots import Ring


@dataclass(frozen=True, slots=True)
class Trigger:
    """Someone asks for the verdict on the part that is before the camera at this moment.

    It is answered by the first frame that arrived at `from_ns` or later. All times are monotonic
    nanoseconds unless they say otherwise.

    Attributes:
        id: UUIDv7, given by the station.
        camera: the camera that is asked.
        part_id: the asker's own name of the part.
        asked_ns, asked_utc_ns: the moment of the trigger, the latter as UTC since 1970; data only.
        from_ns: what arrived before shows the time before the trigger.
        until_ns: deadline of the verdict; later ones never count.
    """

    id: str
    camera: str
    part_id: str | None
    asked_ns: int
    asked_utc_ns: int
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera.

    The pixels lie in `ring` at `slot` until the frame is released to the capture stage; nobody may
    keep `picture()` beyond that. A frame that the decoder marked as damaged has no slot and says
    why in `damage`: it is `unjudgeable`, never judged.

    Attributes:
        camera: name of the camera in the station file.
        stream_epoch: raised at every reconnect of the camera; never goes back, not over restarts.
        sequence: number of the frame within its epoch, counted from 0 at arrival: dropped frames
            leave gaps.
        height, width: pixels of the (cropped) picture; 0 without a picture.
        arrived_ns: monotonic time at which the frame's packet (or file) reached the station.
        arrived_utc_ns: the same instant as UTC nanoseconds since 1970; data only.
        decoded_ns: monotonic time at which the picture lay in its slot.
        pts_s: the source's own time stamp in seconds, where it gives one.
        ring, slot: where the pixels are; None and -1 without a picture.
        damage: why the decoder could not give a whole picture, or None.
        fifo: the camera's frames wait for one another (files, folders) instead of being superseded.
        origin: file name for pictures from files.
        triggers: those that this frame answers, oldest first; such a frame is never superseded.
        part: number of the part that this frame alone shows, counted from 1; such a frame is never
            superseded, and a number that is missing is a part without a picture. 0: others show it
            as well.
    """

    camera: str
    stream_epoch: int
    sequence: int
    height: int
    width: int
    arrived_ns: int
    arrived_utc_ns: int
    decoded_ns: int
    pts_s: float | None = None
    ring: Ring | None = None
    slot: int = -1
    damage: str | None = None
    fifo: bool = False
    origin: str | None = None
    triggers: tuple[Trigger, ...] = ()
    part: int = 0

    @property
    def needed(self) -> bool:
        """Whether no newer frame can take its place: another one would show another part."""
        return bool(self.triggers or self.part)

    def picture(self) -> NDArray[np.uint8]:
        """The pixels, (height, width, 3) uint8 BGR, as a view into the slot.

        Raises:
            ValueError: the frame has no picture.
        """
        if self.ring is None:
            msg = f"frame {self.sequence} of camera {self.camera} has no picture: {self.damage}"
            raise ValueError(msg)
        return self.ring.picture(self.slot, self.height, self.width)
