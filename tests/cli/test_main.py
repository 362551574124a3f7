"""The command line as a whole: help, exit statuses, and no trace for a user's mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from inspector import cli
from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    "run", "check", "doctor", "bench", "classify", "engines", "events", "dashboard", "line",
    "plc-simulator", "schema",
)  # fmt: skip


def inspector(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-P", "-m", "inspector.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_lists_every_command():
    done = inspector("--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in COMMANDS)


def test_help_and_version_import_no_command():
    code = (
        "import sys; from inspector.cli import status_of; status = status_of(['--help']);"
        "heavy = {'numpy', 'cv2', 'av', 'openvino', 'pydantic', 'kafka', 'fastapi', 'structlog'};"
        "print('status', status, 'heavy', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("status 0 heavy []\n")


def test_version():
    done = inspector("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("inspector 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_there_and_its_help_is_the_one_of_the_list(name):
    command = cli.load_command(name)
    first_line = (command.help or "").split("\n")[0]
    assert first_line == cli._COMMANDS[name].help
    assert cli.status_of([name, "--help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "Did you mean 'check'"),
        (["check"], "Missing argument"),
        (["check", "a", "b"], "unexpected extra argument"),
        (["check", "--jsn", "a"], "No such option"),
        (["schema", "nothing"], "'nothing' is not one of"),
        (["check", "/nowhere/station.yaml"], "there is no such file"),
    ],
)
def test_a_users_mistake_gives_status_2_and_no_trace(arguments, said):
    done = inspector(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_without_a_command_the_help_is_shown():
    done = inspector()
    assert done.returncode == 2
    assert "Usage: inspector" in done.stdout + done.stderr


def _as_check(monkeypatch, error: BaseException) -> None:
    def broken(name):
        raise error

    monkeypatch.setattr(cli, "load_command", broken)


def test_a_user_error_is_one_message_on_stderr(monkeypatch, capsys):
    _as_check(monkeypatch, UserError("the engine x is not known"))
    assert cli.status_of(["check", "x"]) == 2
    assert capsys.readouterr() == ("", "inspector: the engine x is not known\n")


def test_a_failure_of_a_stage_is_one_message_and_status_1(monkeypatch, capsys):
    _as_check(monkeypatch, EngineError("model.onnx: its digest differs"))
    assert cli.status_of(["check", "x"]) == 1
    assert capsys.readouterr() == ("", "inspector: model.onnx: its digest differs\n")


def test_an_end_with_a_message_says_it(monkeypatch, capsys):
    _as_check(monkeypatch, SystemExit("no"))
    assert cli.status_of(["check", "x"]) == 1
    assert capsys.readouterr().err == "inspector: no\n"


def test_a_fault_of_the_program_shows_its_trace(monkeypatch, capsys):
    _as_check(monkeypatch, ZeroDivisionError("oops"))
    assert cli.status_of(["check", "x"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_ends_with_130(monkeypatch, capsys):
    _as_check(monkeypatch, KeyboardInterrupt())
    assert cli.status_of(["check", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["--version"], ["check", "--help"], ["schema", "station"], ["engines", "list"]]
)
def test_a_reader_that_has_gone_leaves_no_trace(arguments, unbuffered):
    command = [sys.executable, "-P", "-m", "inspector.cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


ENCODES = """
import atexit, threading, cv2, numpy as np
from concurrent.futures import ThreadPoolExecutor
from inspector import cli
picture = np.zeros((64, 64, 3), np.uint8)
begun = threading.Event()
def encode():
    while True:
        cv2.imencode(".webp", picture)
        begun.set()
threading.Thread(target=encode, daemon=True).start()
begun.wait()
pool = ThreadPoolExecutor(2)  # nobody ends it: its threads are no daemons, and wait for work
pool.submit(print, "from the pool", flush=True).result()
atexit.register(print, "the last", flush=True)
cli.main(["--version"])
"""


def test_a_thread_that_is_still_in_a_library_aborts_nothing():
    """As an encoder that was given up at the stop of a station; C++ knows no end of a thread."""
    done = subprocess.run(
        [sys.executable, "-c", ENCODES], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, _, last = done.stdout.splitlines()
    assert (first, last) == ("from the pool", "the last")
