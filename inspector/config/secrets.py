"""Secrets by name: from the environment, then from the service manager's credential folder."""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from inspector.config.base import SECRET_NAME_PATTERN, SECRET_RULE
from inspector.config.shape import is_mapping, models_in
from inspector.config.station import Station
from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from inspector.config.faults import KeyPath

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the files of `LoadCredential=`; each file is named as its secret."""
FOLDER_PREFIX = "secret_"
"""Before the name, where the unit loads a whole folder: systemd puts the folder's id before it."""


class Secrets:
    """Looks up secrets when they are needed; holds none of them.

    Args:
        environment: the variables to look in; the process's own if absent.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

        self._key = os.urandom(32)

    def __repr__(self) -> str:
        return "Secrets()"

    def get(self, name: str) -> str:
        """The secret of that name, without a line end that an editor left behind.

        Raises:
            UserError: there is none, or its file cannot be read.
        """
        value = self._find(name)
        if value is None:
            msg = (
                f"the secret {name} is not set: export it, or give it to the service as a"
                f" credential (a file /etc/inspector/secrets/{name}; systemd: LoadCredential=)"
            )
            raise UserError(msg)
        return value

    def mark(self, names: Iterable[str]) -> bytes:
        """Differs as soon as one of these secrets does, and tells nothing else about them.

        Comparable with other marks of this object alone.

        Raises:
            UserError: as `get`.
        """
        mark = hmac.new(self._key, digestmod="sha256")
        for name in names:
            value = self.get(name).encode()
            mark.update(len(value).to_bytes(8, "big") + value)
        return mark.digest()

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are not set, in their order."""
        return [name for name in names if self._find(name) is None]

    def _find(self, name: str) -> str | None:
        """The secret, or None. An empty one counts as not set."""
        value: str | None = (self._environment.get(name) or "").strip("\r\n")
        folder = self._environment.get(CREDENTIALS_DIRECTORY)
        if not value and folder:
            value = _credential(Path(folder) / name) or _credential(
                Path(folder) / f"{FOLDER_PREFIX}{name}"
            )
        return value or None


def _credential(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the credential {file.name} in ${CREDENTIALS_DIRECTORY} cannot be read: {error}"
        raise UserError(msg) from None


def names_of(value: Any, root: type[BaseModel] = Station) -> dict[str, list[KeyPath]]:
    """The secrets that a station file names, each with the keys that name it.

    Args:
        value: the file as plain values. It may be full of faults: what is no section is passed
            over, and so is what cannot be the name of a secret.
        root: the model of the whole file, where it is no station file.
    """
    found: dict[str, list[KeyPath]] = {}
    _collect([root], value, (), found)
    return found


def _collect(
    models: list[type[BaseModel]], value: Any, at: KeyPath, found: dict[str, list[KeyPath]]
) -> None:
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        key = (*at, name)
        inner = [model for field in fields for model in models_in(field.annotation)]
        if isinstance(item, str) and any(_is_secret(f.metadata, f.annotation) for f in fields):
            if re.match(SECRET_NAME_PATTERN, item):
                found.setdefault(item, []).append(key)
        elif any(is_mapping(field.annotation) for field in fields) and isinstance(item, dict):
            for entry, section in item.items():
                _collect(inner, section, (*key, entry), found)
        else:
            _collect(inner, item, key, found)


def _is_secret(metadata: list[object], annotation: object) -> bool:
    """Whether a field's type is SecretName, alone or with None."""
    rules = [*metadata, *(getattr(part, "__metadata__", ()) for part in get_args(annotation))]
    return any(SECRET_RULE in (rule if isinstance(rule, tuple) else (rule,)) for rule in rules)
