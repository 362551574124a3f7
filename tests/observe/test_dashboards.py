"""The dashboard for Grafana: whole, and without anything that holds on one machine only."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.observe.named_metrics import DASHBOARD, expressions_of_dashboard

GRAFANA = Path(__file__).parents[2] / "configs" / "grafana"
BOARD = json.loads(DASHBOARD.read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SINCE_GRAFANA_10_3 = 39
"""Of `schemaVersion`; later versions bring it up to date themselves."""


def test_it_is_a_dashboard_of_a_version_that_grafana_takes():
    assert BOARD["schemaVersion"] == SINCE_GRAFANA_10_3
    assert "id" not in BOARD, "a number of one Grafana's own"
    assert re.fullmatch(r"[a-z0-9-]{1,40}", BOARD["uid"])
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_query_goes_to_the_datasource_that_the_reader_chose():
    found = []

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("datasource"), dict):
                found.append((value["datasource"]["type"], value["datasource"]["uid"]))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(BOARD)
    own = ("grafana", "-- Grafana --")
    assert set(found) - {own} == {("prometheus", "${datasource}")}
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables) == {"datasource", "line", "station", "camera"}


def test_it_names_no_host():
    text = DASHBOARD.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b|localhost", text)


def test_variables_that_queries_use_are_there():
    used = set(re.findall(r"\$\{?([a-z]\w*)", " ".join(expressions_of_dashboard())))
    assert used <= {variable["name"] for variable in BOARD["templating"]["list"]}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_can_be_drawn(panel):
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    assert panel["type"] in {"stat", "timeseries", "state-timeline", "table"}
    refs = [target["refId"] for target in panel["targets"]]
    assert refs
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert "$station" in target["expr"]
        for opening, closing in ("()", "[]", "{}"):
            assert target["expr"].count(opening) == target["expr"].count(closing)


def test_panels_do_not_lie_upon_one_another():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in rows}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_provisioning_leads_to_it():
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/inspector.yml").read_text())
    assert [one["type"] for one in provider["providers"]] == ["file"]
