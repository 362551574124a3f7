"""Where engines lie: in the station's own folder, and among those that come with the package.

The station's own goes first, so that an upgrade of the package, which replaces the shipped engines,
never changes what judges under a name that the station has a folder for.
"""

from __future__ import annotations

import os
from pathlib import Path

from inspector.engine.manifest import MANIFEST, NOT_THERE
from inspector.errors import EngineFolderError, UserError

_ANOTHER_FOLDER = (
    "mount its disk, or give another folder: --folder, or engine.folder in the station file"
)


def shipped_engines_folder() -> Path:
    """Where the engines that come with the package lie: inside a wheel, or beside a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_engines"
    return installed if installed.is_dir() else package.parent / "engines"


def engine_names(folder: Path) -> list[str]:
    """Names of the engine folders in `folder`, sorted.

    Raises:
        UserError: there is no such folder, or it cannot be listed.
    """
    return _engines_among(_entries(folder))


def engines_of(own: Path | None) -> dict[str, Path]:
    """The engine folders that a station finds, by name: its own, then the shipped ones.

    Args:
        own: the station's own folder of engines (`engine.folder`), where it has one. Of a name
            that is in both, it is the one here that counts.

    Raises:
        UserError: as `engine_names`, of either folder.
    """
    places = [shipped_engines_folder()] + ([] if own is None else [own])
    found = {name: place / name for place in places for name in engine_names(place)}
    return dict(sorted(found.items()))


def find_engine(name: str, own: Path | None = None) -> Path:
    """The folder of the engine `name`: in the station's own folder, else among the shipped ones.

    Args:
        name: of its folder.
        own: as `engines_of`. Where it is not there or cannot be looked at, nobody can tell whose
            engine the name is, and a shipped one is not taken for it. The same where something of
            that name lies there that is no engine.

    Raises:
        EngineFolderError: a folder is not there or empty, or the disk does not tell of it.
        UserError: there is none of that name; names those that are there.
    """
    if own is None:
        return engine_in(name, shipped_engines_folder())
    entries = _entries(own)
    if own / name in entries:
        return engine_in(name, own)
    try:
        return engine_in(name, shipped_engines_folder())
    except EngineFolderError:
        raise
    except UserError:
        if not entries:
            raise _empty(name, own) from None
        known = ", ".join(engines_of(own))
        msg = f"no engine {name} in {own}, nor among the shipped ones; there: {known}"
        raise UserError(msg) from None


def engine_asked(name: str, only: Path | None, own: Path | None = None) -> Path:
    """The engine that a person means who may name one folder for it on the command line.

    Args:
        name: of its folder.
        only: the folder that was named: there or nowhere, since what another one has under that
            name is not what was asked about. None: as a station finds it.
        own: as `find_engine`.

    Raises:
        EngineFolderError, UserError: as `find_engine`.
    """
    return find_engine(name, own) if only is None else engine_in(name, only)


def engines_asked(only: Path | None, own: Path | None = None) -> dict[str, Path]:
    """The engines that are meant, by name, where none is named; as `engine_asked`."""
    if only is None:
        return engines_of(own)
    return {name: only / name for name in engine_names(only)}


def engine_in(name: str, folder: Path) -> Path:
    """The folder of the engine `name` in this one folder of engines.

    Raises:
        EngineFolderError, UserError: as `find_engine`.
    """
    entries = _entries(folder)
    known = _engines_among(entries)
    if name in known:
        return folder / name
    if not entries:
        raise _empty(name, folder)
    if folder / name in entries:
        _look_at(folder / name / MANIFEST)
    msg = f"no engine {name} in {folder}; there: {', '.join(known) or 'none'}"
    raise UserError(msg)


def _empty(name: str, folder: Path) -> EngineFolderError:
    """As a mount point is, until its disk is there."""
    return EngineFolderError(f"no engine {name} in {folder}, which is empty; {_ANOTHER_FOLDER}")


def _entries(folder: Path) -> list[Path]:
    msg = f"no folder of engines at {folder}; {_ANOTHER_FOLDER}"
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        raise EngineFolderError(msg) from None
    except (NotADirectoryError, ValueError):
        raise UserError(msg) from None
    except OSError as error:
        raise _unseen(folder, error) from error


def _engines_among(entries: list[Path]) -> list[str]:
    return sorted(entry.name for entry in entries if _is_engine(entry))


def _is_engine(folder: Path) -> bool:
    # `os.path` passes over what this user may not look into, as lost+found.
    return os.path.exists(folder / MANIFEST)  # noqa: PTH110


def _look_at(path: Path) -> None:
    """Raise EngineFolderError where the disk does not say whether something lies there."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise _unseen(path, error) from error


def _unseen(path: Path, error: OSError) -> EngineFolderError:
    return EngineFolderError(f"{path} cannot be looked at: {error.strerror}; {_ANOTHER_FOLDER}")
