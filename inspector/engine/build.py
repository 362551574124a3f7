"""The files that an engine folder can do without, made once so that no start has to make them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.engine.manifest import read_manifest
from inspector.errors import EngineError

if TYPE_CHECKING:
    from inspector.engine.derive import Derived
    from inspector.engine.manifest import Manifest, ModelFile

_READABLE = 0o644


@dataclass(frozen=True, slots=True)
class Built:
    """One derived file that now lies in the folder, right to its digest.

    Attributes:
        made: False where it lay there already.
    """

    engine: str
    precision: Derived
    path: Path
    bytes: int
    made: bool


def build_engine(folder: Path) -> list[Built]:
    """Make the derived files that an engine folder lacks, and those that are not what they must be.

    Raises:
        EngineError: the file to derive from is another one, or the folder cannot be written.
    """
    manifest = read_manifest(folder)
    built = []
    for precision, file in manifest.files.derived().items():
        path = folder / file.path
        made = not _right(manifest, file)
        if made:
            _write(manifest, path, manifest.derive(precision))
        built.append(Built(manifest.name, precision, path, file.bytes, made))
    return built


def _right(manifest: Manifest, file: ModelFile) -> bool:
    try:
        manifest.read_file(file)
    except EngineError:
        return False
    return True


def _write(manifest: Manifest, path: Path, content: bytes) -> None:
    """Whole or not at all: what lies under the name has always been written to its end."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                temporary.chmod(_READABLE)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        msg = (
            f"engine {manifest.name}: cannot write {path}: {error.strerror}; run this as the user "
            "who owns the folder, or leave it: the station then derives the file at each start"
        )
        raise EngineError(msg) from error
