"""Writes the references of all keys into docs/configuration.md and docs/line.md, from the models.

python tools/configuration_reference.py          # rewrite the reference
python tools/configuration_reference.py --check  # fail if it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inspector.config.base import NAME_PATTERN, SECRET_NAME_PATTERN
from inspector.config.shape import is_mapping
from inspector.config.signaller import CAMERA_PATTERN, MEMBER_PATTERN, Signaller
from inspector.config.station import Station

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "configuration.md"
PAGES: dict[Path, tuple[type[BaseModel], str]] = {
    PAGE: (Station, "###"),
    DOCS / "line.md": (Signaller, "####"),
}
"""Each page with the model of its kind of file, and the rank of its headings."""
BEGIN = "<!-- reference: begin; written by `make docs`, do not edit -->"
END = "<!-- reference: end -->"

UNITS = {
    "_s": "s",
    "_ms": "ms",
    "_mb": "MB",
    "_kb": "kB",
    "_hours": "h",
    "_days": "d",
    "_megapixels": "MP",
    "fps": "1/s",
    "x": "px",
    "y": "px",
    "width": "px",
    "height": "px",
    "window": "frames",
    "needed": "frames",
    "recover_after": "frames",
    "max_batch": "tiles",
}
PATTERNS = {
    NAME_PATTERN: "name",
    SECRET_NAME_PATTERN: "name of a secret",
    CAMERA_PATTERN: "STATION/CAMERA",
    MEMBER_PATTERN: "name",
}


def reference(root: type[BaseModel] = Station, rank: str = "###") -> str:
    """The reference as Markdown: one table a section of the file."""
    return "\n".join(_section(root, "", "The top of the file", rank))


def _section(model: type[BaseModel], at: str, title: str, rank: str) -> Iterator[str]:
    yield f"{rank} {title}\n"
    yield f"{_sentence(model)}\n"
    yield "| key | value | unit | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    inner = []
    for name, field in model.model_fields.items():
        models = list(_models(field.annotation))
        cells = (f"`{name}`", _kind(field), _unit(name), _default(field), _meaning(field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        named = is_mapping(field.annotation)
        inner += [(each, f"{at}{name}." + ("NAME." if named else "")) for each in models]
    yield ""
    for each, place in inner:
        kind = each.model_fields.get("kind")
        suffix = f" of kind `{get_args(kind.annotation)[0]}`" if kind else ""
        yield from _section(each, place, f"`{place.rstrip('.')}`{suffix}", rank)


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _unit(name: str) -> str:
    return next((unit for end, unit in UNITS.items() if _ends(name, end)), "")


def _ends(name: str, end: str) -> bool:
    return name.endswith(end) if end.startswith("_") else name == end


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def _kind(field: FieldInfo) -> str:
    return _kind_of(field.annotation, list(field.metadata))


def _kind_of(annotation: Any, metadata: list[Any]) -> str:
    if hasattr(annotation, "__metadata__"):
        inner, *more = get_args(annotation)
        return _kind_of(inner, [*metadata, *_flat(more)])
    metadata = list(_flat(metadata))
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin is dict:
        return "sections by name"
    if origin is tuple:
        return f"list of {_kind_of(get_args(annotation)[0], [])}"
    if origin is not None:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if all(_is_model(part) for part in parts):
            return "section"
        return ", or ".join(_kind_of(part, metadata) for part in parts)
    if _is_model(annotation):
        return "section"
    for item in metadata:
        pattern = getattr(item, "pattern", None)
        if pattern in PATTERNS:
            return PATTERNS[pattern]
    word = {"int": "whole number", "float": "number", "str": "text", "bool": "`true`, `false`"}
    return word.get(annotation.__name__, "path") + _bounds(metadata)


def _bounds(metadata: list[Any]) -> str:
    signs = {Gt: (">", "gt"), Ge: ("≥", "ge"), Lt: ("<", "lt"), Le: ("≤", "le")}
    words = [
        f"{sign} {getattr(item, name):g}"
        for kind, (sign, name) in signs.items()
        for item in metadata
        if isinstance(item, kind)
    ]
    return " " + ", ".join(words) if words else ""


def _flat(metadata: list[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if _is_model(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def page_with(text: str, root: type[BaseModel] = Station, rank: str = "###") -> str:
    """The page as it should be: what is written by hand around the reference."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{reference(root, rank)}\n{END}{tail}"


def main() -> None:
    """Rewrite the pages, or say that one is out of date."""
    for page, (root, rank) in PAGES.items():
        old = page.read_text(encoding="utf-8")
        new = page_with(old, root, rank)
        if old != new and "--check" in sys.argv:
            raise SystemExit(f"docs/{page.name} is out of date; type: make docs")
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
