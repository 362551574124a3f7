"""Which engines were activated in place of those that the station file names; kept on disk.

One JSON file in the state folder, written beside and renamed, so that a power cut leaves the old
one or the new one. A choice holds as long as the station file names the engine that it replaced:
who writes another one into the file has decided anew.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

FILE = "engines.json"

_log = structlog.get_logger("inspector.station")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that was activated; all names are those of engine folders.

    Attributes:
        name: the engine.
        instead_of: the one that the station file names.
        before: the one that judged before, for a roll-back.
        at: when, UTC.
    """

    name: str
    instead_of: str
    before: str
    at: str


class Choices:
    """The choices of one station, by stage. Thread-safe; reads its file once, when first asked.

    Args:
        folder: the state folder; made by whoever owns it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._known: dict[str, Choice] | None = None

    def get(self, stage: str, instead_of: str) -> Choice | None:
        """The choice that holds while the station file names `instead_of`, if there is one."""
        with self._lock:
            choice = self._all().get(stage)
        return choice if choice is not None and choice.instead_of == instead_of else None

    def put(self, stage: str, choice: Choice | None) -> None:
        """Remember a choice, or that the station file holds.

        Raises:
            OSError: the disk does not take it; it holds all the same, until the end of the process.
        """
        with self._lock:
            choices = {name: one for name, one in self._all().items() if name != stage}
            if choice is not None:
                choices[stage] = choice
            self._known = choices
            self._write({name: asdict(one) for name, one in choices.items()})

    def _all(self) -> dict[str, Choice]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[str, Choice]:
        try:
            document = json.loads(self._path.read_bytes())
            return {str(stage): Choice(**one) for stage, one in document.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.error(
                "activated engines are forgotten, the station file holds",
                file=str(self._path), fault=str(error),
            )  # fmt: skip
            return {}

    def _write(self, document: dict[str, dict[str, str]]) -> None:
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
