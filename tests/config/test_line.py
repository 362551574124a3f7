"""The line section: its defaults, its blocks, and what is refused with line and key."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.faults import StationFileError, dotted
from inspector.config.load import load_station
from inspector.line.registers import Layout

if TYPE_CHECKING:
    from pathlib import Path

CAMERAS = """\
version: 1
station: line-1
cameras:
  a: {source: {kind: pattern}, camera_delay_ms: 100}
  b: {source: {kind: pattern}}
"""


def loaded(folder: Path, line: str) -> Any:
    path = folder / "station.yaml"
    path.write_text(CAMERAS + dedent(line), encoding="utf-8")
    return load_station(path)


def refused(folder: Path, line: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(StationFileError) as caught:
        loaded(folder, line)
    return [(fault.line, dotted(fault.key), fault.problem) for fault in caught.value.faults]


def test_only_the_host_is_needed(tmp_path: Path) -> None:
    station = loaded(tmp_path, "line: {modbus: {host: plc-7.plant}}\n")
    line = station.line
    assert (line.modbus.port, line.modbus.unit, line.fail_safe) == (502, 1, "reject")
    assert {name: camera.trigger for name, camera in line.signalled(station.cameras).items()} == {
        "a": "plc",
        "b": "plc",
    }
    layout = Layout.of(line, station.cameras)
    assert (layout.station, layout.plc, layout.cameras) == (0, 16, {"a": 32, "b": 64})
    assert (layout.status("b"), layout.answer("b"), layout.control("b")) == (64, 65, 80)
    assert layout.length == 84


def test_blocks_are_in_the_order_of_the_lines_own_cameras(tmp_path: Path) -> None:
    station = loaded(
        tmp_path, "line: {modbus: {host: h, cameras_at: 100}, cameras: {b: {}, a: {at: 40}}}\n"
    )
    assert station.line.places(station.cameras) == {"b": 100, "a": 40}


def test_what_does_not_fit_together_is_told_at_its_place(tmp_path: Path) -> None:
    problem = (
        "deadline_ms less reserve_ms (95) must be more than the camera's camera_delay_ms (100), "
        "or every answer is `no result`"
    )
    faults = refused(
        tmp_path,
        """\
        line:
          modbus: {host: h, plc_at: 3}
          cameras:
            b: {at: 20}
            nix: {}
            a:
              deadline_ms: 110
        """,
    )
    assert faults == [
        (7, "line.modbus.plc_at", "the PLC's block (3 to 4) overlaps the station's block (0 to 4)"),
        (10, "line.cameras.nix", "no camera is called nix; there are a, b"),
        (11, "line.cameras.a", problem),
    ]


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("{modbus: {}}", "line.modbus.host", "missing; expected host name or address of the PLC"),
        ("{modbus: {host: 'a b'}}", "line.modbus.host", "expected a host name or address"),
        ("{modbus: {host: h, poll_ms: 0}}", "line.modbus.poll_ms", "at least 1"),
        ("{modbus: {host: h, unit: 256}}", "line.modbus.unit", "at most 255"),
        ("{modbus: {host: h, word_order: big}}", "line.modbus.word_order", "high_first"),
        ("{modbus: {host: h}, fail_safe: go}", "line.fail_safe", 'expected "reject" or "stop"'),
        ("{modbus: {host: h}, cameras: {}}", "line.cameras", "at least 1 entry"),
        (
            "{modbus: {host: h}, cameras: {b: {deadline_ms: 10}}}",
            "line.cameras.b",
            "reserve_ms (15) must be less than deadline_ms (10)",
        ),
        (
            "{modbus: {host: h}, cameras: {b: {count_parts: true}}}",
            "line.cameras.b",
            "count_parts is for trigger frames",
        ),
        (
            "{modbus: {host: h, cameras_at: 65500}}",
            "line.modbus.cameras_at",
            "the block of camera b reaches to register 65551, the last is 65535",
        ),
        (
            "{modbus: {host: h}, cameras: {a: {}, b: {at: 51}}}",
            "line.cameras.b.at",
            "the block of camera b (51 to 70) overlaps the block of camera a (32 to 51)",
        ),
        ("{modbus: {host: h}, cameras: {b: {triger: api}}}", "line.cameras.b.triger", "trigger"),
    ],
)
def test_refusals(tmp_path: Path, line: str, key: str, words: str) -> None:
    faults = refused(tmp_path, f"line: {line}\n")
    assert [fault[1] for fault in faults] == [key]
    assert faults[0][0] == 6
    assert words in faults[0][2]


def test_a_camera_delay_is_no_matter_where_frames_are_the_parts(tmp_path: Path) -> None:
    camera = "{trigger: frames, deadline_ms: 50}"
    loaded(tmp_path, f"line: {{modbus: {{host: h}}, cameras: {{a: {camera}}}}}\n")
