"""The engine folder: its manifest, read and checked, and its files, read only with their digests.

The folder is the contract between training and serving: what is not in the manifest is not known,
and what does not match its digest is not used. A file that the manifest derives from another one
need not lie in the folder: it is made when it is read, and held against its digest like any other.
"""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from inspector.engine.derive import Derived, derived
from inspector.engine.tiling import Join, Where, tiles_of
from inspector.errors import EngineError, EngineUnreadableError
from inspector.verdict import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.engine.tiling import Tile
    from inspector.frame import Frame

MANIFEST = "manifest.yaml"

_CHOKED = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)
"""So YAML's constructors fail: at a 30th of February, at `!!bool foo`, at a number without end."""
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""There is no such file, and there will be none until somebody puts it there. All else may pass,
also a want of rights: a mount point may be closed until its disk is there."""
_LONGEST_SHOWN_BITS = 256
"""Python refuses to write integers out that are much longer."""

FilePrecision = Literal["fp32", "fp16", "int8"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""bf16 has no file of its own: it is the fp32 file, computed in bfloat16."""

FILE_OF: Mapping[Precision, FilePrecision] = {
    "fp32": "fp32",
    "bf16": "fp32",
    "fp16": "fp16",
    "int8": "int8",
}


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        msg = "expected a path below the engine folder"
        raise ValueError(msg)
    return path


NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Inside = Annotated[str, AfterValidator(_inside)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """What the network takes: raw tiles, without any preparation."""

    name: str
    dtype: Literal["uint8"]
    layout: Literal["NHWC"]
    colour: Literal["BGR"]
    height: Annotated[int, Field(ge=8, le=4096)]
    width: Annotated[int, Field(ge=8, le=4096)]


class Output(_Part):
    """What the network gives: (N, C), each row summing to 1."""

    name: str
    dtype: Literal["float32"]


class Sampling(_Part):
    """Which tiles of a frame are judged, and how their answers are joined."""

    tile: Annotated[int, Field(ge=8, le=4096)]
    count: Annotated[int, Field(ge=1, le=256)]
    where: Where
    join: Join

    def tiles(self, frame: Frame) -> tuple[Tile, ...]:
        """Where the tiles of a frame lie; see `inspector.engine.tiling.tiles_of`.

        Raises:
            TooSmallError: the frame is smaller than one tile.
        """
        return tiles_of(
            frame.height,
            frame.width,
            size=self.tile,
            count=self.count,
            where=self.where,
            picture=frame.picture() if self.where == "sharpest" else None,
        )


class Limits(_Part):
    """The engine's thresholds and what is known of them."""

    accept: Probability
    reject: dict[Label, Probability]
    false_reject_budget: Probability
    false_reject_upper_95: Probability | None = None
    budget_proven: bool = False
    good_frames_judged: Annotated[int, Field(ge=0)] = 0
    set_on: str = ""


class ModelFile(_Part):
    """One file of the folder with its digest.

    Attributes:
        derived_from: the file that it can be made from, see `inspector.engine.derive`; None for
            one that has to lie in the folder.
    """

    path: Inside
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]
    derived_from: Literal["int8"] | None = None


class Files(_Part):
    """One ONNX file a precision."""

    fp32: ModelFile | None = None
    fp16: ModelFile | None = None
    int8: ModelFile | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not self.present():
            msg = "expected a file of at least one precision"
            raise ValueError(msg)
        if self.int8 and self.int8.derived_from:
            msg = "int8: derived_from names the file itself"
            raise ValueError(msg)
        if self.derived() and not self.int8:
            msg = f"{', '.join(self.derived())}: derived from int8, but there is no int8 file"
            raise ValueError(msg)
        return self

    def present(self) -> dict[FilePrecision, ModelFile]:
        """The files that the manifest names, by precision."""
        named = {"fp32": self.fp32, "fp16": self.fp16, "int8": self.int8}
        return {precision: file for precision, file in named.items() if file}  # type: ignore[misc]

    def derived(self) -> dict[Derived, ModelFile]:
        """Those of them that can be made from the int8 file, by precision."""
        named = {"fp32": self.fp32, "fp16": self.fp16}
        return {p: file for p, file in named.items() if file and file.derived_from}  # type: ignore[misc]


