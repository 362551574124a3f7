"""The engine room: what it remembers of who judges, and an engine that cannot be opened."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from inspector.config.station import Engine as Section
from inspector.engine import occupying
from inspector.engine.occupant import Occupant
from inspector.engine_room import EngineRoom
from inspector.errors import (
    EngineError,
    EngineFolderError,
    EngineLostError,
    EngineUnreadableError,
    InspectorError,
    NoRuntimeError,
    UserError,
)
from inspector.journal import Journal
from tests.engine import tiny_engine
from tests.engine.fakes import engine_of
from tests.engine.test_process import until
from tests.engine.test_seat import LosableRuntime


@pytest.fixture
def home(tmp_path):
    return tiny_engine.make(tmp_path, "tiny", sampling={"count": 1})


@pytest.fixture
def room_of(home, tmp_path, monkeypatch):
    """Makes rooms of one state folder; `on_open` is called with the name of what is opened."""
    made = []
    runtimes = {}

    def make(on_open=lambda name: None):
        def open_best(name, *_args, **_options):
            on_open(name)
            runtimes[name] = LosableRuntime(name)
            return Occupant(engine_of(home, runtimes[name], count=1), revive=_never)

        monkeypatch.setattr("inspector.engine_room.open_best", open_best)
        monkeypatch.setattr("inspector.engine_room.find_engine", lambda name, _: name)
        state = tmp_path / "state"
        state.mkdir(exist_ok=True)
        config = SimpleNamespace(engine=Section(screen="a"), cameras={})
        made.append(EngineRoom(lambda: config, state, Journal(state)))
        list(made[-1].load(lambda _: None))
        return made[-1], runtimes

    yield make
    for room in made:
        room.close()


def _never():
    raise EngineError("not yet")


def test_what_is_activated_while_the_one_before_is_lost_is_what_a_restart_finds(room_of):
    """To load the third takes the memory of the second; the seat goes back to the first itself."""
    runtimes = {}

    def on_open(name):
        if name == "c" and "b" in runtimes:
            runtimes["b"].lose("out of memory")

    room, opened = room_of(on_open)
    runtimes = opened
    assert room.activate("b", "screen", "test").word == "activated"
    assert room.activate("c", "screen", "test").word == "activated"
    until(lambda: any(e["engine"] == "rolled back" for e in room._journal.newest(9)))
    assert room.judging.name == "c"
    assert room.status()["screen"]["folder"] == "c"
    runtimes = {}
    again, _ = room_of(lambda _: None)
    assert again.judging.name == "c"
    assert again.roll_back("screen", "test").word == "rolled back"
    assert again.status()["screen"]["folder"] == "a", "and not the one that was lost"


def test_an_engine_that_goes_back_by_itself_is_what_a_restart_finds(room_of):
    room, runtimes = room_of()
    room.activate("b", "screen", "test")
    runtimes["b"].lose("it was killed")
    assert room.status()["screen"]["folder"] == "a"
    until(lambda: any(e["engine"] == "rolled back" for e in room._journal.newest(9)))
    again, _ = room_of()
    assert again.judging.name == "a"


@pytest.mark.parametrize(
    ("fault", "passes"),
    [
        (EngineUnreadableError("cannot read model.onnx: Input/output error"), True),
        (EngineFolderError("no folder of engines"), True),
        (EngineError("another digest"), False),
        (UserError("no engine a"), False),
    ],
)
def test_a_disk_that_may_come_back_is_no_mistake_of_the_users(room_of, fault, passes):
    """The service manager starts again what ended by no mistake."""

    def on_open(_name):
        raise fault

    says = f"the station cannot serve yet: {fault}" if passes else str(fault)
    with pytest.raises(InspectorError, match=says) as told:
        room_of(on_open)
    assert isinstance(told.value, UserError) is not passes


@pytest.mark.parametrize("fallback", ["openvino", "none"])
def test_a_process_that_is_lost_while_it_is_opened_is_no_mistake_of_the_users(
    home, monkeypatch, fallback
):
    def lost(*_):
        raise EngineLostError("no sign of life")

    monkeypatch.setattr(occupying, "open_engine", lost)
    asked = Section(own_process=True, fallback=fallback, folder=home.parent, runtime="openvino")
    if fallback == "none":
        with pytest.raises(NoRuntimeError, match="no sign of life"):
            occupying.open_occupant(home.name, asked)
        return
    occupant = occupying.open_occupant(home.name, asked)
    assert occupant.lost == "no sign of life"
    assert occupant.stand_in(occupant.lost) is not None
    assert len(list(occupant.runtimes())) == 1
    occupant.engine.close()
