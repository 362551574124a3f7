"""Secrets by name: from the environment, then from the service manager's credential folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from inspector.config.base import SECRET_RULE
from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inspector.config.faults import KeyPath
    from inspector.config.station import Station

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the files of `LoadCredential=`; each file is named as its secret."""


class Secrets:
    """Looks up secrets when they are needed; holds none of them.

    Args:
        environment: the variables to look in; the process's own if absent.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

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
                " credential (systemd: LoadCredential=)"
            )
            raise UserError(msg)
        return value

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are not set, in their order."""
        return [name for name in names if self._find(name) is None]

    def _find(self, name: str) -> str | None:
        """The secret, or None. An empty one counts as not set."""
        value = self._environment.get(name)
        folder = self._environment.get(CREDENTIALS_DIRECTORY)
        if not value and folder:
            try:
                value = (Path(folder) / name).read_text(encoding="utf-8").rstrip("\r\n")
            except FileNotFoundError:
                return None
            except (OSError, UnicodeDecodeError) as error:
                msg = f"the credential {name} in ${CREDENTIALS_DIRECTORY} cannot be read: {error}"
                raise UserError(msg) from None
        return value or None


def names_of(station: Station) -> dict[str, list[KeyPath]]:
    """The secrets that a station names, each with the keys that name it."""
    found: dict[str, list[KeyPath]] = {}

    def walk(section: BaseModel, at: KeyPath) -> None:
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            key = (*at, name)
            if isinstance(value, str) and _is_secret(field.metadata, field.annotation):
                found.setdefault(value, []).append(key)
            elif isinstance(value, BaseModel):
                walk(value, key)
            elif isinstance(value, dict):
                for entry, item in value.items():
                    if isinstance(item, BaseModel):
                        walk(item, (*key, entry))

    walk(station, ())
    return found


def _is_secret(metadata: list[object], annotation: object) -> bool:
    """Whether a field's type is SecretName, alone or with None."""
    rules = [*metadata, *(getattr(part, "__metadata__", ()) for part in get_args(annotation))]
    return any(SECRET_RULE in (rule if isinstance(rule, tuple) else (rule,)) for rule in rules)
