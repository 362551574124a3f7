"""A station from the outside: what it says when something around it is wrong, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events, read_with_kcat
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.disk import RealDisk
    from tests.servers.kafka import Broker


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """One camera, whose pictures are all blurred."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.02}
    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {"infeed": {"source": source}},
    }


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def facts(station: StationProcess) -> dict[str, dict[str, Any]]:
    return {fact["name"]: fact for fact in station.get("/readyz").json()["facts"]}


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_a_topic_that_cannot_be_used_is_named(
    config: dict[str, Any], broker: Broker, topic_suffix: str, tmp_path: Path
) -> None:
    kafka = {"bootstrap_servers": [broker.bootstrap], "create_topics": False}
    names = {"rejects": f"r-{topic_suffix}", "status": f"s-{topic_suffix}"}
    config["events"] = {"kafka": kafka, "topics": names}
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        wanted = {f"topic {topic}" for topic in names.values()}
        said = station.until("facts", lambda: (f := facts(station)).keys() >= wanted and f)
        assert said["broker"]["ok"]
        for topic in names.values():
            assert not said[f"topic {topic}"]["ok"]
            assert "make it, or set events.kafka.create_topics" in said[f"topic {topic}"]["detail"]
        assert "topic inspection.verdicts" not in said  # nothing is to be written there
        assert station.get("/readyz").status_code == 200
        assert "\ninspector_topics_blocked 2.0\n" in station.get("/metrics").text
        assert station.terminate() == 0


def test_it_ends_in_time_though_neither_disk_nor_broker_take_anything(
    config: dict[str, Any], silent_broker: str, small_disk: Path, tmp_path: Path
) -> None:
    config["state"] = str(small_disk / "state")
    config["events"] = {"kafka": {"bootstrap_servers": [silent_broker]}}
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("verdict", lambda: station.camera("infeed")["last_verdict"])
        with (small_disk / "somebody-elses").open("wb", buffering=0) as file:
            while _takes(file, bytes(4096)):
                pass
        station.until("fault", lambda: station.get("/readyz").status_code == 503)
        station.until("reason", lambda: "disk is full" in facts(station)["outbox"]["detail"])
        assert station.get("/livez").status_code == 200
        assert "\ninspector_outbox_writable 0.0\n" in station.get("/metrics").text
        judged = station.camera("infeed")["counters"]["judged"]
        station.until("verdicts", lambda: station.camera("infeed")["counters"]["judged"] > judged)
        assert station.terminate() == 0
        lost = next(
            line for line in station.log() if line["message"] == "events were lost at the stop"
        )
        assert lost["events"] > 0


def test_it_judges_on_while_its_disk_hangs_and_nothing_is_missing(
    config: dict[str, Any], real_disk: RealDisk, tmp_path: Path
) -> None:
    config["state"] = str(real_disk.at / "state")
    config["evidence"] = {"min_free_mb": 0, "per_minute": 6000}
    config["events"] = {"publish_verdicts": True}
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()

        def judged() -> int:
            return int(station.camera("infeed")["counters"]["judged"])

        def in_memory() -> int:
            return int(station.get("/api/status").json()["outbox"]["in_memory"])

        station.until("verdicts", lambda: judged() > 5)
        with real_disk.hanging():
            before = judged()
            station.until("verdicts all the same", lambda: judged() > before + 50, 30)
            station.until("events that wait", lambda: in_memory() > 50, 30)
            assert station.get("/livez").status_code == 200
            assert "inspector_outbox_events" in station.get("/metrics").text
        station.until("an empty memory", lambda: in_memory() < 20)
        assert station.terminate() == 0
    told = [row["event"]["data"] for row in outbox_events(station.file)]
    frames = [data["sequence"] for data in told if data.get("verdict")]
    assert sorted(set(frames)) == list(range(max(frames) + 1))


def _takes(file: Any, block: bytes) -> bool:
    try:
        return bool(file.write(block))
    except OSError:
        return False


def test_told_to_stop_while_it_starts_it_ends_at_once(
    config: dict[str, Any], tmp_path: Path
) -> None:
    for _ in range(10):
        with StationProcess(tmp_path, config) as station:
            station.until("start", lambda s=station: s._line("starting"))
            assert station.terminate() == 0
            messages = [line["message"] for line in station.log()]
        if "ready" not in messages:
            break  # else it was quicker than we were
    assert "ready" not in messages
    assert messages[-1] == "stopped before it was ready"


def test_workers_that_are_ended_with_the_station_are_no_lost_cameras(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """The service manager sends its signal to every process of the service."""
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("verdict", lambda: station.camera("infeed")["last_verdict"])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(station.process.pid)],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert children
        station.process.send_signal(signal.SIGTERM)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):  # it may have gone with the station
                os.kill(int(pid), signal.SIGTERM)
        assert station.process.wait(60) == 0
    assert _events(station, "list", "--json")
    assert _events(station, "list", "--type=camera.lost", "--json") == []


