"""Where engines are found: in the station's own folder first, then among those that are shipped."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from inspector.cli import status_of
from inspector.engine.folders import (
    engine_asked,
    engine_names,
    engines_of,
    find_engine,
    shipped_engines_folder,
)
from inspector.errors import EngineFolderError, UserError
from tests.engine import tiny_engine
from tests.rights import only_as_the_mode_says


@pytest.fixture
def failing_disk(monkeypatch):
    """Makes files fail with EIO when they are looked at."""
    bad = set()
    real = os.stat

    def call(path, *args, **options):
        if str(path) in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", call)
    return lambda *paths: bad.update(map(str, paths))


def test_engines_are_found_by_name(engines, tmp_path):
    assert engine_names(engines) == ["tiny"]
    assert find_engine("tiny", engines) == engines / "tiny"
    with pytest.raises(UserError, match=r"no engine giant in .*; there: .*tiny"):
        find_engine("giant", engines)
    with pytest.raises(UserError, match="no folder of engines at"):
        engine_names(tmp_path / "nowhere")


def test_what_this_user_may_not_look_at_is_told_apart_from_no_engine(tiny, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    tiny.chmod(0)
    with only_as_the_mode_says():
        for folder in (closed, closed / "engines"):
            with pytest.raises(UserError, match=f"{folder} cannot be looked at: Permission denied"):
                engine_names(folder)
        assert engine_names(tiny.parent) == []  # as of lost+found, where a disk holds the engines
    tiny.chmod(0o755)


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir], ids=["not there", "empty"])
def test_a_folder_of_engines_whose_disk_is_not_mounted(tmp_path, make):
    folder = tmp_path / "engines"
    make(folder)
    with pytest.raises(EngineFolderError, match=f"{folder}.*; mount its disk, or give another"):
        find_engine("tiny", folder)


def test_a_file_in_place_of_the_folder_of_engines_is_a_mistake(tmp_path):
    (tmp_path / "engines").touch()
    with pytest.raises(UserError, match="no folder of engines") as told:
        find_engine("tiny", tmp_path / "engines")
    assert not isinstance(told.value, EngineFolderError)


def test_an_engine_of_which_the_disk_does_not_tell_is_not_missing(tiny, failing_disk):
    engines = tiny.parent
    tiny_engine.make(engines, name="other")
    failing_disk(engines / "tiny" / "manifest.yaml")
    assert find_engine("other", engines) == engines / "other"
    with pytest.raises(EngineFolderError, match=r"tiny.* cannot be looked at: Input/output error"):
        find_engine("tiny", engines)


def test_the_shipped_engines_lie_beside_the_checkout():
    folder = shipped_engines_folder()
    assert folder.name in {"engines", "_engines"}


# --- a station with engines of its own ----------------------------------------------------------


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package that ships `simplenet` and `tiny`."""
    folder = tmp_path / "shipped"
    for name in ("simplenet", "tiny"):
        tiny_engine.make(folder, name=name)
    monkeypatch.setattr("inspector.engine.folders.shipped_engines_folder", lambda: folder)
    return folder


@pytest.fixture
def own(tmp_path):
    """The station's own folder: `own`, and one that is called as a shipped one, `tiny`."""
    for name in ("own", "tiny"):
        tiny_engine.make(tmp_path / "mine", name=name)
    return tmp_path / "mine"


def test_the_shipped_engines_are_found_beside_the_stations_own(shipped, own):
    assert find_engine("own", own) == own / "own"
    assert find_engine("simplenet", own) == shipped / "simplenet"
    assert find_engine("tiny", own) == own / "tiny", "of one name, the station's own"
    assert find_engine("tiny") == shipped / "tiny"
    assert engines_of(own) == {
        "own": own / "own", "simplenet": shipped / "simplenet", "tiny": own / "tiny",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"no engine giant in .*; there: own, simplenet, tiny"):
        find_engine("giant", own)


def test_an_empty_folder_holds_no_engines_yet(shipped, tmp_path):
    (tmp_path / "new").mkdir()
    assert find_engine("simplenet", tmp_path / "new") == shipped / "simplenet"


def test_no_shipped_engine_is_taken_for_one_of_a_disk_that_is_not_there(shipped, own, tmp_path):
    with pytest.raises(EngineFolderError, match="mount its disk"):
        find_engine("simplenet", tmp_path / "not-mounted")
    (own / "simplenet").mkdir()  # half copied, or another disk's mount point
    with pytest.raises(UserError, match=rf"no engine simplenet in {own}"):
        find_engine("simplenet", own)


def test_a_shipped_engine_of_which_the_disk_does_not_tell_is_not_missing(
    shipped, own, failing_disk
):
    failing_disk(shipped / "simplenet" / "manifest.yaml")
    with pytest.raises(EngineFolderError, match=r"simplenet.*: Input/output error"):
        find_engine("simplenet", own)


def test_a_folder_that_a_person_names_is_the_only_one(shipped, own):
    with pytest.raises(UserError, match=rf"no engine simplenet in {own}; there: own, tiny"):
        engine_asked("simplenet", own)
    assert engine_asked("simplenet", None, own) == shipped / "simplenet"


@pytest.mark.parametrize("name", ["simplenet", "own"])
def test_the_commands_find_what_the_station_finds(shipped, own, tmp_path, name, capfd):
    file = tmp_path / "station.yaml"
    file.write_text(
        f"version: 1\nstation: a\nengine: {{folder: {own}, screen: {name}}}\n"
        f"state: {tmp_path / 'state'}\n"
        "cameras: {a: {source: {kind: pattern}}}\n"
    )
    assert status_of(["check", "--no-secrets", str(file)]) == 0
    assert "not there yet" not in capfd.readouterr().out
    status_of(["engines", "list", "--station", str(file)])
    told = "".join(capfd.readouterr().out.split())  # a narrow terminal breaks the lines
    assert str(own) in told
    assert str(shipped) in told
    assert all(one in told for one in ("own", "simplenet", "tiny"))
    assert status_of(["engines", "verify", name, "--station", str(file)]) == 0
    build = ["engines", "build", name, "--runtime", "openvino", "--station"]
    assert status_of([*build, str(file)]) == 0
