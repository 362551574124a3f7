"""Reads a unit file as systemd does, as far as the stand-in obeys it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "inspector@.service"
LINE_UNIT = ROOT / "systemd" / "inspector-line@.service"
FLEET_UNIT = ROOT / "systemd" / "inspector-fleet@.service"

_SPANS = {"": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0, "us": 1e-6}


@dataclass(frozen=True)
class Unit:
    """The settings of one instance of a unit file, by section and name.

    A setting that comes more than once has all its values; an empty value forgets those before it.
    """

    settings: dict[tuple[str, str], list[str]]

    @classmethod
    def read(cls, path: Path, instance: str, *drop_ins: str) -> Unit:
        """The unit file, and after it the texts of drop-ins."""
        found: dict[tuple[str, str], list[str]] = {}
        for text in (path.read_text(encoding="utf-8"), *drop_ins):
            section = ""
            for line in re.sub(r"\\\n", " ", text).splitlines():
                if not line.strip() or line.startswith(("#", ";")):
                    continue
                if line.startswith("["):
                    section = line.strip("[] ")
                    continue
                name, value = (part.strip() for part in line.split("=", 1))
                value = value.replace("%i", instance).replace("%S", "/var/lib")
                values = found.setdefault((section, name), [])
                if value:
                    values.append(value)
                else:
                    values.clear()
        return cls(found)

    def all(self, name: str, section: str = "Service") -> list[str]:
        """Every value of a setting."""
        return self.settings.get((section, name), [])

    def one(self, name: str, default: str = "", section: str = "Service") -> str:
        """The last value of a setting, which counts."""
        return ([default, *self.all(name, section)])[-1]

    def seconds(self, name: str) -> float:
        """A span of time; a number alone is seconds."""
        value, unit = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", self.one(name)).groups()
        return float(value) * _SPANS[unit]

    def statuses(self, name: str) -> set[int]:
        """Exit statuses."""
        return {int(word) for value in self.all(name) for word in value.split()}

    def command(self, name: str) -> list[str]:
        """A command line as words."""
        return shlex.split(self.one(name))
