"""Runs a command under the unit's filter of system calls, as systemd would: sandbox.py UNIT WORD...

systemd's own tool says which calls a set has, and libseccomp, which systemd uses too, loads the
filter. What else the unit takes away is a matter of mounts and users, and not tried here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.service.unit import Unit

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
EQUAL = 4
SET_MDWE, REFUSE_EXEC_GAIN = 65, 1


class Compare(ctypes.Structure):
    """`struct scmp_arg_cmp`: an argument of a call has one value."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("unused", ctypes.c_uint64),
    )


def sets_of_calls() -> dict[str, set[str]]:
    """The calls of every set, such as `@privileged`, sets within it resolved."""
    printed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True, text=True, check=True, env={**os.environ, "SYSTEMD_COLORS": "0"},
    ).stdout  # fmt: skip
    found: dict[str, set[str]] = {}
    name = ""
    for line in printed.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = set()
        elif line.startswith("    ") and not line.strip().startswith("#"):
            found[name].add(line.strip())

    def resolved(words: set[str]) -> set[str]:
        return {
            call
            for word in words
            for call in (resolved(found[word]) if word.startswith("@") else {word})
        }

    return {name: resolved(words) for name, words in found.items()}


def allowed_calls(unit: Unit) -> set[str]:
    """What the unit's SystemCallFilter leaves."""
    sets = sets_of_calls()
    calls: set[str] = set()
    for value in unit.all("SystemCallFilter"):
        for word in value.removeprefix("~").split():
            if value.startswith("~"):
                calls -= sets[word]
            else:
                calls |= sets[word]
    return calls


def load(calls: set[str], families: list[int]) -> None:
    """Let this process, and those it starts, do these calls and open such sockets only."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    filters = ctypes.c_void_p(library.seccomp_init(REFUSE))
    for call in sorted(calls - {"socket"}):
        number = library.seccomp_syscall_resolve_name(call.encode())
        # Calls of other processors have no number here.
        if number >= 0 and library.seccomp_rule_add(filters, ALLOW, number, 0):
            raise OSError(call)
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        compare = (Compare * 1)(Compare(0, EQUAL, family, 0))
        if library.seccomp_rule_add_array(filters, ALLOW, number, 1, compare):
            raise OSError(family)
    if library.seccomp_load(filters):
        msg = "the filter cannot be loaded"
        raise OSError(msg)


def refuse_to_execute_what_was_written() -> None:
    """Memory that was writable becomes executable no more; kernels before 6.3 do not know it."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
        msg = "memory cannot be guarded"
        raise OSError(msg)


if __name__ == "__main__":
    unit = Unit.read(Path(sys.argv[1]), "line-1")
    names = unit.one("RestrictAddressFamilies").split()
    if unit.one("MemoryDenyWriteExecute") == "yes":
        refuse_to_execute_what_was_written()
    load(allowed_calls(unit), [int(getattr(socket, name)) for name in names])
    os.execvp(sys.argv[2], sys.argv[2:])
