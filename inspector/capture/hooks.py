"""What the capture stage tells the rest of the station."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.capture.status import CameraStatus
    from inspector.frame import Trigger
    from inspector.slots import Ring


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a link tells the rest of the station; called in the capture thread, without the lock."""

    on_change: Callable[[CameraStatus], None]
    on_epoch: Callable[[str, int], None]
    on_ring: Callable[[Ring], None]
    on_ring_end: Callable[[str], None]
    on_missed: Callable[[tuple[Trigger, ...], str, str], None]
