"""A folder belongs to the settings that it was begun with."""

from pathlib import Path

from train.errors import DataError


def claim(file: Path, text: str) -> None:
    """Write down what a folder was begun with, or make sure that it is still the same.

    Args:
        file: Where it stands, in that folder, which is made where it is not there.
        text: All settings that what lies in the folder depends on.

    Raises:
        DataError: The folder was begun with others.
    """
    if file.exists():
        if file.read_text(encoding="utf-8") != text:
            raise DataError(
                f"{file.parent} was begun with other settings ({file}); choose another folder"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = part_of(file)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def part_of(file: Path) -> Path:
    """Where it is written to first; a kill can leave that there."""
    return file.with_suffix(".part")
