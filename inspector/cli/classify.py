"""`inspector classify`: pictures, folders of pictures and videos, judged as the station judges."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inspector.cli.engine_plans import PlansFolder, StationFile, asked_of
from inspector.cli.engines import Folder, engine_faults
from inspector.engine.load import PrecisionChoice, RuntimeChoice
from inspector.errors import UserError
from inspector.verdict import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.cli.file_feed import Answer
    from inspector.verdict import EngineInfo

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""Names that are taken for videos."""

_COLOURS = {
    Outcome.ACCEPTED: "green",
    Outcome.REJECTED: "red",
    Outcome.UNCERTAIN: "yellow",
    Outcome.UNJUDGEABLE: "magenta",
}


def classify(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, folders, videos.")],
    engine: Annotated[str, typer.Option(help="Engine that judges.")] = "simplenet",
    folder: Folder = None,
    runtime: Annotated[RuntimeChoice, typer.Option(help="What is to run it.")] = "auto",
    precision: Annotated[
        PrecisionChoice, typer.Option(help="auto: the fastest that is right.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    station: StationFile = None,
    plans: PlansFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Judge pictures, folders of pictures and videos.

    On TensorRT where there is a plan for this box in --station's or --plans' folder.
    """
    files = files_of(paths)
    from inspector.cli.file_feed import judge_files
    from inspector.engine.best import open_now
    from inspector.engine.folders import engine_asked

    asked, store = asked_of(station, plans)
    changed = {
        "folder": folder or asked.folder,
        "runtime": runtime,
        "precision": precision,
        "threads": threads,
        "fallback": "openvino",
    }
    asked = asked.model_copy(update=changed)
    counts: Counter[str] = Counter()
    faulty = False
    engine_asked(engine, folder, asked.folder)  # what is not in a folder that was named, is nowhere
    with engine_faults():
        loaded = open_now(engine, asked, store)
        if loaded.degraded:
            print(f"inspector: {loaded.degraded}", file=sys.stderr)
        out = Console(highlight=False, soft_wrap=True)
        try:
            with _progress(out) as progress:
                task = progress.add_task("judging", total=len(files))
                for answer in judge_files(loaded, files, is_video=is_video):
                    row = row_of(answer)
                    faulty |= "error" in row
                    counts[row["verdict"]] += 1
                    _print_row(row, out, as_json=as_json)
                    progress.update(task, completed=answer.file)
        finally:
            loaded.close()
    if not as_json:
        _print_summary(counts, out, loaded.info)
    if faulty:
        raise typer.Exit(1)


def is_video(path: Path) -> bool:
    """Whether a file of that name is to be read as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files that are meant; of a folder, all pictures and videos below it, sorted.

    What cannot be read below a folder is among them: it is told when its turn comes.

    Raises:
        UserError: paths that are not there, may not be looked at, are no files, or are folders
            without any; each is named.
    """
    files: list[Path] = []
    faults: list[str] = []
    for path in paths:
        try:
            files += _files_at(path)
        except UserError as error:
            faults.append(str(error))
    if len(faults) > 1:
        raise UserError("\n  ".join([f"{len(faults)} paths cannot be judged", *faults]))
    if faults:
        raise UserError(faults[0])
    return files


def _files_at(path: Path) -> list[Path]:
    """The files that one path means. Raises UserError."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            msg = f"{path} is a link to {path.readlink()}, which is not there"
        else:
            msg = f"there is no file or folder {path}"
        raise UserError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be looked at: {error.strerror}"
        raise UserError(msg) from None
    if stat.S_ISDIR(mode):
        return _files_below(path)
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        msg = f"{path} is neither a file nor a folder"
        raise UserError(msg)
    return [path]


def _files_below(folder: Path) -> list[Path]:
    from inspector.capture.sources.pictures import is_picture

    closed: list[OSError] = []
    found = [
        path
        for home, _, names in os.walk(folder, onerror=closed.append)
        for path in (Path(home, name) for name in names)
        if (is_picture(path.name) or is_video(path)) and _may_be_a_file(path)
    ]
    if closed and Path(closed[0].filename) == folder:
        msg = f"the folder {folder} cannot be listed: {closed[0].strerror}"
        raise UserError(msg)
    found += [Path(error.filename) for error in closed]
    if not found:
        msg = f"no pictures or videos in {folder}"
        raise UserError(msg)
    return sorted(found)


def _may_be_a_file(path: Path) -> bool:
    """Whether it is a file, or nobody can tell: a broken link, a folder without the right."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def row_of(answer: Answer) -> dict[str, Any]:
    """What is printed of one picture, or of one frame of a video, as JSON values.

    `error` is there where a file, or a frame of it, could not be read or judged.
    """
    row: dict[str, Any] = {"path": str(answer.path)}
    if answer.frame is not None:
        row |= {"frame": answer.frame, "time_s": answer.time_s}
    verdict = answer.verdict
    row |= {
        "verdict": verdict.outcome.value,
        "label": verdict.label,
        "probabilities": {k: round(p, 6) for k, p in verdict.probabilities.items()},
        "reasons": list(verdict.reasons),
        "engine": _engine(verdict.engine),
    }
    if verdict.cause is not None:
        row["cause"] = verdict.cause.value
    if verdict.cause not in {None, Cause.TOO_SMALL}:
        row["error"] = "; ".join(verdict.reasons)
    return row


def _engine(info: EngineInfo | None) -> dict[str, Any] | None:
    if info is None:
        return None
    return {
        "name": info.name,
        "version": info.version,
        "sha256": info.sha256,
        "runtime": info.runtime,
        "precision": info.precision,
        "degraded": info.degraded,
    }


def _print_row(row: dict[str, Any], out: Console, *, as_json: bool) -> None:
    path = _shown(row["path"])
    if "error" in row:
        where = f"{path}, frame {row['frame']}" if "frame" in row else path
        print(f"inspector: {where}: {_shown(row['error'])}", file=sys.stderr)
    if as_json:
        print(_json(row), flush=True)
        return
    where = path + (f" #{row['frame']}" if "frame" in row else "")
    word, label = row["verdict"], row["label"]
    colour = _COLOURS[Outcome(word)]
    said = f"{label} {row['probabilities'][label]:.3f}" if label else row.get("cause", "")
    out.print(f"[{colour}]{word:<11}[/] {said:<19} ", end="")
    out.print(where, markup=False)


def _shown(text: str) -> str:
    r"""A text that may hold a file's name as a terminal can show it: one line, no control codes.

    >>> _shown("a b\n.png")
    'a b\\n.png'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json(row: dict[str, Any]) -> str:
    """One line; names that are no text keep their bytes as lone surrogates, written as escapes."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(row)
    return line


def _print_summary(counts: Counter[str], out: Console, info: EngineInfo) -> None:
    parts = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    out.print(
        f"{counts.total()} judged by {info.name} {info.version} "
        f"({info.runtime}, {info.precision}): {parts}",
        markup=False,
    )


def _progress(out: Console) -> Progress:
    """A bar below the lines on a terminal; on stderr where stdout goes elsewhere."""
    console = out if out.is_terminal else Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=console.is_terminal,
        disable=not console.is_terminal,
    )
