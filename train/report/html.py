"""The parts that every report is made of; all text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from train.whole import written_whole

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ccc; padding: .25em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; }
dt { font-weight: 600; margin-top: .6em; }
dd { margin-left: 0; max-width: 46em; }
figure { display: inline-block; margin: .5em; vertical-align: top; }
figcaption { font-size: 12px; max-width: 230px; }
"""

NONE = "–"  # noqa: RUF001 - the usual mark of an empty cell


def write_document(path: Path, title: str, body: Sequence[str]) -> None:
    """Write one page that needs no other file; `body` is HTML."""
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>"
    )
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def figure(source: str | None, caption: str) -> str:
    """A picture, given as a data address, with its caption; the caption alone without one."""
    text = escape(caption)
    image = f'<img src="{source}" alt="{text}">' if source else ""
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; the first column names its row."""
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return f"<table><tr>{first}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms, each with a text."""
    parts = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in pairs)
    return f"<dl>{''.join(parts)}</dl>"


def share(value: float | None) -> str:
    """A share, to three places."""
    return NONE if value is None else f"{value:.3f}"


def span(bounds: Sequence[float] | None) -> str:
    """Two bounds of a share, in words."""
    return NONE if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