@pytest.mark.parametrize("fault", ["a file in the way", "an outbox of a later version"])
def test_a_state_folder_that_cannot_be_used_is_the_users_mistake(
    config: dict[str, Any], tmp_path: Path, fault: str
) -> None:
    if fault == "a file in the way":
        (tmp_path / "state").touch()
        said = f"the state folder {tmp_path / 'state'} cannot be made: File exists"
    else:
        (tmp_path / "state" / "outbox.db").mkdir(parents=True)
        said = f"the outbox {tmp_path / 'state' / 'outbox.db'} cannot be opened"
    with StationProcess(tmp_path, config) as station:
        assert station.process.wait(60) == 2
        last = station.log()[-1]["message"]
        assert last.startswith(f"inspector: {said}")


def test_a_second_station_on_the_state_folder_is_refused_and_the_first_goes_on(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as first:
        first.wait_ready()
        with StationProcess(tmp_path, config) as second:
            assert second.process.wait(60) == 1, "a process that hangs in a disk may go yet"
            said = second.log_path.read_text()
        assert f"in use by process {first.process.pid}: a second station cannot" in said
        assert "Traceback" not in said
        judged = first.camera("infeed")["counters"]["judged"]
        first.until("verdicts", lambda: first.camera("infeed")["counters"]["judged"] > judged)
        assert first.terminate() == 0


def test_secrets_are_nowhere(config: dict[str, Any], silent_broker: str, tmp_path: Path) -> None:
    """Not in the log, not in what is served, not in the arguments of any process."""
    secret = {name: f"hunter2-{name.lower()}" for name in ("CAM_P", "KAFKA_P", "KAFKA_U", "WEB_T")}
    config["cameras"]["away"] = {
        "source": {"kind": "rtsp", "url": f"rtsp://{silent_broker}/x", "open_timeout_s": 1},
        "credentials": {"username": "CAM_U", "password": "CAM_P"},
    }
    config["events"] = {
        "heartbeat_s": 1,
        "kafka": {
            "bootstrap_servers": [silent_broker],
            "security_protocol": "SASL_PLAINTEXT",
            "sasl": {"mechanism": "PLAIN", "username": "KAFKA_U", "password": "KAFKA_P"},
        },
    }
    config["web"] = {"listen": "127.0.0.1:0", "token": "WEB_T"}
    with StationProcess(tmp_path, config, env={**secret, "CAM_U": "operator"}) as station:
        station.wait_ready()
        headers = {"authorization": f"Bearer {secret['WEB_T']}"}

        def get(path: str) -> str:
            return station.get(path, headers=headers).text

        station.until("cause", lambda: '"lost"' in get("/api/cameras/away"))
        station.until("broker", lambda: '"connecting"' not in get("/api/status"))
        station.until("an event", lambda: "frame.rejected" in get("/api/events"))
        served = "".join(map(get, ("/readyz", "/api/status", "/api/events", "/metrics", "/")))
        arguments = _arguments_below(station.process.pid)
        assert station.terminate() == 0
    logged = station.log_path.read_text()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert "infeed" in served
    assert "inspector.capture.worker" in arguments
    assert b"frame.rejected" in kept
    for word in secret.values():
        assert word not in served + arguments + logged
        assert word.encode() not in kept


def _arguments_below(pid: int) -> str:
    """The command lines of a process and its children."""
    table = subprocess.run(
        ["ps", "-o", "args=", "--pid", str(pid), "--ppid", str(pid)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return table.stdout


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_events_that_the_broker_refuses_are_put_aside_told_and_sent_again_on_request(
    config: dict[str, Any], broker: Broker, topic_suffix: str, tmp_path: Path
) -> None:
    names = {"rejects": f"r-{topic_suffix}", "status": f"s-{topic_suffix}"}
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    admin.create_topics(
        {names["rejects"]: {"num_partitions": 1, "configs": {"max.message.bytes": "300"}}},
        wait_for_metadata=True,
    )
    config["events"] = {"kafka": {"bootstrap_servers": [broker.bootstrap]}, "topics": names}
    config["events"]["heartbeat_s"] = 1
    config["cameras"]["infeed"]["source"]["every_s"] = 0.2
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("parked events", lambda: "parked events" in facts(station))
        assert "inspector events parked" in facts(station)["parked events"]["detail"]
        assert station.get("/readyz").status_code == 200
        station.until("heartbeats", lambda: len(read_with_kcat(broker.bootstrap, names["status"])))
        assert station.terminate() == 0
    refused = _events(station, "parked", "--json")
    assert refused
    assert all("MessageSizeTooLarge" in row["reason"] for row in refused)
    resource = ConfigResource(ConfigResourceType.TOPIC, names["rejects"])
    resource.configs = {"max.message.bytes": "1000000"}
    admin.alter_configs([resource])
    admin.close()

    assert _events(station, "resend", "--parked", "--json") == [{"resent": len(refused)}]
    del config["cameras"]["infeed"]["source"]["loop"]
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()

        def sent() -> list[dict[str, Any]]:
            records = read_with_kcat(broker.bootstrap, names["rejects"])
            return [json.loads(record["payload"]) for record in records]

        wanted = {row["event"]["id"] for row in refused}
        station.until("them", lambda: wanted <= {event["id"] for event in sent()})
        assert "parked events" not in facts(station)
        assert station.terminate() == 0
    assert not any(event["data"]["replay"] for event in sent()), "they had never arrived"


def _events(station: StationProcess, *command: str) -> list[dict[str, Any]]:
    """What `inspector events` prints of a station that has ended."""
    done = subprocess.run(
        [sys.executable, "-m", "inspector.cli", "events", command[0], str(station.file),
         *command[1:]],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]
