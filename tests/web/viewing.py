"""What the interface needs of a station's viewing, played small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.errors import MarkError
from inspector.web.stills import Stills
from inspector.web.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal


class SmallViewing:
    """Counts its updates, and remembers marks of the one event `e1`."""

    def __init__(self, *, most_viewers: int = 3, period_s: float = 0.05, bulk: int = 0) -> None:
        self.updates = 0
        self.bulk = "x" * bulk
        self.marks: list[tuple[str, str | None, str | None]] = []
        self.stream = Stream(
            self._hello, self._update, most_viewers=most_viewers, period_s=period_s
        )
        self.stills = Stills(lambda: False)

    def start(self) -> None:
        self.stream.start()
        self.stills.start()

    def close(self) -> None:
        self.stills.close()
        self.stream.close()

    def mark(
        self, event_id: str, word: Literal["right", "wrong"] | None, label: str | None
    ) -> Mapping[str, Any]:
        if event_id != "e1":
            raise MarkError("unknown_event", f"there is no event {event_id}")
        if label == "nope":
            raise MarkError("bad_label", "no label 'nope'")
        self.marks.append((event_id, word, label))
        return {"event": event_id, "mark": word, "label": label}

    def _hello(self) -> dict[str, Any]:
        return {"begins": self.updates}

    def _update(self) -> dict[str, Any]:
        self.updates += 1
        return {"number": self.updates, "bulk": self.bulk}
