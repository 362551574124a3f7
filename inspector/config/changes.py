"""What differs between two station files, and what it takes to go on with the second. Pure.

Effective values are compared: to write down a default, to reorder keys or to change a comment is no
change. A value is shown as it stands in the file, where secrets have no place; passwords in the
path of a camera's address are masked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.addresses import without_passwords
from inspector.config.faults import dotted
from inspector.config.station import Policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from inspector.config.faults import KeyPath
    from inspector.config.station import Station

AT_RUN_TIME = frozenset({"cameras", "policies"})
"""Sections that a running station takes anew; all others hold from its start to its end."""

WITHOUT_A_NEW_WORKER = frozenset({("policy",), ("camera_delay_ms",), ("inspect", "deadline_ms")})
"""Keys of a camera that its worker does not use: another value holds at once."""

_CAMERA_KEY = 3
"""Parts of a key path that names a key of a camera: `cameras`, its name, the key."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value changed; None where there is none in one of the files.

    Attributes:
        old, new: plain values as in JSON; a section as a dictionary.
    """

    key: KeyPath
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{dotted(self.key)}: {self.step}"

    @property
    def step(self) -> str:
        """From what to what, in words; a section that comes or goes is not spelt out."""
        if isinstance(self.new, dict) and self.old is None:
            return "added"
        if isinstance(self.old, dict) and self.new is None:
            return "removed"
        return f"{json.dumps(self.old)} → {json.dumps(self.new)}"

    def document(self) -> dict[str, Any]:
        """The change as JSON-able data."""
        return {"key": dotted(self.key), "old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes to go from one station file to another.

    Attributes:
        changes: everything that differs, in the order of the keys.
        fixed: the changes among them that only a restart of the station can make.
        added, removed: cameras that come and go.
        restarted: cameras that go on with a new worker and a new stream_epoch.
    """

    changes: tuple[Change, ...]
    fixed: tuple[Change, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()

    def cameras(self) -> dict[str, list[str]]:
        """The cameras concerned, as JSON-able data."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "restarted": list(self.restarted),
        }


def plan(old: Station, new: Station, new_logins: Collection[str] = ()) -> Plan:
    """Compare two station files.

    Args:
        old: what runs.
        new: what is asked for.
        new_logins: cameras whose secrets have other values than when their worker began.

    >>> from inspector.config.station import Station
    >>> file = {"version": 1, "station": "s", "cameras": {"a": {"source": {"kind": "pattern"}}}}
    >>> more = file | {"cameras": {"a": {"source": {"kind": "pattern", "fps": 5}}}}
    >>> found = plan(Station.model_validate(file), Station.model_validate(more))
    >>> [str(change) for change in found.changes], found.restarted
    (['cameras.a.source.fps: 10.0 → 5.0'], ('a',))
    """
    changes = [*_differences(_plain(old), _plain(new), ())]
    changes += _moved_blocks(old, new)
    changed = {change.key[1] for change in changes if _needs_worker(change)}
    both = [name for name in new.cameras if name in old.cameras]
    for name in both:
        if name in new_logins and name not in changed:
            key = ("cameras", name, "credentials")
            changes.append(Change(key, "the secrets as they were", "other secrets"))
            changed.add(name)
    return Plan(
        changes=tuple(changes),
        fixed=tuple(change for change in changes if change.key[0] not in AT_RUN_TIME),
        added=tuple(name for name in new.cameras if name not in old.cameras),
        removed=tuple(name for name in old.cameras if name not in new.cameras),
        restarted=tuple(name for name in both if name in changed),
    )


def _moved_blocks(old: Station, new: Station) -> Iterator[Change]:
    """Blocks of the line that come, go or move, since cameras do: the PLC would not know of it."""
    if old.line is None or new.line is None or old.line != new.line:
        return  # a change of the section itself, which only a restart can make
    before, after = (station.line.places(station.cameras) for station in (old, new) if station.line)
    if before != after:
        yield Change(("line", "cameras"), before, after)


def _needs_worker(change: Change) -> bool:
    key = change.key
    return key[0] == "cameras" and len(key) >= _CAMERA_KEY and key[2:] not in WITHOUT_A_NEW_WORKER


def _plain(station: Station) -> dict[str, Any]:
    """A station file as plain values that may be shown, the policy that is always there included.

    One section a camera or policy, whatever order they are written in.
    """
    value = station.model_dump(mode="json")
    value["policies"].setdefault("default", Policy().model_dump(mode="json"))
    return value


def _differences(old: Any, new: Any, key: KeyPath) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differences(old.get(name), new.get(name), (*key, name))
    else:
        yield Change(key, _shown(old), _shown(new))


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return without_passwords(value) if isinstance(value, str) else value
