"""`inspector line` with a real broker and a PLC: nothing missed, nothing acted on twice."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from inspector.line.simulator.faults import Kind
from tests.signaller.lineside import CAMERAS, LineProcess, Plc, Rejects, names, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.line.simulator.program import Happening
    from tests.servers.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(600)]

SESSION_S = 6.0
"""The least that a broker takes."""


@pytest.fixture
def rejects(broker: Broker, topic_suffix: str) -> Iterator[Rejects]:
    source = Rejects(broker.bootstrap, f"rejects.{topic_suffix}")
    yield source
    source.close()


def config(plc: Plc, rejects: Rejects, *, deadline_ms: float = 60_000, **other: Any) -> dict:
    consume = {"topic": rejects.topic, "group": rejects.topic, "session_timeout_s": SESSION_S}
    consume |= other.pop("consume", {})
    return {
        "version": 1,
        "signaller": "packing",
        "kafka": {"bootstrap_servers": [rejects.bootstrap]},
        "consume": consume,
        "line": {
            "modbus": {"host": "127.0.0.1", "port": plc.port},
            "heartbeat_ms": 100,
            "cameras": {name: {"deadline_ms": deadline_ms} for name in names()},
        },
        **other,
    }


def each_once(plc: Plc, rejects: Rejects) -> None:
    acted = plc.acted()
    assert set(acted) == set(rejects.sent)
    assert set(acted.values()) == {1}
    for name in names():  # and in the order in which they were published
        parts = [each.details["part"] for each in plc.of("acted") if each.camera == name]
        assert parts == sorted(parts)


def test_each_reject_is_signalled_once_with_its_part_label_and_confidence(tmp_path, rejects):
    with Plc() as plc, LineProcess(tmp_path, config(plc, rejects)) as line:
        line.wait_active()
        for _ in range(20):
            for camera in CAMERAS:
                rejects.reject(camera)
        line.until("60 rejects", lambda: len(plc.acted()) == 60)
        assert line.terminate() == 0
        each_once(plc, rejects)
        heard = plc.of("acted")[0].details
        assert (heard["result"], heard["label"], heard["confidence"]) == ("reject", "gblur", 0.97)
        station = plc.simulator.view()
        assert not station.station.serving
        assert not any(status.ready or status.valid for status, *_ in station.cameras.values())
    with Plc() as plc, LineProcess(tmp_path, config(plc, rejects)) as line:
        line.wait_active()
        rejects.reject("infeed")  # the offsets are committed: this is the first that comes
        line.until("a reject", plc.acted)
        assert line.terminate() == 0
        assert set(plc.acted()) == {rejects.sent[-1]}


def test_what_is_none_to_be_signalled_is_counted_and_passed_over(tmp_path, rejects):
    web = {"listen": "127.0.0.1:0"}
    with Plc() as plc, LineProcess(tmp_path, config(plc, rejects, web=web)) as line:
        line.wait_active()
        old = (datetime.now(UTC) - timedelta(seconds=61)).isoformat()
        event = rejects.event("infeed")
        event.document["data"]["times"]["captured"] = old
        rejects.send(event)
        rejects.send(rejects.event("infeed", replay=True))
        rejects.send(rejects.event("infeed", mode="observe"))
        rejects.send(rejects.event("infeed", late=True))
        rejects.send(rejects.make("quality_degraded"))
        rejects.send(rejects.make(camera="elsewhere"))
        rejects.producer.send(rejects.topic, b"no event").get(90)
        rejects.send(rejects.reject("infeed"))  # the same event a second time

        def status() -> dict[str, Any]:
            return dict(asked_of(line, "api/status").json())

        line.until("the last one", lambda: sum(status()["ignored"].values()) == 7)
        line.until("the one that counts", lambda: status()["signals"])
        assert status()["ignored"] == {
            **dict.fromkeys(("replay", "observed", "answered_late", "not_a_reject"), 1),
            **dict.fromkeys(("other_camera", "poison", "repeat"), 1),
        }
        assert status()["old"] == {names()[0]: 1}
        assert status()["signals"] == {f"{names()[0]} acknowledged": 1}
        assert asked_of(line, "readyz").status_code == 200
        metrics = asked_of(line, "metrics").text
        assert f'inspector_line_signals_total{{camera="{names()[0]}",end="acknowledged"}} 1.0' in (
            metrics
        )
        assert "inspector_line_up 1.0" in metrics
        each_once(plc, rejects)


def asked_of(line: LineProcess, path: str) -> httpx.Response:
    """What its page answers."""
    page = line.until("readiness", lambda: line.said("ready"))[0]["web"]
    return httpx.get(page + path, timeout=60)


def test_mode_observe_signals_nothing(tmp_path, rejects):
    looking_on = {"mode": "observe", "web": {"listen": "127.0.0.1:0"}}
    with Plc() as plc, LineProcess(tmp_path, config(plc, rejects, **looking_on)) as line:
        line.wait_active()
        rejects.send(rejects.event("infeed"))
        wait_until("the mode", lambda: plc.simulator.program.mode.value == "observe")
        line.until("it read", lambda: asked_of(line, "api/status").json()["ignored"])
        assert asked_of(line, "api/status").json()["ignored"] == {"observing": 1}
        assert line.terminate() == 0
        assert not plc.of("valid_seen")
        with LineProcess(tmp_path, config(plc, rejects)) as inspecting:
            inspecting.wait_active()
            rejects.reject("infeed")  # what came before it was read
            inspecting.until("a reject", plc.acted)
            each_once(plc, rejects)


def test_killed_after_the_plc_acted_it_repeats_the_sequence_and_the_plc_drops_it(tmp_path, rejects):
    with Plc() as plc:
        lines = [LineProcess(tmp_path, config(plc, rejects)).wait_active()]

        def kill(happening: Happening) -> None:
            if happening.what == "acted" and happening.details["part"] == 5:
                os.kill(lines[-1].process.pid, signal.SIGKILL)  # before it can know of it

        plc.on_happening = kill
        for _ in range(5):
            rejects.reject("infeed")
        assert lines[-1].process.wait(60) == -signal.SIGKILL
        plc.on_happening = lambda _: None
        with LineProcess(tmp_path, config(plc, rejects)) as line:
            line.wait_active()
            line.until("the repeat", lambda: plc.of("repeat_dropped"))
            rejects.reject("infeed")
            line.until("the next", lambda: len(plc.acted()) == 6)
            assert line.said("in doubt, goes again")
            each_once(plc, rejects)
            repeat = plc.of("repeat_dropped")[0].details["sequence"]
            assert repeat == plc.of("acted")[4].details["sequence"]


def test_killed_again_and_again_it_misses_nothing_and_nothing_comes_twice(tmp_path, rejects):
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.03):
            for camera in CAMERAS:
                rejects.reject(camera)

    with Plc() as plc:
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            for _ in range(4):
                with LineProcess(tmp_path, config(plc, rejects)) as line:
                    line.wait_active()
                    come = len(plc.acted())
                    line.until("more rejects", lambda come=come: len(plc.acted()) > come + 10)
                    line.kill()
        finally:
            stop.set()
            publisher.join()
        with LineProcess(tmp_path, config(plc, rejects)) as line:
            line.until("all rejects", lambda: set(plc.acted()) == set(rejects.sent), 120)
            assert line.terminate() == 0
        each_once(plc, rejects)


def test_another_member_stands_by_and_takes_over_when_the_first_is_gone(tmp_path, rejects):
    with Plc() as plc, LineProcess(tmp_path / "a", config(plc, rejects)) as first:
        first.wait_active()
        rejects.reject("infeed")
        standby = config(plc, rejects, consume={"member": "second"})
        # Members that come and go: each is a rebalance for the one that signals.
        for _ in range(2):
            with LineProcess(tmp_path / "b", standby) as second:
                second.until("the group", lambda: second.said("connected to the broker"))
                for camera in CAMERAS:
                    rejects.reject(camera)
                assert not second.said("signalling")
                second.kill()
        with LineProcess(tmp_path / "b", standby) as second:
            second.until("the group", lambda: second.said("connected to the broker"))
            for camera in CAMERAS:
                rejects.reject(camera)
            first.until("all rejects", lambda: set(plc.acted()) == set(rejects.sent))
            # Killed with a signal on the wire that the PLC has acted on.
            dead = threading.Event()

            def kill(happening: Happening) -> None:
                if happening.what == "acted":
                    os.kill(first.process.pid, signal.SIGKILL)
                    dead.set()

            plc.on_happening = kill
            rejects.reject("infeed")
            assert dead.wait(60)
            plc.on_happening = lambda _: None
            rejects.reject("infeed")
            rejects.reject("outfeed")
            second.wait_active()
            second.until("all rejects", lambda: set(plc.acted()) == set(rejects.sent))
            second.until("the repeat", lambda: plc.of("repeat_dropped"))
            each_once(plc, rejects)


def test_a_second_process_of_the_same_member_ends_the_first(tmp_path, rejects):
    with Plc() as plc, LineProcess(tmp_path / "a", config(plc, rejects)) as first:
        first.wait_active()
        rejects.reject("infeed")
        first.until("a reject", plc.acted)
        with LineProcess(tmp_path / "b", config(plc, rejects)) as second:
            assert first.process.wait(60) == 2
            assert "has taken over" in first.tail()
            second.wait_active()
            rejects.reject("infeed")
            second.until("the next", lambda: len(plc.acted()) == 2)
            each_once(plc, rejects)


def test_a_frozen_process_that_was_replaced_signals_nothing_when_it_wakes(tmp_path, rejects):
    with Plc() as plc, LineProcess(tmp_path / "a", config(plc, rejects)) as first:
        first.wait_active()
        rejects.reject("infeed")
        first.until("a reject", plc.acted)
        standby = config(plc, rejects, consume={"member": "second"})
        with LineProcess(tmp_path / "b", standby) as second:
            second.until("the group", lambda: second.said("connected to the broker"))
            first.process.send_signal(signal.SIGSTOP)
            for camera in CAMERAS:
                rejects.reject(camera)
            second.wait_active()
            second.until("all rejects", lambda: set(plc.acted()) == set(rejects.sent))
            first.process.send_signal(signal.SIGCONT)
            first.until("its part", lambda: first.said("standing by"))
            for camera in CAMERAS:
                rejects.reject(camera)
            second.until("all rejects", lambda: set(plc.acted()) == set(rejects.sent))
            each_once(plc, rejects)


def test_an_acknowledgement_that_does_not_come_holds_up_its_camera_alone(tmp_path, rejects):
    with Plc(reset_after_s=None) as plc, LineProcess(tmp_path, config(plc, rejects)) as line:
        line.wait_active()
        plc.simulator.make(Kind.NO_ACK)
        rejects.send(rejects.event("infeed"))
        wait_until("the fail-safe", lambda: plc.simulator.view().station.safe.word == "reject")
        line.until("it in the log", lambda: line.said("line fault"))
        rejects.reject("outfeed")
        line.until("the other camera", plc.acted)
        plc.simulator.press_reset()
        wait_until("all well", lambda: plc.simulator.view().station.safe.word == "normal")
        rejects.reject("infeed")
        line.until("the next of it", lambda: len(plc.acted()) == 2)
        each_once(plc, rejects)


def test_a_broker_that_goes_away_is_told_to_the_plc(tmp_path, rejects, broker):
    with Plc() as plc, LineProcess(tmp_path, config(plc, rejects)) as line:
        line.wait_active()
        rejects.reject("infeed")
        line.until("a reject", plc.acted)
        broker.stop()
        try:
            line.until("serving 0", lambda: not plc.simulator.view().station.serving, 180.0)
            wait_until("the stop", lambda: plc.simulator.program.mode.value == "stop")
        finally:
            broker.start()
        wait_until("serving 1", lambda: plc.simulator.view().station.serving)
        rejects.reject("infeed")
        line.until("the next", lambda: len(plc.acted()) == 2)
        assert line.terminate() == 0
        each_once(plc, rejects)
