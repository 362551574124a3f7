"""A line for tests of `inspector line`: its file, its process, rejects in Kafka, and a PLC."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import yaml
from kafka import KafkaAdminClient, KafkaProducer

from inspector.config.line import Line, Modbus
from inspector.events.documents import encode
from inspector.line.registers import Layout
from inspector.line.simulator.faults import Fault, Plan
from inspector.line.simulator.program import Settings
from inspector.line.simulator.simulation import PlcSimulator
from tests.events.making import STATION, Maker, topics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from inspector.events.documents import Event
    from inspector.line.simulator.program import Happening

CAMERAS = ("infeed", "middle", "outfeed")


def names(cameras: Iterable[str] = CAMERAS) -> list[str]:
    """As the signaller's file has them."""
    return [f"{STATION}/{camera}" for camera in cameras]


class Plc:
    """A simulator that acts on what it is told; its happenings are kept.

    Attributes:
        on_happening: called in the simulator's thread, after the happening was kept.
    """

    def __init__(
        self, cameras: Iterable[str] = CAMERAS, faults: Iterable[str] = (), **settings: Any
    ) -> None:
        keys = names(cameras)
        self.happened: list[Happening] = []
        self.on_happening: Callable[[Happening], None] = lambda _: None
        line = Line(modbus=Modbus(host="127.0.0.1"))
        plan = Plan([Fault.parse(word) for word in faults], random.Random(1))
        self.simulator = PlcSimulator(
            Layout.of(line, dict.fromkeys(keys)),
            Settings(**settings),
            plan,
            unannounced=keys,
            on_happening=self._note,
        )

    def __enter__(self) -> Self:
        self.port = self.simulator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.simulator.stop()

    def _note(self, happening: Happening) -> None:
        self.happened.append(happening)
        self.on_happening(happening)

    def of(self, what: str) -> list[Happening]:
        """Happenings of one kind so far."""
        return [each for each in tuple(self.happened) if each.what == what]

    def acted(self) -> Counter[tuple[str, int]]:
        """How often each part was acted on, by camera and number."""
        return Counter(
            (str(each.camera), int(str(each.details["part"]))) for each in self.of("acted")
        )


@dataclass
class Rejects:
    """Publishes rejects, each with the next part number of its camera."""

    bootstrap: str
    topic: str
    sent: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        suffix = self.topic.removeprefix("rejects.")
        self.make = Maker(topics_of(suffix))
        admin = KafkaAdminClient(bootstrap_servers=[self.bootstrap])
        admin.create_topics(
            {self.topic: {"num_partitions": 6, "replication_factor": 1}}, wait_for_metadata=True
        )
        admin.close()
        self.producer = KafkaProducer(
            bootstrap_servers=[self.bootstrap],
            linger_ms=0,
            retries=1000,
            reconnect_backoff_max_ms=1000,
        )
        self._parts: Counter[str] = Counter()

    def event(self, camera: str = "infeed", **data: Any) -> Event:
        """A reject of the next part."""
        event = self.make(camera=camera)
        self._parts[camera] += 1
        event.document["data"] |= {"part_id": str(self._parts[camera]), **data}
        return event

    def send(self, event: Event) -> None:
        """Publish it, and wait until it is there."""
        key = event.key
        self.producer.send(self.topic, encode(event.document), key.encode()).get(90)

    def reject(self, camera: str = "infeed", **data: Any) -> Event:
        """Make a reject, publish it, and expect it at the PLC."""
        event = self.event(camera, **data)
        self.sent.append((f"{STATION}/{camera}", self._parts[camera]))
        self.send(event)
        return event

    def close(self) -> None:
        self.producer.close()


class LineProcess:
    """`inspector line` on a file that is written from `config`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], name: str = "line") -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "line.yaml"
        self.file.write_text(yaml.safe_dump(dict(config)))
        self.log_path = folder / f"{name}-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "inspector.cli",
                    "line",
                    str(self.file),
                    "--log-format=json",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "STATE_DIRECTORY": str(folder / "state")},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def said(self, message: str) -> list[dict[str, Any]]:
        """Lines of the log with that message."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("message") == message:
                found.append(entry)
        return found

    def until(self, what: str, truth: Callable[[], Any], within_s: float = 60.0) -> Any:
        """Wait until `truth` gives something; the process must live meanwhile."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"it ended: {self.tail()}"
            if got := truth():
                return got
            time.sleep(0.02)
        msg = f"no {what} within {within_s} s: {self.tail()}"
        raise AssertionError(msg)

    def wait_active(self) -> Self:
        """Until it signals."""
        self.until("partitions", lambda: self.said("signalling"))
        self.until("PLC", lambda: self.said("connected to the PLC"))
        return self

    def terminate(self, within_s: float = 60.0) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, nothing."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]


def wait_until(what: str, truth: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Wait until `truth` gives something."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if got := truth():
            return got
        time.sleep(0.02)
    msg = f"no {what} within {within_s} s"
    raise AssertionError(msg)
