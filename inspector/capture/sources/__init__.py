"""Picture sources: one module a kind, imported with its libraries on demand."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.capture.sources.base import Settings, Source

KINDS = ("rtsp", "device", "video", "images", "pattern")


def make_source(settings: Settings, username: str | None, password: str | None) -> Source:
    """The source of one camera, not opened yet.

    Args:
        settings: the camera's branch of the station file, as JSON values.
    """
    kind = settings["source"]["kind"]
    if kind not in KINDS:
        msg = f"unknown source kind {kind!r}, expected one of {', '.join(KINDS)}"
        raise ValueError(msg)
    module = import_module(f"inspector.capture.sources.{kind}")
    make = cast("Callable[[Settings, str | None, str | None], Source]", module.make)
    return make(settings, username, password)