class GoldenRef(_Part):
    """Where the golden tiles are listed."""

    path: Inside
    sha256: Sha256


class _Document(_Part):
    manifest: Literal[1]
    name: Name
    architecture: str
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    classes: Annotated[tuple[Label, ...], Field(min_length=2, max_length=256)]
    acceptable: Annotated[tuple[Label, ...], Field(min_length=1)]
    input: Input
    output: Output
    sampling: Sampling
    thresholds: Limits
    files: Files
    golden: GoldenRef
    training: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        known = set(self.classes)
        if len(known) != len(self.classes):
            msg = "classes: a label is written twice"
            raise ValueError(msg)
        if strangers := set(self.acceptable) - known:
            msg = f"acceptable: {', '.join(sorted(strangers))} is not among the classes"
            raise ValueError(msg)
        expected = known - set(self.acceptable)
        if set(self.thresholds.reject) != expected:
            named = ", ".join(sorted(self.thresholds.reject)) or "nothing"
            msg = (
                f"thresholds.reject names {named}; "
                f"expected every class that is not acceptable: {', '.join(sorted(expected))}"
            )
            raise ValueError(msg)
        if not self.input.height == self.input.width == self.sampling.tile:
            msg = (
                f"the input is {self.input.width}x{self.input.height}, the tiles are "
                f"{self.sampling.tile}x{self.sampling.tile}; they must be equal"
            )
            raise ValueError(msg)
        return self


