"""Names of pictures: what an event says, and nothing else, leads to a file."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from inspector.evidence import budget, holdings, naming
from inspector.evidence.folder import Folder
from tests.evidence.making import NOW_MS, name_at

PARTS = st.sampled_from(
    [
        "2023-11-14",
        "infeed",
        name_at(NOW_MS).file,
        "..",
        ".",
        "/",
        "%2e",
        "\0",
        "\n",
        "C:",
        "\\",
        "",
    ]
)


@given(st.text() | st.lists(PARTS, max_size=6).map("/".join))
@example(name_at(NOW_MS).uri)
@example("2023-11-14/../" + name_at(NOW_MS).file)
def test_a_uri_is_the_exact_name_of_a_picture_or_none(uri: str) -> None:
    name = naming.parse(uri)
    if name is None:
        return
    assert name.uri == uri
    root = Folder(Path("/evidence"))
    assert str(root.place(name)) == f"/evidence/{uri}"
    assert ".." not in uri


def test_the_examples_in_the_docstrings_hold() -> None:
    import doctest

    for module in (naming, budget, holdings):
        assert doctest.testmod(module).failed == 0
        assert doctest.testmod(module).attempted > 0
