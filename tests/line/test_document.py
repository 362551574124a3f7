"""docs/line.md tells the register map as it is: every field at its place, every code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from inspector.config.line import CAMERA_STEP, Line
from inspector.line.registers import (
    ANSWER_AT,
    CONTROL_AT,
    LABEL_CODES,
    Answer,
    Control,
    PlcBlock,
    Result,
    Safe,
    StationBlock,
    Status,
)

PAGE = (Path(__file__).parents[2] / "docs" / "line.md").read_text(encoding="utf-8")


def rows(after: str) -> list[list[str]]:
    """The cells of the first table after a text."""
    table = re.search(r"\n\| (?:.+\n)+", PAGE[PAGE.index(after) - 1 :])
    assert table
    lines = table[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def offsets(block: object, field: str, value: object, at: int) -> list[int]:
    """Where a field shows among a block's registers."""
    before, now = block.encode(), replace(block, **{field: value}).encode()
    return [at + i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b]


def told(after: str) -> list[tuple[list[int], str, str]]:
    """Offsets, name and values of each row."""
    return [
        ([int(n) for n in re.findall(r"\d+", row[0])], row[1].strip("`"), row[2])
        for row in rows(after)
    ]


BIG = 0x1_0001  # shows in both words


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            "**The station's block**",
            [
                ("layout", [(StationBlock(), "layout", 2, 0)]),
                ("heartbeat", [(StationBlock(), "heartbeat", 2, 0)]),
                ("status", [(StationBlock(), "serving", True, 0)]),
                ("safe", [(StationBlock(), "safe", Safe.STOP, 0)]),
                ("cameras", [(StationBlock(), "cameras", 2, 0)]),
            ],
        ),
        (
            "**The PLC's block**",
            [
                ("heartbeat", [(PlcBlock(), "heartbeat", 2, 0)]),
                ("bits", [(PlcBlock(), "reset", True, 0)]),
            ],
        ),
        (
            "**A camera's block**",
            [
                ("status", [(Status(), "ready", True, 0)]),
                ("sequence", [(Answer(), "sequence", 2, ANSWER_AT)]),
                ("result", [(Answer(), "result", Result.REJECT, ANSWER_AT)]),
                ("label", [(Answer(), "label", 2, ANSWER_AT)]),
                ("confidence", [(Answer(), "confidence", 2, ANSWER_AT)]),
                ("part", [(Answer(), "part", BIG, ANSWER_AT)]),
                ("elapsed_ms", [(Answer(), "elapsed_ms", 2, ANSWER_AT)]),
                ("control", [(Control(), "trigger", True, CONTROL_AT)]),
                ("part", [(Control(), "part", BIG, CONTROL_AT)]),
                ("sequence", [(Control(), "sequence", 2, CONTROL_AT)]),
            ],
        ),
    ],
)
def test_each_field_is_where_the_page_says(after, expected):
    found = [(name, places) for places, name, _ in told(after)]
    assert found == [(name, offsets(*spec)) for name, (spec,) in expected]


@pytest.mark.parametrize(
    ("after", "name", "block", "words"),
    [
        ("**The station's block**", "status", StationBlock, "serving degraded observing fault"),
        ("**The PLC's block**", "bits", PlcBlock, "running reset"),
        ("**A camera's block**", "status", Status, "ready busy valid fault"),
        ("**A camera's block**", "control", Control, "trigger acknowledge reset"),
    ],
)
def test_each_bit_is_where_the_page_says(after, name, block, words):
    (values,) = [values for _, row, values in told(after) if row == name]
    for bit, word in re.findall(r"bit (\d) (\w+)", values):
        (place,) = offsets(block(), word, True, 0)
        assert block(**{word: True}).encode()[place] == 1 << int(bit)
    assert [word for _, word in re.findall(r"bit (\d) (\w+)", values)] == words.split()


def test_each_code_is_the_one_that_the_page_says():
    results = {int(row[0].strip("| ")): row[1].replace(" ", "_") for row in rows("| result |")}
    assert results == {int(result): result.word for result in Result}
    labels = {re.match(r"\W*`(\w+)`", row[0])[1]: int(row[1]) for row in rows("| label |")}
    assert labels == LABEL_CODES
    (safe,) = [values for _, name, values in told("**The station's block**") if name == "safe"]
    assert [int(code) for code in re.findall(r"\d", safe)] == [int(each) for each in Safe]


def test_the_default_addresses_are_those_of_the_page():
    at = Line.model_validate({"modbus": {"host": "plc"}}).modbus
    assert f"**The station's block**, from {at.station_at}," in PAGE
    assert f"**The PLC's block**, from {at.plc_at}," in PAGE
    assert f"the first from {at.cameras_at}, the next {CAMERA_STEP} further each" in PAGE


def test_the_part_in_numbers_is_what_the_wire_holds():
    registers = dict.fromkeys(range(32, 52), 0)

    def block(first: int, count: int) -> list[int]:
        return [registers[32 + first + i] for i in range(count)]

    seen = []
    for _, who, writes, _ in rows("**One part in numbers**"):
        registers |= {int(at): int(value) for at, value in re.findall(r"(\d+) = (\d+)", writes)}
        status, control = Status.decode(block(0, 1)), Control.decode(block(CONTROL_AT, 4))
        seen.append((who, status if who == "station" else control))
    answer = Answer.decode(block(ANSWER_AT, 7))
    assert answer == Answer(18, Result.REJECT, LABEL_CODES["gblur"], 981, 4711, 143)
    assert seen == [
        ("station", Status(ready=True)),
        ("PLC", Control(part=4711)),
        ("PLC", Control(trigger=True, part=4711)),
        ("station", Status(busy=True)),
        ("station", Status(busy=True)),
        ("station", Status(valid=True)),
        ("PLC", Control(acknowledge=True, part=4711, sequence=18)),
        ("station", Status()),
        ("PLC", Control(part=4711, sequence=18)),
        ("station", Status(ready=True)),
    ]