class Manifest(_Document):
    """A checked manifest and the folder it lies in. Immutable; any thread."""

    folder: Path

    @property
    def acceptable_columns(self) -> tuple[int, ...]:
        """Columns of the output that belong to acceptable labels."""
        return tuple(i for i, label in enumerate(self.classes) if label in self.acceptable)

    def verdict_thresholds(self) -> Thresholds:
        """The thresholds in the form that the verdict rule takes."""
        limits = self.thresholds
        return Thresholds(frozenset(self.acceptable), limits.accept, dict(limits.reject))

    def file_of(self, precision: Precision) -> ModelFile:
        """The model file that serves a precision.

        Raises:
            EngineError: the engine has no such file.
        """
        present = self.files.present()
        file = present.get(FILE_OF[precision])
        if file is None:
            msg = (
                f"engine {self.name}: no {FILE_OF[precision]} file for precision {precision}; "
                f"its manifest has {', '.join(present)}"
            )
            raise EngineError(msg)
        return file

    def read(self, path: str, sha256: str, remedy: str = "install the engine again") -> bytes:
        """Read one file of the folder whole, and only if it has the digest.

        What is checked is what is returned, so that nothing can change in between.

        Args:
            path: below the folder.
            sha256: the digest that it must have.
            remedy: what the message tells the user to do.

        Raises:
            EngineUnreadableError: the disk does not give it now.
            EngineError: the file is missing, outside the folder or another one.
        """
        file = self.folder / path
        try:
            if not file.resolve(strict=True).is_relative_to(self.folder.resolve()):
                msg = f"engine {self.name}: {file} leads out of the engine folder"
                raise EngineError(msg)
            content = file.read_bytes()
        except OSError as error:
            raise _unread(f"engine {self.name}: cannot read {file}", error, remedy) from error
        self._check_digest(str(file), content, sha256, remedy)
        return content

    def _check_digest(self, what: str, content: bytes, sha256: str, remedy: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            msg = (
                f"engine {self.name}: {what} has sha256 {found}, expected {sha256}; "
                f"the file is damaged or of another version: {remedy}"
            )
            raise EngineError(msg)

    def read_file(self, file: ModelFile) -> bytes:
        """Read a model file that lies in the folder.

        Raises:
            EngineError: as `read`.
        """
        if file.derived_from:
            return self.read(file.path, file.sha256, f"run inspector engines build {self.name}")
        return self.read(file.path, file.sha256)

    def read_model(self, precision: Precision) -> bytes:
        """The ONNX file of a precision, checked; derived where it does not lie in the folder.

        Raises:
            EngineError: as `read`, `derive` and `file_of`.
        """
        file = self.file_of(precision)
        name = FILE_OF[precision]
        if name != "int8" and file.derived_from and not self.lies_there(file):
            return self.derive(name)
        return self.read_file(file)

    def lies_there(self, file: ModelFile) -> bool:
        """Whether something lies in the folder under the file's name, whatever it holds.

        Raises:
            EngineUnreadableError: this user may not look there, or the disk fails.
        """
        path = self.folder / file.path
        try:
            return path.exists()
        except OSError as error:
            raise _unread(f"engine {self.name}: cannot read {path}", error) from error

    def derive(self, precision: Derived) -> bytes:
        """Make the file of a precision from the int8 file; takes a second for 50 MB.

        Raises:
            EngineError: the int8 file is at fault, or what comes out has another digest.
        """
        file = self.file_of(precision)
        try:
            content = derived(self.read_model("int8"), precision)
        except (ValueError, LookupError) as error:
            source = self.folder / self.file_of("int8").path
            msg = f"engine {self.name}: cannot derive {precision} from {source}: {error}"
            raise EngineError(msg) from error
        what = f"{file.path}, derived from int8,"
        self._check_digest(what, content, file.sha256, "install the engine again")
        return content

    def check_files(self) -> None:
        """Hold every model file against its digest; one that can be derived may be missing.

        Raises:
            EngineError: the first file that is missing or another one.
        """
        for file in self.files.present().values():
            if file.derived_from is None or self.lies_there(file):
                self.read_file(file)


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder`/manifest.yaml. No other file is opened.

    Raises:
        EngineUnreadableError: the disk does not give it now.
        EngineError: missing, not YAML, or not a manifest: every fault with key and value.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unread(f"engine folder {folder}: cannot read {MANIFEST}", error) from error
    document = plain_yaml(content, str(path))
    if not isinstance(document, dict):
        msg = f"{path}: expected a mapping, came {type(document).__name__}"
        raise EngineError(msg)
    try:
        return Manifest.model_validate({**document, "folder": folder})
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(str(step) for step in fault['loc']) or 'manifest'}: {fault['msg']}"
            f"{_came(fault['input'])}"
            for fault in error.errors(include_url=False)
        )
        msg = f"{path} is not a manifest that this version can use:\n{faults}"
        raise EngineError(msg) from error


def _unread(what: str, error: OSError, remedy: str = "install the engine again") -> EngineError:
    """The error that says what was not read: for now, or until somebody does what it says."""
    if error.errno in NOT_THERE:
        return EngineError(f"{what}: {error.strerror}; {remedy}")
    return EngineUnreadableError(
        f"{what}: {error.strerror}; look at the disk, and at the right to read there"
    )


def plain_yaml(content: bytes, what: str) -> Any:
    """Read a YAML file of an engine as plain values.

    Args:
        content: of the file, in UTF-8.
        what: the file, for the message.

    Raises:
        EngineError: it is not YAML, or holds what YAML cannot take.
    """
    try:
        return yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{what} is not YAML: {error}"
        raise EngineError(msg) from error
    except _CHOKED as error:
        msg = f"{what} holds a value that YAML cannot take: {error}"
        raise EngineError(msg) from error


def _came(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN_BITS:
        return " (came a number too long to be shown)"
    return f" (came {value!r})" if isinstance(value, str | int | float | bool | None) else ""
