"""Whatever a station file holds, it loads or is refused in words: never a trace."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.config.faults import StationFileError
from inspector.config.load import load_station
from inspector.config.station import Station

GOOD = {
    "version": 1,
    "station": "line-1",
    "cameras": {
        "a": {"source": {"kind": "pattern", "faults": [{"label": "wn", "from_s": 1, "to_s": 2}]}},
        "b": {
            "source": {"kind": "rtsp", "url": "rtsp://10.0.0.1/", "tls": {}},
            "credentials": {"username": "U", "password": "P"},
            "region": {"x": 0, "y": 0, "width": 9, "height": 9},
            "policy": "p",
        },
    },
    "policies": {"p": {"reject": ["wn"], "needed": 1}},
    "events": {"kafka": {"bootstrap_servers": ["b:1"]}, "topics": {"rejects": "r"}},
    "web": {"listen": "127.0.0.1:0"},
}
KEYS = sorted({*Station.model_fields, "a", "b", "p", "kind", "url", "source", "policy", "tls", "?"})

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["pattern", "rtsp", "all", "default", "", "127.0.0.1:99999", "[::]:1"])
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)


def _load(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "station.yaml"
        path.write_bytes(content)
        faults: list[str] = ["none"]
        try:
            load_station(path)
        except StationFileError as error:
            faults = [fault.problem for fault in error.faults]
    assert faults
    assert all(faults)


def _places(value, at=()):
    yield at
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _places(child, (*at, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _places(child, (*at, index))


def _with(value, at, new):
    if not at:
        return new
    key, *rest = at
    if isinstance(value, dict):
        return {**value, key: _with(value[key], rest, new)}
    return [*value[:key], _with(value[key], rest, new), *value[key + 1 :]]


def test_the_starting_point_is_good(tmp_path):
    path = tmp_path / "station.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert load_station(path).policy_of("b").needed == 1


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(list(_places(GOOD))), new=values)
def test_any_value_at_any_place(place, new):
    _load(yaml.safe_dump(_with(GOOD, place, new), allow_unicode=True).encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(content):
    _load(content)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%@ \n\t<?1.", max_size=60))
def test_any_text_of_yamls_own_signs(text):
    _load(text.encode())
