"""Logs: one JSON object a line for the journal, coloured text on a terminal.

What libraries write through the standard `logging` goes the same way. Each process calls
`configure` once, workers too, with the settings of the main process.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from structlog.typing import Processor

Format = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

MASK = "***"
_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")
_SECRET_KEY = re.compile(r"password|passwd|secret|token|authorization", re.IGNORECASE)

# Libraries that say on "info" what only their authors want to know.
_QUIET = {"kafka": "warning", "uvicorn.access": "warning", "asyncio": "warning"}


def configure(
    format: Format = "auto",  # noqa: A002 - the word the user knows it by
    level: Level = "info",
    *,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process; a second call replaces the first.

    Args:
        format: `auto` is text on a terminal and JSON elsewhere.
        level: what is less important than this is left out.
        stream: where lines go; standard error if absent, since results go to standard output.
    """
    stream = sys.stderr if stream is None else stream
    as_text = format == "text" or (format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%SZ" if as_text else "iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor]
    if as_text:
        # The exception becomes text before it is masked; the renderer prints it as it comes.
        colours = stream.isatty() and "NO_COLOR" not in os.environ
        last = [
            structlog.processors.format_exc_info,
            mask_secrets,
            _without_own_name,
            # Fields in the order in which they were given: the camera comes first.
            structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False, pad_event_to=24),
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=shared,
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a module's logger follows a later `configure`
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        wanted = max(logging.getLevelNamesMapping()[word.upper()] for word in (least, level))
        logging.getLogger(name).setLevel(root.level if level == "debug" else wanted)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(capture=True)


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Take out what looks like a secret: the last line of defence, not the first."""
    return {key: _masked(key, value) for key, value in event.items()}


def _without_own_name(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Leave the logger's name out where a person reads, unless a library speaks."""
    if str(event.get("logger", "")).startswith("inspector"):
        event.pop("logger")
    return event


def mask(text: str) -> str:
    """A text without the user names and passwords of the addresses in it.

    >>> mask("cannot open rtsp://root:hunter2@10.0.0.21/stream1")
    'cannot open rtsp://***@10.0.0.21/stream1'
    """
    return _USER_INFO.sub(f"{MASK}@", text)


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(key, item) for item in value]
    if isinstance(value, str):
        return MASK if value and _SECRET_KEY.search(key) else mask(value)
    if isinstance(value, BaseException):
        return mask(f"{type(value).__name__}: {value}")
    return value


class OnceThenEvery:
    """Says when a repeating message is worth a line: at once, then at intervals. Thread-safe.

    >>> due = OnceThenEvery(60.0, clock=iter([0.0, 1.0, 61.0]).__next__)
    >>> due("broker"), due("broker"), due("broker")
    (True, False, True)

    Args:
        seconds: least time between two lines about the same thing.
        clock: monotonic time in seconds.
    """

    MOST_KEYS = 1024

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, key: str = "") -> bool:
        """Whether a line about `key` is due now; if so, the interval begins anew."""
        now = self._clock()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self._seconds:
                return False
            if last is None and len(self._last) >= self.MOST_KEYS:
                self._last.pop(next(iter(self._last)))
            self._last[key] = now
            return True

    def over(self, key: str = "") -> bool:
        """The trouble has passed: the next line is due at once. Whether there had been one."""
        with self._lock:
            return self._last.pop(key, None) is not None
