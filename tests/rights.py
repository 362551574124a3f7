"""To have no more rights than a file's mode gives, though the tests may run as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 0x20080522
_OVERRIDE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to pass over the modes of files and folders."""


@contextlib.contextmanager
def only_as_the_mode_says() -> Iterator[None]:
    """Modes of files hold for root too: in this thread, and in those it starts meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the upper halves
    _check(libc.capget(header, data))
    before = data[0]
    data[0] &= ~_OVERRIDE
    _check(libc.capset(header, data))
    try:
        yield
    finally:
        data[0] = before
        _check(libc.capset(header, data))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
