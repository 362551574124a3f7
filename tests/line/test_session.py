"""The session with a real Modbus server that fails in every way one can."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pymodbus.constants import ExcCodes

from inspector.config.line import Line
from inspector.line import signals as signals_module
from inspector.line.parts import Cause, Done, Finding, Part
from inspector.line.registers import Answer, Control, Result, Safe
from inspector.line.signals import Signals
from tests.descriptors import large_descriptors
from tests.servers.plc import CAMERAS_AT, PlcServer

if TYPE_CHECKING:
    from collections.abc import Iterator

REJECT, ACCEPT = Finding(Result.REJECT, 3, 990), Finding(Result.ACCEPT, 7, 999)
ANSWER, STATUS = CAMERAS_AT + 1, CAMERAS_AT


@dataclass
class Heard:
    """Listens; each part that the PLC announces is rejected at once, unless `judges` is cleared.

    Attributes:
        ahead_ns: how far the session's clock is ahead of the machine's.
    """

    signals: Signals | None = None
    judges: bool = True
    parts: list[Part] = field(default_factory=list)
    raises: list[Answer] = field(default_factory=list)
    faults: list[tuple[str | None, Cause]] = field(default_factory=list)
    ends: list[tuple[str | None, Cause]] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    ahead_ns: int = 0

    def connected(self) -> None:
        pass

    def triggered(self, camera: str, part: Part) -> None:
        self.parts.append(part)
        if self.judges:
            assert self.signals is not None
            self.signals.resolve(camera, part, REJECT)

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        self.raises.append(answer)

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        assert detail
        self.faults.append((camera, cause))

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        assert after_s >= 0
        self.ends.append((camera, cause))


@pytest.fixture
def plc() -> Iterator[PlcServer]:
    with PlcServer() as server:
        yield server
        server.raised()  # over no answer but its own did `valid` stand


@pytest.fixture
def run(plc: PlcServer) -> Iterator[Any]:
    running = []

    def _run(
        *, modbus: dict[str, Any] | None = None, camera: dict[str, Any] | None = None, **line: Any
    ) -> tuple[Signals, Heard]:
        where = {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 20_000}
        asked = {"a": {"deadline_ms": 20_000} | (camera or {})}
        model = Line.model_validate(
            {"modbus": where | (modbus or {}), "heartbeat_ms": 50, "acknowledge_ms": 30_000}
            | {"cameras": asked}
            | line
        )
        heard = Heard()
        heard.signals = Signals(
            model,
            dict.fromkeys(model.cameras or ()),
            heard,
            clock_ns=lambda: time.monotonic_ns() + heard.ahead_ns,
        )
        heard.signals.start()
        running.append(heard.signals)
        return heard.signals, heard

    yield _run
    for signals in running:
        signals.stop(0)


def state(signals: Signals) -> str:
    return str(signals.status()["state"])


def test_it_waits_for_a_plc_that_comes_later(plc: PlcServer, run: Any) -> None:
    plc.stop()
    signals, heard = run()
    plc.until("alarm", lambda: heard.faults)
    assert heard.faults == [(None, "plc_away")]
    plc.until("the state", lambda: state(signals) == "away")
    assert "no connection to the PLC at 127.0.0.1" in signals.status()["detail"]
    plc.start()
    assert plc.part(7).result is Result.REJECT
    assert heard.ends == [(None, "plc_away")]
    assert state(signals) == "connected"
    assert signals.status()["detail"] is None


@pytest.mark.parametrize("register", [ANSWER, STATUS])
def test_a_connection_that_breaks_in_the_middle_of_a_result(
    plc: PlcServer, run: Any, register: int
) -> None:
    _, heard = run()
    plc.part(1)
    plc.until_ready()
    heard.judges = False
    plc.says(trigger=True, part=2)
    plc.until("busy", lambda: plc.status().busy and heard.parts[1:])
    plc.hangs_up_at = register
    heard.signals.resolve("a", heard.parts[1], REJECT)
    plc.until("a second connection", lambda: plc.connections == 2)
    plc.settle()
    answer = plc.answer()
    assert (answer.sequence, answer.part, answer.result) == (2, 2, Result.REJECT)
    heard.judges = True
    assert plc.part(3).sequence == 3
    assert {(a.sequence, a.part) for a in plc.raised()} == {(1, 1), (2, 2), (3, 3)}
    assert (None, "plc_away") in heard.faults


def test_a_silent_plc_is_away_after_the_timeout_and_found_again(plc: PlcServer, run: Any) -> None:
    signals, heard = run(modbus={"timeout_ms": 200})
    plc.part(1)
    plc.silent = True
    plc.until("the reason", lambda: "within 200 ms" in (signals.status()["detail"] or ""))
    plc.silent = False
    assert plc.part(2).sequence == 2
    # On a busy machine the answers of a server that is not silent may take as long.
    plc.until("the end of it", lambda: heard.ends == heard.faults)
    assert set(heard.faults) == {(None, "plc_away")}


def test_while_a_request_hangs_handing_over_and_alarms_do_not(plc: PlcServer, run: Any) -> None:
    signals, heard = run(
        modbus={"timeout_ms": 60_000}, acknowledge_ms=100, camera={"trigger": "frames", "queue": 4}
    )
    signals.signal("a", REJECT)
    plc.until_valid()
    plc.silent = True
    plc.until("alarm", lambda: ("a", "no_acknowledge") in heard.faults)
    for _ in range(200):
        signals.signal("a", REJECT)
    plc.until("alarm", lambda: ("a", "queue_full") in heard.faults)
    assert plc.silent, "all that while the server gave no answer"
    plc.silent = False
    plc.until("fail-safe", lambda: plc.station.safe is Safe.REJECT)


def test_while_the_reset_of_all_cameras_stands_nothing_new_is_shown(
    plc: PlcServer, run: Any
) -> None:
    signals, heard = run(acknowledge_ms=100, camera={"trigger": "frames", "queue": 4})
    for part in (1, 2):
        signals.signal("a", REJECT, part=part)
    plc.until("alarm", lambda: ("a", "no_acknowledge") in heard.faults)
    plc.says_itself(reset=True)
    plc.until("the end of it", lambda: ("a", "no_acknowledge") in heard.ends)
    for _ in range(3):
        plc.until("a turn", lambda was=plc.station.heartbeat: plc.station.heartbeat != was)
        assert not plc.status().valid
    plc.says_itself()
    assert plc.until_valid().part == 2


def test_refused_registers_are_an_alarm_of_their_own(plc: PlcServer, run: Any) -> None:
    plc.refuses = ExcCodes.ILLEGAL_ADDRESS
    signals, heard = run()
    plc.until("alarm", lambda: heard.faults)
    assert heard.faults == [(None, "bad_answer")]
    said = "has no such registers (Modbus exception 2)"
    plc.until("the reason", lambda: said in (signals.status()["detail"] or ""))
    plc.refuses = None
    assert plc.part(1).part == 1
    assert heard.ends == [(None, "bad_answer")]


def test_a_slow_plc_gets_its_results_before_their_deadline_or_no_result(
    plc: PlcServer, run: Any
) -> None:
    _, heard = run(camera={"deadline_ms": 400, "reserve_ms": 200})
    plc.until_ready()
    plc.delay_s = 0.03
    for number in range(1, 6):
        answer = plc.part(number)
        assert answer.part == number
        if answer.result is Result.REJECT:
            assert answer.elapsed_ms < 200
        else:
            assert answer.result is Result.NO_RESULT
    assert len(heard.parts) == 5


def test_a_plc_that_was_restarted_gets_everything_anew(plc: PlcServer, run: Any) -> None:
    _, _ = run()
    plc.part(1)
    plc.part(2)
    plc.stop()
    plc.registers = [0] * len(plc.registers)
    plc.start()
    assert plc.part(3).sequence == 3, "our own count, where the PLC has forgotten it"
    assert plc.station.layout == 1


def test_registers_that_the_plc_lost_without_the_connection_are_written_anew(
    plc: PlcServer, run: Any
) -> None:
    run(camera={"trigger": "frames"})[0].signal("a", REJECT, part=7)
    answer = plc.until_valid()
    plc.registers = [0] * len(plc.registers)
    assert plc.until_valid() == answer
    assert plc.acknowledge() == answer
    plc.until_ready()
    plc.registers = [0] * len(plc.registers)
    plc.until_ready()
    assert plc.connections == 1
    assert plc.answer() == answer


def test_the_sequence_goes_on_from_the_registers(plc: PlcServer, run: Any) -> None:
    plc.registers[ANSWER] = 65_534
    run()
    assert [plc.part(number).sequence for number in (1, 2, 3)] == [65_535, 1, 2]


def test_nonsense_for_an_answer_ends_in_another_connection(run: Any) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        server.settimeout(0.1)
        answers = [b"\x00" * 300, b"HTTP/1.1 400 Bad Request\r\n\r\n", os.urandom(200), b"\xff" * 9]
        while not over.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            with client:
                client.settimeout(30)
                client.recv(100)
                client.sendall(answers[0])
            answers.append(answers.pop(0))
            seen.append(client)

    seen: list[socket.socket] = []
    thread = threading.Thread(target=serve)
    thread.start()
    signals, heard = run(modbus={"port": server.getsockname()[1], "timeout_ms": 200})
    deadline = time.monotonic() + 60
    while len(seen) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    over.set()
    thread.join()
    server.close()
    assert len(seen) >= 4
    assert heard.faults
    assert state(signals) == "away"


def test_the_plcs_heartbeat_is_watched_where_it_is_asked_for(plc: PlcServer, run: Any) -> None:
    signals, heard = run(plc_heartbeat_within_ms=2000, fail_safe="stop")
    plc.until("alarm", lambda: heard.faults == [(None, "plc_silent")])
    plc.until("fail-safe", lambda: plc.station.safe is Safe.STOP)
    plc.until("ready lowered", lambda: not plc.status().ready)
    assert state(signals) == "connected"
    over = threading.Event()

    def count() -> None:
        beat = 0
        while not over.wait(0.02):
            beat += 1
            plc.says_itself(heartbeat=beat)

    counter = threading.Thread(target=count)
    counter.start()
    plc.until("all well", lambda: plc.status().ready and plc.station.safe is Safe.NORMAL)
    over.set()
    counter.join()
    assert set(heard.ends) == {(None, "plc_silent")}


def test_a_reset_of_the_plcs_block_clears_every_camera(plc: PlcServer, run: Any) -> None:
    _, heard = run(
        acknowledge_ms=50, cameras={name: {"trigger": "frames"} for name in ("a", "b", "c")}
    )
    for name in ("a", "b"):
        heard.signals.signal(name, REJECT)
    plc.until("fault", lambda: plc.status(0).fault and plc.status(1).fault)
    plc.until("fault of the station", lambda: plc.station.fault)
    assert not plc.status(2).fault
    plc.says_itself(reset=True)
    plc.until("cleared", lambda: not plc.station.fault and plc.station.safe is Safe.NORMAL)
    plc.until("lowered", lambda: not plc.status(0).valid and not plc.status(1).valid)
    both = [("a", "no_acknowledge"), ("b", "no_acknowledge")]
    plc.until("restored", lambda: sorted(heard.ends) == both)


def test_blocks_at_places_of_their_own_and_parts_low_word_first(plc: PlcServer, run: Any) -> None:
    run(
        modbus={"word_order": "low_first"},
        cameras={"a": {"at": 300}, "b": {"at": 100}, "c": {}, "d": {}, "e": {}},
    )
    plc.until("ready", lambda: plc.registers[300] == 1)
    plc.registers[300 + 16 : 300 + 20] = Control(trigger=True, part=70_000).encode("low_first")
    plc.until("valid", lambda: plc.registers[300] == 4)
    answer = Answer.decode(plc.registers[301:308], "low_first")
    assert (answer.part, answer.result) == (70_000, Result.REJECT)
    assert plc.registers[305:307] == [70_000 - 65_536, 1]


def test_who_signals_is_told_what_became_of_it(plc: PlcServer, run: Any) -> None:
    signals, heard = run(camera={"trigger": "frames"})
    now = time.monotonic_ns()
    signals.signal("a", REJECT, part=1, sequence=500, on_done=heard.done.append)
    signals.signal("a", REJECT, part=2, deadline_ns=now, on_done=heard.done.append)
    assert [plc.acknowledge().result for _ in range(2)] == [Result.REJECT, Result.NO_RESULT]
    plc.until("both told", lambda: len(heard.done) == 2)
    first, second = heard.done
    assert (first.end, first.answer.sequence, first.answer.result) == (
        "acknowledged",
        500,
        Result.REJECT,
    )
    assert (second.end, second.answer.sequence, second.answer.result) == (
        "acknowledged",
        501,
        Result.NO_RESULT,
    )
    signals.signal("a", REJECT, part=1, sequence=500, on_done=heard.done.append)
    assert plc.acknowledge().sequence == 500, "a repeat bears the same number"


def test_a_stop_gives_what_is_on_its_way_a_chance_and_lowers_all(plc: PlcServer, run: Any) -> None:
    signals, heard = run(camera={"trigger": "frames"})
    for number in (1, 2):
        signals.signal("a", REJECT, part=number, on_done=heard.done.append)
    plc.until_valid()
    stop = threading.Thread(target=lambda: signals.stop(50))
    stop.start()
    plc.acknowledge()
    plc.until_valid()
    assert stop.is_alive()
    heard.ahead_ns = 50 * 10**9  # nobody acknowledges the second: its time is over
    stop.join()
    assert not plc.station.serving
    assert state(signals) == "closed"
    assert (plc.status().ready, plc.status().valid) == (False, False)
    assert [done.end for done in heard.done] == ["acknowledged", "abandoned"]
    beat = plc.station.heartbeat
    time.sleep(0.2)  # four heartbeats
    assert plc.station.heartbeat == beat


def test_a_stop_without_a_plc_comes_to_an_end(plc: PlcServer, run: Any) -> None:
    plc.stop()
    signals, heard = run(camera={"trigger": "frames"})
    signals.signal("a", REJECT, on_done=heard.done.append)
    plc.until("alarm", lambda: heard.faults)
    signals.stop(0.1)
    plc.until("its end", lambda: state(signals) == "closed")
    assert [done.end for done in heard.done] == ["abandoned"]


def test_more_than_the_session_can_be_told_is_an_alarm(
    plc: PlcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_module, "MOST_POSTED", 10)
    heard = Heard()
    line = Line.model_validate(
        {
            "modbus": {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 10_000},
            "cameras": {"a": {"trigger": "frames", "queue": 100, "deadline_ms": 20_000}},
        }
    )
    signals = Signals(line, {"a": None}, heard)
    for _ in range(30):
        signals.signal("a", REJECT)
    signals.start()
    plc.until("alarm", lambda: heard.faults == [("a", "queue_full")])
    signals.stop(0)


def test_it_works_where_descriptors_have_large_numbers(plc: PlcServer, run: Any) -> None:
    with large_descriptors():
        run()
        assert plc.part(1).part == 1


def test_a_listener_that_fails_ends_nothing(plc: PlcServer, run: Any) -> None:
    _, heard = run()
    heard.raises = None  # type: ignore[assignment]  # so that it fails
    assert [plc.part(number).part for number in (1, 2)] == [1, 2]
