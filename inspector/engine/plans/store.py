"""The plan folder: which plan fits, which is kept, which goes.

```
PLANS/simplenet-int8-0b1c2d3e4f506172.plan     the engine, for TensorRT
PLANS/simplenet-int8-0b1c2d3e4f506172.json     what it was made from and for, its digest
PLANS/timing-8f9e0a1b2c3d4e5f.cache            measurements of layers: the next build is quicker
PLANS/builder.lock
```

A plan's name is its key, so a plan for something else is never even looked at. It comes first and
what is beside it after; one without the other is nothing. Reading needs no lock: every file is
replaced whole. Writing is for whoever holds `inspector.engine.plans.lock.one_builder`. Files of
other names are somebody else's, and are left alone: the folder may be one that holds more.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from inspector import __version__
from inspector.engine.plans.files import check_folder, check_plan, make_folder, write_whole
from inspector.engine.plans.key import STEM_PATTERN, PlanKey, Platform, differences
from inspector.engine.plans.sidecar import (
    PLAN,
    SIDECAR,
    Broken,
    Chosen,
    Plan,
    Proven,
    Refused,
    Sidecar,
    read_sidecar,
)
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CACHE = ".cache"
_TIMING = "timing-"
_PLAN_FILE = re.compile(rf"{STEM_PATTERN}\.(plan|json)")
_CACHE_FILE = re.compile(rf"{_TIMING}[0-9a-f]{{16}}{re.escape(CACHE)}")
_PART_FILE = re.compile(
    rf"\.(probe|({_PLAN_FILE.pattern}|{_CACHE_FILE.pattern})\.[a-z0-9_]+)\.part"
)
_DIGEST_BYTES = hashlib.sha256().digest_size

State = Literal["fits", "missing", "other", "damaged", "refused"]


@dataclass(frozen=True, slots=True)
class Found:
    """What the store has for a key.

    Attributes:
        state: `fits`; `missing`: none of this engine and precision; `other`: only for something
            else; `damaged`: it is there and broken; `refused`: it is there and must not serve.
        detail: the same as a sentence.
        plan: where it fits, and where it is refused.
    """

    state: State
    detail: str
    plan: Plan | None = None


class Plans:
    """The plans in a folder. Any thread, any number of processes.

    Args:
        folder: made at the first build.
        max_bytes: most that all of it may take; the last good plan of each engine and precision
            stays in any case.
        now: UTC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._now = now

    # -- which plan fits -------------------------------------------------------------------------

    def find(self, wanted: PlanKey) -> Found:
        """The plan of a key, its digest checked; or why there is none. Reads the plan once.

        Raises:
            EngineError: the folder cannot be trusted or read.
        """
        path = self._path(wanted)
        try:
            if not self.folder.exists():
                return Found("missing", f"no plan of {wanted.what} yet")
            check_folder(self.folder)
            there = path.exists() or path.with_suffix(SIDECAR).exists()
        except OSError as error:
            msg = f"the plan folder {self.folder} cannot be read: {error.strerror}"
            raise EngineError(msg) from error
        if not there:
            return self._nearest(wanted)
        try:
            plan = self._read(path)
            check_plan(path, plan.sidecar.sha256)
        except EngineError as error:
            return Found("damaged", str(error))
        if other := differences(plan.key, wanted):
            return Found("damaged", f"{path} is of another key than its name says: {other[0]}")
        if refused := plan.sidecar.refused:
            return Found("refused", f"{path} does not serve: {refused.reason}", plan)
        return Found("fits", f"{path.name}, built {plan.sidecar.built_at:%Y-%m-%d}", plan)

    def _nearest(self, wanted: PlanKey) -> Found:
        """Say why the plans of this engine and precision do not fit, by the nearest one."""
        alike = [p for p in self.all() if isinstance(p, Plan) and p.key.role == wanted.role]
        if not alike:
            return Found("missing", f"no plan of {wanted.what} yet")
        near = min(alike, key=lambda plan: (len(differences(plan.key, wanted)), -plan.used_ns))
        why = "; ".join(differences(near.key, wanted))
        return Found("other", f"the plan of {wanted.what} is for {why}")

    def all(self) -> list[Plan | Broken]:
        """Every plan that lies there, by name. Digests are not taken.

        Raises:
            EngineError: the folder cannot be read.
        """
        stems = {path.with_suffix("") for path in self._files(_PLAN_FILE)}
        found: list[Plan | Broken] = []
        for stem in sorted(stems):
            path = stem.with_name(stem.name + PLAN)
            try:
                found.append(self._read(path))
            except EngineError as error:
                found.append(Broken(path, str(error)))
        return found

    def last_build_s(self, key: PlanKey) -> float | None:
        """How long the last build of a key's engine and precision took on its GPU; None: unknown.

        Raises:
            EngineError: the folder cannot be read.
        """
        alike = [
            plan.sidecar
            for plan in self.all()
            if isinstance(plan, Plan)
            and plan.key.role == key.role
            and plan.key.platform.gpu == key.platform.gpu
        ]
        newest = max(alike, key=lambda sidecar: sidecar.built_at, default=None)
        return newest.build_s if newest is not None else None

    def said_of(self, key: PlanKey) -> Sidecar | None:
        """What is written beside the plan of a key; None where there is nothing of use."""
        try:
            return read_sidecar(self._path(key).with_suffix(SIDECAR))
        except EngineError:
            return None

    def _read(self, path: Path) -> Plan:
        sidecar = read_sidecar(path.with_suffix(SIDECAR))
        try:
            there = path.stat()
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror}"
            raise EngineError(msg) from error
        if there.st_size != sidecar.size_bytes:
            msg = f"{path} is damaged: it has {there.st_size} bytes, expected {sidecar.size_bytes}"
            raise EngineError(msg)
        return Plan(path, sidecar, there.st_mtime_ns)

    def _path(self, key: PlanKey) -> Path:
        return self.folder / (key.stem + PLAN)

    def _files(self, ours: re.Pattern[str]) -> Iterator[Path]:
        try:
            with os.scandir(self.folder) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError:
            return
        except OSError as error:
            msg = f"the plan folder {self.folder} cannot be read: {error.strerror}"
            raise EngineError(msg) from error
        yield from (self.folder / name for name in names if ours.fullmatch(name))

    # -- what became of it -----------------------------------------------------------------------

    def used(self, plan: Plan) -> None:
        """Note that a plan was loaded just now; where it cannot be noted it ages."""
        with suppress(OSError):
            os.utime(plan.path)

    def prove(self, plan: Plan, gap: float) -> Plan:
        """Write down that a plan reproduced the golden tiles. Raises EngineError."""
        return self._note(plan, proven=Proven(at=self._now(), gap=gap), refused=None)

    def refuse(self, plan: Plan, reason: str) -> Plan:
        """Write down that a plan must not serve; it is neither loaded nor built again by itself.

        Raises:
            EngineError: it cannot be written.
        """
        return self._note(plan, refused=Refused(at=self._now(), reason=reason))

    def choose(self, plan: Plan, why: str) -> Plan:
        """Write down that a plan is the fastest of its engine, and by what. Raises EngineError."""
        return self._note(plan, chosen=Chosen(at=self._now(), why=why))

    def _note(self, plan: Plan, **changes: Proven | Refused | Chosen | None) -> Plan:
        sidecar = plan.sidecar.model_copy(update=changes)
        path = plan.path.with_suffix(SIDECAR)
        try:
            write_whole(path, sidecar.document())
        except OSError as error:
            msg = f"cannot write {path}: {error.strerror}"
            raise EngineError(msg) from error
        return replace(plan, sidecar=sidecar)

    # -- for the builder, under its lock ---------------------------------------------------------

    def add(
        self, key: PlanKey, content: bytes | memoryview, *, engine_version: str, build_s: float
    ) -> Plan:
        """Keep a plan that was built, on disk when this returns; older ones make room.

        Raises:
            EngineError: the disk does not take it. Then nothing of it is left.
        """
        make_folder(self.folder)
        path = self._path(key)
        size = memoryview(content).nbytes
        sidecar = Sidecar(
            key=key,
            key_sha256=key.sha256,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=size,
            engine_version=engine_version,
            built_at=self._now(),
            build_s=round(build_s, 3),
            built_by=__version__,
        )
        try:
            self.tidy(key, coming_bytes=size)
            # One of this key that lies there is damaged, or was to be replaced: it goes first, so
            # that at no time a plan lies beside what was said of another one.
            path.with_suffix(SIDECAR).unlink(missing_ok=True)
            write_whole(path, content)
            try:
                write_whole(path.with_suffix(SIDECAR), sidecar.document())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            msg = (
                f"the plan of {key.what} ({size / 1e6:.1f} MB) was built and cannot be kept: "
                f"{path}: {error.strerror}; make room there, or give another folder under "
                "engine.plans"
            )
            raise EngineError(msg) from error
        return self._read(path)

    def tidy(self, key: PlanKey, *, coming_bytes: int = 0) -> tuple[str, ...]:
        """Remove what a killed builder left, then what exceeds the bound, the least useful first.

        Args:
            key: of the plan that is to come.
            coming_bytes: its size.

        Returns:
            Names of the plans that were removed.

        Raises:
            OSError: something cannot be removed.
        """
        for part in self._files(_PART_FILE):
            part.unlink(missing_ok=True)
        entries = self.all()
        plans = [entry for entry in entries if isinstance(entry, Plan)]
        for entry in entries:
            if isinstance(entry, Broken):
                _remove(entry.path)
        kept = _last_good(plans)
        own = self._path(key)
        going = [p for p in plans if p.path not in kept and p.path != own]
        going.sort(key=lambda plan: (plan.good, plan.used_ns))
        present = sum(p.sidecar.size_bytes for p in plans if p.path != own)
        excess = present + self._trim_caches(key.platform) + coming_bytes - self.max_bytes
        removed = []
        for plan in going:
            if excess <= 0:
                break
            _remove(plan.path)
            removed.append(plan.path.name)
            excess -= plan.sidecar.size_bytes
        return tuple(removed)

    def timing_cache(self, platform: Platform) -> bytes:
        """What earlier builds measured on this platform; empty where there is nothing of use."""
        try:
            content = self._cache_path(platform).read_bytes()
        except OSError:
            return b""
        digest, cache = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return cache if hashlib.sha256(cache).digest() == digest else b""

    def keep_timing_cache(self, platform: Platform, cache: bytes) -> None:
        """Keep the measurements of a build. Raises OSError."""
        make_folder(self.folder)
        write_whole(self._cache_path(platform), hashlib.sha256(cache).digest() + cache)

    def _cache_path(self, platform: Platform) -> Path:
        name = hashlib.sha256(platform.model_dump_json().encode()).hexdigest()[:16]
        return self.folder / f"{_TIMING}{name}{CACHE}"

    def _trim_caches(self, platform: Platform) -> int:
        """Remove the caches of other platforms; the bytes of this one's."""
        own = self._cache_path(platform)
        size = 0
        for path in self._files(_CACHE_FILE):
            if path == own:
                size = path.stat().st_size
            else:
                path.unlink(missing_ok=True)
        return size


def _last_good(plans: list[Plan]) -> set[Path]:
    """The plan of each engine and precision that was proven last."""
    newest: dict[tuple[str, str], Plan] = {}
    for plan in sorted((p for p in plans if p.good), key=_proven_at):
        newest[plan.key.role] = plan
    return {plan.path for plan in newest.values()}


def _proven_at(plan: Plan) -> datetime:
    return plan.sidecar.proven.at if plan.sidecar.proven else datetime.min.replace(tzinfo=UTC)


def _remove(path: Path) -> None:
    """The words first: a plan without them is nothing, words without a plan would be a fault."""
    path.with_suffix(SIDECAR).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
