"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def part_of(file: Path) -> Path:
    """Where a file is written to first; a kill can leave that there."""
    return file.with_name(f"{file.name}.part")


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A place to write to, in the folder of `file`, which is made where it is not there.

    It takes the place of `file` where all went well; else what lay there before still does.

    Raises:
        OSError: No space, or no right to write.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = part_of(file)
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
