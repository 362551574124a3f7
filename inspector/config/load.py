"""Loading a station file: pure, and with every fault of the file at once.

Nothing is opened but the file itself, no folder is made, no environment is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from inspector.config.base import FOLDER
from inspector.config.document import Document, parse
from inspector.config.explain import faults_of, near_miss, shown
from inspector.config.faults import Fault, KeyPath, StationFileError
from inspector.config.secrets import Secrets, names_of
from inspector.config.signaller import Signaller
from inspector.config.station import Station
from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Model = TypeVar("Model", bound=BaseModel)

MOST_BYTES = 2_000_000
"""Larger than any station file; what is larger was named by mistake."""


@dataclass(frozen=True)
class StationFile:
    """A station and the file it came from, which knows the place of every key."""

    path: Path
    station: Station
    document: Document

    def fault(self, key: KeyPath, problem: str) -> Fault:
        """A fault found later, at the place of its key."""
        return Fault(key, problem, *self.document.place(key))


def load_station(path: Path, secrets: Secrets | None = None) -> Station:
    """Read a station file.

    Relative paths in it start at its own folder.

    Args:
        path: the station file.
        secrets: where given, secrets that the file names and that are not set are faults too.

    Raises:
        StationFileError: with every fault of the file: line, key, what came, what was expected.
    """
    return read_station(path, secrets).station


def read_station(path: Path, secrets: Secrets | None = None) -> StationFile:
    """Read a station file and keep the places of its keys.

    Args:
        path: the station file.
        secrets: as `load_station`.

    Raises:
        StationFileError: with every fault of the file.
    """
    path = Path(path)
    document = _document(path)
    station = _read(path, document, Station, secrets, _unknown_policies(document))
    return StationFile(path, station, document)


def load_as(path: Path, root: type[Model], secrets: Secrets | None = None) -> Model:
    """Read a file of another kind, whose model is `root`; as `load_station`."""
    path = Path(path)
    return _read(path, _document(path), root, secrets)


def load_signaller(path: Path, secrets: Secrets | None = None) -> Signaller:
    """Read a file of `inspector line`; as `load_station`."""
    return load_as(path, Signaller, secrets)


def is_signaller_file(path: Path) -> bool:
    """Whether it is a file of `inspector line`, rather than a station file, however faulty."""
    keys = top_keys(path)
    return "signaller" in keys and "station" not in keys


def top_keys(path: Path) -> frozenset[str]:
    """Keys at the top of a file, however faulty; none where it cannot be read."""
    try:
        value = parse(_text(Path(path))).value
    except StationFileError:
        return frozenset()
    return frozenset(map(str, value)) if isinstance(value, dict) else frozenset()


def _document(path: Path) -> Document:
    document = parse(_text(path))
    if document.value is None and document.faults:
        raise StationFileError(path, document.faults)
    if not isinstance(document.value, dict):
        got = shown(document.value, ())
        problem = f"got {got}, expected a section that begins with `version: 1`"
        raise StationFileError(path, [Fault((), problem, 1, 1, got)])
    return document


def _read(
    path: Path,
    document: Document,
    root: type[Model],
    secrets: Secrets | None,
    more: Sequence[Fault] = (),
) -> Model:
    """Hold a document against the model of its kind of file; every fault at once."""
    faults = [*document.faults, *more]
    model, found = _validate(document, path.absolute().parent, root)
    told = {fault.key for fault in document.faults}
    faults += [fault for fault in found if fault.key not in told]
    if secrets is not None:
        faults += _missing_secrets(document, secrets, root)
    if model is None or faults:
        raise StationFileError(path, faults)
    return model


def _missing_secrets(document: Document, secrets: Secrets, root: type[BaseModel]) -> list[Fault]:
    """A fault for each place that names a secret which cannot be had, whatever else is wrong."""
    return [
        Fault(key, problem, *document.place(key))
        for name, keys in names_of(document.value, root).items()
        if (problem := _why_missing(name, secrets))
        for key in keys
    ]


def _why_missing(name: str, secrets: Secrets) -> str | None:
    try:
        if not secrets.missing([name]):
            return None
    except UserError as error:
        return str(error)
    return f"the secret {name} is not set: export it, or give it to the service as a credential"


def _text(path: Path) -> str:
    def refuse(problem: str) -> StationFileError:
        return StationFileError(path, [Fault((), problem)])

    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise refuse("there is no such file") from None
    except IsADirectoryError:
        raise refuse("this is a folder; name a station file in it") from None
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise refuse(f"more than {MOST_BYTES} bytes; this is no station file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StationFileError(path, [Fault((), "not text in UTF-8", line)]) from None


def _validate(
    document: Document, folder: Path, root: type[Model]
) -> tuple[Model | None, list[Fault]]:
    """Hold the values of a file in `folder` against its model.

    Rules between keys run only where each key is right by itself. So that they are told at once
    too, the wrong values are taken out and the rest is judged a second time.
    """
    try:
        return _model(document.value, folder, root), []
    except ValidationError as error:
        faults = faults_of(error.errors(include_url=False), document, root)
        # Strange keys can go without changing the meaning of the rest; wrong values cannot.
        strange = {fault.key for fault in faults if fault.problem.startswith("unknown key")}
        wrong = {fault.key for fault in faults} - strange
    try:
        _model(_without(document.value, strange | wrong), folder, root)
    except ValidationError as error:
        later = faults_of(error.errors(include_url=False), document, root)
        faults += [fault for fault in later if not any(_touches(fault.key, key) for key in wrong)]
    return None, [fault for fault in faults if fault.key or "asks for policy" not in fault.problem]


def _model(value: Any, folder: Path, root: type[Model]) -> Model:
    # JSON is the validator's strict mode that still takes text for paths and lists for tuples.
    return root.model_validate_json(json.dumps(value), strict=True, context={FOLDER: folder})


def _touches(key: KeyPath, wrong: KeyPath) -> bool:
    length = min(len(key), len(wrong))
    return key[:length] == wrong[:length]


def _without(value: Any, keys: Iterable[KeyPath], at: KeyPath = ()) -> Any:
    """A copy without the values at `keys`."""
    keys = set(keys)
    if isinstance(value, dict):
        return {
            name: _without(item, keys, (*at, name))
            for name, item in value.items()
            if (*at, name) not in keys
        }
    if isinstance(value, list):
        return [
            _without(item, keys, (*at, index))
            for index, item in enumerate(value)
            if (*at, index) not in keys
        ]
    return value


def _unknown_policies(document: Document) -> list[Fault]:
    """Policies that cameras ask for and the file does not hold, at the camera's key."""
    policies, cameras = (document.value.get(name) or {} for name in ("policies", "cameras"))
    if not isinstance(policies, dict) or not isinstance(cameras, dict):
        return []
    known = {"default", *policies}
    faults = []
    for name, camera in cameras.items():
        asked = camera.get("policy") if isinstance(camera, dict) else None
        if isinstance(asked, str) and asked not in known:
            key = ("cameras", name, "policy")
            problem = f'no policy is called "{asked}"; {near_miss(asked, known)}'
            faults.append(Fault(key, problem, *document.place(key), shown(asked, ())))
    return faults
