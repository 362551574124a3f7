"""Order: verdicts leave in the order in which the frames of a camera were taken.

Pure; used by one thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.frame import Frame
    from inspector.verdict import Verdict


@dataclass(slots=True, eq=False)
class Entry:
    """A frame on its way through the judge, and its verdict once there is one."""

    frame: Frame
    verdict: Verdict | None = None


class Ordering:
    """The frames taken and not yet delivered, a queue a camera.

    It holds at most what the feed hands out: a camera has no more frames than slots.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """A frame was taken; frames of one camera are added in their order."""
        self._waiting.setdefault(entry.frame.camera, deque()).append(entry)

    def depth(self, camera: str) -> int:
        """How many frames of a camera are taken and not delivered."""
        return len(self._waiting.get(camera, ()))

    def resolve(self, entry: Entry, verdict: Verdict) -> Iterator[tuple[Frame, Verdict]]:
        """Give a frame its verdict; the first one stays.

        Yields:
            Frames and verdicts that may leave now, in order: none while an earlier frame of that
            camera has no verdict. Each frame is yielded once.
        """
        if entry.verdict is None:
            entry.verdict = verdict
        camera = entry.frame.camera
        queue = self._waiting.get(camera, deque())
        while queue and queue[0].verdict is not None:
            done = queue.popleft()
            if not queue:
                del self._waiting[camera]
            yield done.frame, done.verdict  # type: ignore[misc]

    def unresolved(self) -> list[Entry]:
        """Entries without a verdict, in order per camera."""
        return [e for queue in self._waiting.values() for e in queue if e.verdict is None]

    def __len__(self) -> int:
        """How many frames are taken and not delivered."""
        return sum(len(queue) for queue in self._waiting.values())
