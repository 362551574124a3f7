"""A station's events stage as a process of its own, which kills itself at a named point.

    python -m tests.events.child FOLDER BOOTSTRAP SUFFIX FIRST COUNT STEP NTH

Appends COUNT events from sequence FIRST on to each of two cameras, publishes them, and prints the
id of every event once it is durable, and `done` once all are sent. At the NTH time that it passes
STEP it kills itself as `kill -9` does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.events.publisher import Publisher
from inspector.events.records import CameraState
from tests.events.making import Maker, open_outbox, topics_of

if TYPE_CHECKING:
    from inspector.events.outbox import Outbox


def main() -> None:
    folder, bootstrap, suffix, first, count, step, nth = sys.argv[1:]
    passed = 0
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

    def on_step(name: str) -> None:
        nonlocal passed
        passed += name == step
        if name == step and passed == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    topics = topics_of(suffix)
    outbox = open_outbox(Path(folder), topics, on_step=on_step)
    publisher = Publisher(
        outbox, Kafka(bootstrap_servers=(bootstrap,)), topics, Secrets(), on_step=on_step
    )
    publisher.start()
    make = Maker(topics)
    for _ in range(int(first)):
        make(camera="a"), make(camera="b")
    for number in range(int(count)):
        for camera in "ab":
            event = make(camera=camera)
            state = CameraState(1, {"sequence": event.document["data"]["sequence"]})
            stored = outbox.append([event], {camera: state})
            stored.add_done_callback(lambda _, i=event.id: os.write(1, f"{i}\n".encode()))
        if number % 10 == 9:
            stored.result(60)  # so that there are many commits, however slow the machine is
        if number % 25 == 24:
            until_sent(outbox)  # and many acknowledgements
    until_sent(outbox)
    os.write(1, b"done\n")
    publisher.stop(5)
    outbox.close()


def until_sent(outbox: Outbox) -> None:
    while outbox.stats().waiting:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
