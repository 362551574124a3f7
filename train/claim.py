"""A folder belongs to the settings that it was begun with."""

from pathlib import Path

from train.errors import DataError
from train.whole import written_whole


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
                f"{file.parent} was begun with other settings or references, or by other code"
                f" ({file}); choose another folder"
            )
        return
    with written_whole(file) as partial:
        partial.write_text(text, encoding="utf-8")
