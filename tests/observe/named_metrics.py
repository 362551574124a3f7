"""The metrics that alert rules and dashboard name, and those of the line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "prometheus" / "inspector.rules.yml"
DASHBOARD = ROOT / "configs" / "grafana" / "dashboards" / "inspector-stations.json"

LINE_METRICS = {
    "inspector_signal_seconds",
    "inspector_signals_total",
    "inspector_signals_late_total",
    "inspector_signals_gave_way_total",
    "inspector_line_up",
    "inspector_line_faults_total",
    "inspector_line_safe",
}
"""What a station with a `line` section tells besides."""

SIGNALLER_METRICS = {
    "inspector_line_active",
    "inspector_line_old_total",
    "inspector_line_signals_total",
}
"""What `inspector line` alone tells."""


def expressions_of_rules() -> list[str]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    """Names that the rules make themselves."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def expressions_of_dashboard() -> list[str]:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    notes = [note["expr"] for note in board["annotations"]["list"] if "expr" in note]
    asked = [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    return targets + notes + asked


def metrics_in(expressions: list[str]) -> set[str]:
    """Names of metrics, labels' values apart."""
    bare = [re.sub(r'"[^"]*"', '""', expression) for expression in expressions]
    word = re.compile(r"\b(?:inspector_\w+|camera:\w+(?::\w+)?|process_\w+)\b")
    return {name for expression in bare for name in word.findall(expression)}
