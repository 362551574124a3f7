"""A station's evidence: the frames that its events point to, as pictures to be labelled.

The label of an event is the station's own verdict and no truth. So the frames are laid out in
folders by label, a person moves those that are wrong, and the folder is then a labelled one.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from train.data.pictures import SUFFIXES, Lost
from train.errors import DataError
from train.whole import written_whole


@dataclass(frozen=True, slots=True)
class Seen:
    """One judged frame that evidence was kept of.

    Attributes:
        name: Station, camera, stream epoch and sequence: a file name without suffix.
        label: What the station took it for.
        path: The kept picture.
    """

    name: str
    label: str
    path: Path


def read_evidence(events: Path, folder: Path, labels: Sequence[str]) -> list[Seen]:
    """The frames of a list of events whose evidence is there and unchanged, each once.

    Args:
        events: One JSON object a line: events, or what `inspector events list --json` prints.
        folder: The station's evidence; a `uri` without scheme is looked up below it.
        labels: Labels that may come.

    Raises:
        DataError: A line that is no event, a label that is none, no evidence at all, or evidence
            of more than 1 % of the frames missing or changed.
    """
    lost = Lost()
    found: dict[str, Seen] = {}
    for number, event in _events(events):
        data = event["data"]
        if not data.get("evidence") or data.get("label") is None:
            continue
        name = f"{data['station']}-{data['camera']}-{data['stream_epoch']}-{data['sequence']}"
        if data["label"] not in labels:
            raise DataError(
                f"{events}, line {number}: {data['label']!r} is no label; there are:"
                f" {', '.join(labels)}"
            )
        path = _path_of(data["evidence"]["uri"], folder)
        found[name] = Seen(name, data["label"], path)
        if reason := _fault(path, data["evidence"]["sha256"]):
            del found[name]
            lost.reasons.append(f"{events}, line {number}: {path}: {reason}")
    if not found and not lost.reasons:
        raise DataError(f"{events} has no frame with evidence; does the station keep any?")
    lost.check(len(found) + len(lost.reasons), folder)
    return list(found.values())


def lay_out(frames: Iterable[Seen], out: Path) -> dict[str, int]:
    """Copy frames to `out/LABEL/NAME`, leaving alone what a person has moved already.

    Returns:
        Of each label how many frames were copied.
    """
    there = {path.stem for path in out.rglob("*") if path.suffix.lower() in SUFFIXES}
    copied: dict[str, int] = {}
    for frame in frames:
        if frame.name in there:
            continue
        place = out / frame.label / f"{frame.name}{frame.path.suffix.lower()}"
        with written_whole(place) as partial:
            shutil.copyfile(frame.path, partial)
        copied[frame.label] = copied.get(frame.label, 0) + 1
    return copied


def _events(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's event with its number, whether bare or in a row of `events list`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}); is it what inspector printed?") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            event = document.get("event", document)
            data = event["data"]
        except (ValueError, AttributeError, KeyError, TypeError):
            raise DataError(
                f"{path}, line {number}: expected an event, not {line[:60]!r}"
            ) from None
        if "sequence" in data:
            yield number, event


def _path_of(uri: str, folder: Path) -> Path:
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else folder / uri


def _fault(path: Path, sha256: str) -> str | None:
    """Why a kept picture cannot be used."""
    if path.suffix.lower() not in SUFFIXES:
        return "not a picture file"
    try:
        data = path.read_bytes()
    except OSError as error:
        return str(error.strerror)
    found = hashlib.sha256(data).hexdigest()
    return None if found == sha256 else f"sha256 {found}, but the event has {sha256}"
