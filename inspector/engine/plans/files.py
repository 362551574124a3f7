"""Files of a plan folder: written whole or not at all, read only as what they were written as.

A plan is code: TensorRT runs what is in it. So it is read only from a folder that nobody else may
write to, only from a plain file of this user's (or root's), and only with the digest that was taken
when it was made. The bytes that were checked are those that are returned.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = ".part"
"""Ends the name of a file that is being written."""
_BLOCK_BYTES = 1 << 20
_PROBE_BYTES = 4096
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_folder(folder: Path) -> None:
    """Make the plan folder, for this user alone to write to.

    Raises:
        EngineError: it cannot be made, or others may write to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        msg = (
            f"the plan folder {folder} cannot be made: {error.strerror}; "
            "give another one under engine.plans, or the right to write there"
        )
        raise EngineError(msg) from error
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise where others than this user and root may put a plan into the folder.

    Raises:
        EngineError: they may; or the folder cannot be looked at, or is none.
    """
    try:
        found = folder.stat()
    except OSError as error:
        msg = f"the plan folder {folder} cannot be read: {error.strerror}"
        raise EngineError(msg) from error
    if not stat.S_ISDIR(found.st_mode):
        msg = f"the plan folder {folder} is not a folder; give another one under engine.plans"
        raise EngineError(msg)
    _check_owner(folder, found)


def probe_folder(folder: Path) -> None:
    """Raise where nothing can be written into the folder now.

    Raises:
        EngineError: says why.
    """
    probe = folder / f".probe{PART}"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink()
        msg = (
            f"no plan can be built: the plan folder {folder} cannot be written: {error.strerror}; "
            "make room there, give another one under engine.plans, or the right to write there"
        )
        raise EngineError(msg) from error


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid in {0, os.geteuid()} and not found.st_mode & _OTHERS_MAY_WRITE:
        return
    msg = (
        f"{path} belongs to user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):o}: "
        f"others than this user ({os.geteuid()}) may write there, and a plan is code; "
        f"nothing is loaded from it. Run chown and chmod go-w on {path}, or remove it"
    )
    raise EngineError(msg)


def read_plan(path: Path, sha256: str) -> bytes:
    """Read a file of the plan folder whole, and only if it is the one that was written there.

    Args:
        path: where it lies.
        sha256: the digest taken when it was made.

    Raises:
        EngineError: missing, a link or no plain file, one that others may write to, or with
            another digest.
    """
    content = b"".join(_blocks(path))
    _check_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def check_plan(path: Path, sha256: str) -> None:
    """Raise what `read_plan` would, without holding the file in memory."""
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    _check_digest(path, digest.hexdigest(), sha256)


def _blocks(path: Path) -> Iterator[bytes]:
    check_folder(path.parent)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                msg = f"{path} is no plain file; nothing is loaded from it"
                raise EngineError(msg)
            _check_owner(path, found)
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        msg = f"cannot read the plan {path}: {error.strerror}"
        raise EngineError(msg) from error


def _check_digest(path: Path, came: str, sha256: str) -> None:
    if came != sha256:
        msg = (
            f"{path} is damaged: its sha256 is {came}, and was {sha256} when it was made; "
            "it is not loaded"
        )
        raise EngineError(msg)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Put a file in its place, on disk when this returns; after a crash it is there or it is not.

    Raises:
        OSError: the disk does not take it. What lay there before still does.
    """
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=PART, delete=False
    ) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o640)
            os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring names that were made, changed or removed to the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
