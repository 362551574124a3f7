"""Logs: their two shapes, who goes through them, and that they keep secrets."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from itertools import repeat

import pytest
import structlog

from inspector.observe.logging import OnceThenEvery, configure, mask


@pytest.fixture(autouse=True)
def _restore():
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def lines():
    """Log as JSON into memory; gives a function that reads what was logged so far."""
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_logger_and_fields(lines):
    structlog.get_logger("inspector.test").info("opened", camera="infeed", size=(640, 480))
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "opened",
        "level": "info",
        "logger": "inspector.test",
        "camera": "infeed",
        "size": [640, 480],
    }


def test_libraries_write_through_the_same_door(lines):
    logging.getLogger("starlette").info("started on %s", "port 1")
    logging.getLogger("kafka.conn").warning("lost")
    logging.getLogger("kafka.conn").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert [(line["level"], line["message"][:15]) for line in lines()[:2]] == [
        ("info", "started on port"),
        ("warning", "lost"),
    ]
    assert "old" in lines()[2]["message"]
    assert len(lines()) == 3


def test_the_level_is_a_bound(lines):
    log = structlog.get_logger("inspector.test")
    log.debug("no")
    log.warning("yes")
    assert [line["message"] for line in lines()] == ["yes"]


def test_an_exception_is_one_line(lines):
    try:
        raise OSError("no route to rtsp://root:hunter2@10.0.0.1/")
    except OSError:
        structlog.get_logger("inspector.test").exception("lost")
    (line,) = lines()
    assert "OSError: no route to rtsp://***@10.0.0.1/" in line["exception"]
    assert "hunter2" not in json.dumps(line)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "rtsps://root:hunter2@10.0.0.1/stream"},
        {"url": "rtsps://root:hun@hunter2@10.0.0.1/stream"},
        {"password": "hunter2"},
        {"sasl_password": "hunter2"},
        {"Authorization": "Bearer hunter2"},
        {"options": {"web_token": "hunter2"}},
        {"addresses": ["http://hunter2@host/"]},
        {"error": ValueError("http://u:hunter2@host/")},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", ["json", "text"])
def test_secrets_are_masked_wherever_they_stand(fields, shape):
    stream = io.StringIO()
    configure(shape, stream=stream)
    structlog.get_logger("inspector.test").info("opening", **fields)
    logging.getLogger("kafka").warning("%s", fields.get("url", "http://u:hunter2@host/"))
    assert "***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_mask_leaves_plain_addresses_alone():
    assert (
        mask("see https://host/a@b and rtsp://host/x") == "see https://host/a@b and rtsp://host/x"
    )


def test_text_has_no_colours_where_there_is_no_terminal():
    stream = io.StringIO()
    configure("text", stream=stream)
    structlog.get_logger("inspector.test").warning("stalled", camera="infeed")
    assert "stalled" in stream.getvalue()
    assert "camera=infeed" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_auto_is_json_away_from_a_terminal_and_results_stay_apart():
    code = (
        "import structlog; from inspector.observe.logging import configure;"
        "configure(); structlog.get_logger('x').info('hello'); print('result')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert json.loads(done.stderr)["message"] == "hello"


def test_a_second_call_replaces_the_first(lines):
    second = io.StringIO()
    log = structlog.get_logger("inspector.test")
    log.info("one")
    configure("json", "error", stream=second)
    log.info("two")
    log.error("three")
    assert [line["message"] for line in lines()] == ["one"]
    assert json.loads(second.getvalue())["message"] == "three"


def test_once_then_every_says_yes_at_once_and_then_at_intervals():
    now = iter([0.0, 0.5, 9.9, 10.0, 12.0])
    due = OnceThenEvery(10.0, clock=now.__next__)
    assert [due("broker") for _ in range(5)] == [True, False, False, True, False]


def test_once_then_every_keeps_subjects_apart_and_forgets_what_is_over():
    due = OnceThenEvery(10.0, clock=repeat(0.0).__next__)
    assert due("a")
    assert due("b")
    assert not due("a")
    assert due.over("a")
    assert not due.over("a")
    assert due("a")


def test_once_then_every_does_not_grow_without_bound():
    due = OnceThenEvery(10.0, clock=repeat(0.0).__next__)
    assert all(due(str(number)) for number in range(5000))
    assert len(due._last) <= OnceThenEvery.MOST_KEYS
