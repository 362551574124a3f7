"""kafka-python's own log, turned into facts.

The library tells the cause of a failed connection only to its logger (a wrong password reaches the
caller as "Unable to bootstrap"), and there it repeats it several times a second. While a publisher
runs, the records that the library writes in the publisher's threads are looked at for exceptions
and go no further; the station says itself what is wrong, once and then at intervals. Records of
other users of the library in the same process, and errors that are no fault of the network, pass.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

# Imported for its loggers: they exist once their modules are loaded.
import kafka.admin
import kafka.producer  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable


class Chatter(logging.Filter):
    """Listens to the loggers of kafka-python on behalf of one publisher.

    Args:
        client_id: the library names its own threads after it.
        on_error: called with each exception that the library logs, in the thread that logged it.
    """

    def __init__(self, client_id: str, on_error: Callable[[BaseException], None]) -> None:
        super().__init__()
        self._client_id = client_id
        self._on_error = on_error
        self._own: set[int] = set()
        self._loggers: list[logging.Logger] = []

    def listen(self) -> None:
        """Begin, for the calling thread and the library's own."""
        self._own.add(threading.get_ident())
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if name.startswith("kafka.") and isinstance(logger, logging.Logger):
                logger.addFilter(self)
                self._loggers.append(logger)

    def leave(self) -> None:
        """End."""
        for logger in self._loggers:
            logger.removeFilter(self)
        self._loggers.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a record of ours out of the log, and the exception out of the record."""
        ours = record.thread in self._own or self._client_id in (record.threadName or "")
        if not ours:
            return True
        args = record.args if isinstance(record.args, tuple) else ()
        uncaught = record.exc_info[1] if record.exc_info else None
        for value in (*args, uncaught):
            if isinstance(value, BaseException):
                self._on_error(value)
        return uncaught is not None and not isinstance(uncaught, OSError)
