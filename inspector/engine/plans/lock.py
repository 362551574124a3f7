"""One builder at a time in a plan folder, whoever it belongs to.

The lock is the kernel's: it ends with the process that holds it, however that ends. The file says
who holds it, for those who wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING

from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK = "builder.lock"
_LOOK_EVERY_S = 0.25


@contextlib.contextmanager
def one_builder(folder: Path, what: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to build in `folder`; waits for whoever has it, as long as it takes.

    Args:
        folder: the plan folder.
        what: is built, for those who wait.
        on_wait: is told for whom this waits, four times a second.

    Raises:
        EngineError: the folder does not take a lock.
    """
    path = folder / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            while not _taken(fd):
                on_wait(_holder(fd))
                time.sleep(_LOOK_EVERY_S)
            line = json.dumps({"pid": os.getpid(), "builds": what}).encode()
            os.ftruncate(fd, 0)
            os.pwrite(fd, line, 0)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        msg = (
            f"no plan can be built: {path} cannot be locked: {error.strerror}; give a folder under "
            "engine.plans that this user may write to, on a disk of this machine"
        )
        raise EngineError(msg) from error
    try:
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> str:
    try:
        said = json.loads(os.pread(fd, 4096, 0))
        return f"process {int(said['pid'])} builds {said['builds']}"
    except (ValueError, TypeError, KeyError):
        return "another process builds"
