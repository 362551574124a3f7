"""The label sets: which classes a network has, in the order of its outputs."""

from train.errors import DataError

GOOD = "refimgs"
"""The label of a picture without a fault."""

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "all": (
        "bad_lighting",
        "fastfading",
        "gblur",
        "jp2k",
        "jpeg",
        "motion_blur",
        "refimgs",
        "wn",
    ),
    "table1": ("bad_lighting", "fastfading", "gblur", "jp2k", "jpeg", "refimgs", "wn"),
    "abstract": ("bad_lighting", "gblur", "jp2k", "motion_blur", "refimgs", "wn"),
}
"""`all` is what ships; `table1` and `abstract` are the two sets that the paper names."""


def label_set(name: str) -> tuple[str, ...]:
    """Look a label set up by its name.

    Raises:
        DataError: No such set; the text names those there are.
    """
    try:
        return LABEL_SETS[name]
    except KeyError:
        known = ", ".join(LABEL_SETS)
        raise DataError(f"no label set {name!r}; there are: {known}") from None
