"""What was activated, over a restart and over damage to its file."""

from __future__ import annotations

import pytest

from inspector.choices import FILE, Choice, Choices

CHOICE = Choice("second", "first", "first", "2026-11-24T10:00:00.000+00:00")


def test_a_choice_is_there_after_a_restart(tmp_path):
    Choices(tmp_path).put("screen", CHOICE)
    later = Choices(tmp_path)
    assert later.get("screen", "first") == CHOICE
    assert later.get("confirm", "first") is None
    later.put("confirm", CHOICE)
    later.put("screen", None)
    assert Choices(tmp_path).get("screen", "first") is None
    assert Choices(tmp_path).get("confirm", "first") == CHOICE
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_station_file_that_names_another_engine_has_decided_anew(tmp_path):
    choices = Choices(tmp_path)
    choices.put("screen", CHOICE)
    assert choices.get("screen", "third") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"screen": 3}', '{"screen": {"name": "x"}}'])
def test_a_damaged_file_is_no_choice_and_is_replaced_by_the_next(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    choices = Choices(tmp_path)
    assert choices.get("screen", "first") is None
    choices.put("screen", CHOICE)
    assert choices.get("screen", "first") == CHOICE


def test_a_folder_that_takes_no_file_is_told(tmp_path):
    choices = Choices(tmp_path / "none")
    with pytest.raises(OSError, match="No such file or directory"):
        choices.put("screen", CHOICE)
    assert choices.get("screen", "first") == CHOICE, "it judges, and can be rolled back"
