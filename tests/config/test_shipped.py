"""The shipped station files, the schema, and the page that explains the keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from inspector.config.fleet import is_fleet_file, load_fleet
from inspector.config.load import is_signaller_file, load_signaller, load_station
from inspector.config.schema import signaller_schema, station_schema
from inspector.config.shipped import demo_file, shipped_configs

ROOT = Path(__file__).parents[2]
FILES = sorted(shipped_configs().glob("*.yaml"))
SIGNALLERS = [path for path in FILES if is_signaller_file(path)]
FLEETS = [path for path in FILES if is_fleet_file(path)]
SHIPPED = [path for path in FILES if path not in SIGNALLERS + FLEETS]


@pytest.fixture(scope="module")
def validator():
    schema = station_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_there_are_the_two_examples():
    assert {path.name for path in SHIPPED} >= {"demo.yaml", "station.yaml"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_station_file_loads(path):
    assert load_station(path).cameras


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_station_file_fits_the_schema(path, validator):
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_shipped_file_of_a_signaller_loads_and_fits_its_schema():
    (path,) = SIGNALLERS
    assert load_signaller(path).line.cameras
    schema = signaller_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_shipped_file_of_a_fleet_view_loads_and_its_comments_are_the_defaults(tmp_path):
    (path,) = FLEETS
    fleet = load_fleet(path)
    assert fleet.lines
    written_down = tmp_path / "fleet.yaml"
    keys = re.compile(r"^# (topics|look_back_days|quiet_after):", re.MULTILINE)
    text, count = keys.subn(r"\1:", path.read_text(encoding="utf-8"))
    assert count == 3
    written_down.write_text(text, encoding="utf-8")
    assert load_fleet(written_down) == fleet
    assert yaml.safe_load(text).keys() == type(fleet).model_fields.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"colour": "red"},
        {"station": "Line 1"},
        {"cameras": {}},
        {"cameras": {"a": {"source": {"kind": "tape"}}}},
        {"cameras": {"a": {"source": {"kind": "pattern", "fps": 0}}}},
        {"cameras": {"a": {"source": {"kind": "pattern"}, "slots": "6"}}},
    ],
    ids=str,
)
def test_schema_refuses_what_the_loader_refuses(change, validator):
    good = {"version": 1, "station": "line-1", "cameras": {"a": {"source": {"kind": "pattern"}}}}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **change})


def test_schema_explains_its_keys():
    schema = station_schema()
    assert schema["title"] == "Station file"
    slots = schema["$defs"]["Camera"]["properties"]["slots"]
    assert slots["description"] == "Pictures that may wait or be in work at once."


def test_demo_names_pictures_that_are_there():
    cameras = load_station(demo_file()).cameras
    assert {camera.source.kind for camera in cameras.values()} == {"video", "images", "pattern"}
    assert cameras["clip"].source.path.is_file()
    assert len(list(cameras["folder"].source.folder.glob("*.webp"))) >= 10


def test_notice_of_the_demo_names_every_picture():
    folder = demo_file().parent / "demo"
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    for picture in (folder / "pictures").iterdir():
        _, _, name = picture.stem.partition("-")
        subject = name.rpartition("-")[0]
        assert f"\n{subject}\n    author:" in notice, picture.name


def test_demo_is_small_enough_to_ship():
    folder = demo_file().parent / "demo"
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert total < 6_000_000


def test_page_of_the_keys_is_written_from_the_models():
    tool = ROOT / "tools" / "configuration_reference.py"
    done = subprocess.run(
        [sys.executable, tool, "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
