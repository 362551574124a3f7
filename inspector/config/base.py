"""What every branch of the station file has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
SECRET_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a station, camera or policy: small letters, digits and hyphens, 63 at most."""

SECRET_RULE = StringConstraints(pattern=SECRET_NAME_PATTERN)
SecretName = Annotated[str, SECRET_RULE]
"""Name of a secret: an environment variable, or a systemd credential. Never the secret itself."""

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]

FOLDER = "folder"
"""Key of the validation context under which the loader hands over the station file's folder."""


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    if path == Path():
        msg = "expected a path"
        raise ValueError(msg)
    folder = info.context.get(FOLDER) if info.context else None
    return path if folder is None else Path(folder) / path


FilePath = Annotated[Path, AfterValidator(_from_folder)]
"""A file or folder. A relative one starts at the folder of the station file."""


def _of_its_own(path: Path) -> Path:
    if path == Path():
        msg = "expected a path other than the state folder itself"
        raise ValueError(msg)
    return path


StatePath = Annotated[Path, AfterValidator(_of_its_own)]
"""A folder that the station fills. A relative one starts at the state folder."""


class Section(BaseModel):
    """A frozen branch of the station file; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True
    )
