"""Whose a file is, and what root must leave to the user it belongs to.

A service runs as a user of its own. What root makes in that user's folders the service can then
neither write nor, as a rule, read; and nothing tells before its next start.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def leave_to_owner(folders: Iterable[Path]) -> None:
    """Raise where root is about to write into another user's folder. Root's own stay root's.

    A user that this machine knows: in a container root may well fill a folder of a user outside.

    Args:
        folders: those that a command fills; one that is not there yet is nobody's.

    Raises:
        UserError: one belongs to another user; says to whom, and what to do.
    """
    if os.geteuid() != 0:
        return
    for folder in folders:
        uid = _owner(folder)
        owner = _name(uid) if uid else None
        if owner is not None:
            msg = (
                f"{folder} belongs to {owner}, and this command runs as root: what it made there"
                f" {owner} could not write to. If a service runs on it, start that (systemctl"
                f" start); else run the command as {owner}: sudo -u {owner} inspector …"
            )
            raise UserError(msg)


def why_denied(folder: Path, *files: Path) -> str:
    """Why this process may not write somewhere, and what to do; empty if all of it is its own.

    Args:
        folder: where the files lie.
        files: what it wants to write to; one that is not there is passed over.
    """
    mine = os.geteuid()
    for path in (*files, folder):
        uid = _owner(path)
        if uid is not None and uid != mine:
            return (
                f"{path} belongs to {_said(uid)}, and this process runs as {_said(mine)}: give it"
                f" what lies there (sudo chown -R {_name(mine) or mine} {folder}), or run this"
                f" as {_said(uid)}"
            )
    return ""


def _owner(path: Path) -> int | None:
    """The number of its owner; None where it is not there, or may not be looked at."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _said(uid: int) -> str:
    """A user as people say."""
    return _name(uid) or f"user {uid}"


def _name(uid: int) -> str | None:
    """A user's name; None where this machine knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
