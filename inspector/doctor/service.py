"""The service: the systemd unit of a station that is installed, and the secrets that it is given.

Files alone are read, so that it works where no systemd runs; where one does, it is asked how the
unit fares.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.config.secrets import names_of
from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inspector.config.station import Station

CONFIG = Path("/etc/inspector")
SECRETS = CONFIG / "secrets"
TEMPLATE = "inspector@.service"
_UNIT_FOLDERS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
"""Where systemd looks for units, the first one wins."""
_OTHERS = 0o077
_ASK_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit with its drop-ins.

    Attributes:
        path: of the unit's own file.
        settings: the values of each key, in the order in which they are written.
    """

    path: Path
    settings: Mapping[str, list[str]] = field(default_factory=dict)

    def last(self, key: str) -> str:
        """The value that holds of a key that has one; empty without any."""
        return next(reversed(self.settings.get(key, ())), "")


def check_service(station: Station, file: Path, root: Path = Path("/")) -> Iterator[Finding]:
    """Look at the unit that would run this station file, if one is installed.

    Args:
        station: what the file says.
        file: the station file.
        root: where the box's files begin.
    """
    path = file.absolute()
    name = path.stem
    unit = _unit(root, name)
    if unit is None:
        found = f"no unit {TEMPLATE} on this box: the station runs while somebody has started it"
        remedy = "make install, for one that starts with the box"
        yield Finding("service", "unit", Grade.NOTE, found, remedy=remedy)
        return
    if path != _below(root, CONFIG / f"{name}.yaml"):
        found = f"{unit.path} runs {CONFIG}/NAME.yaml, and this file is elsewhere"
        yield Finding("service", "unit", Grade.NOTE, found)
        return
    yield _standing(unit, name, root)
    yield from _parts(unit, root)
    yield from _secrets(unit, station, root)


def _unit(root: Path, name: str) -> Unit | None:
    names = (f"inspector@{name}.service", TEMPLATE)
    places = [root / folder / each for each in names for folder in _UNIT_FOLDERS]
    path = next((place for place in places if os.path.lexists(place)), None)
    if path is None:
        return None
    folders = [root / folder / f"{each}.d" for each in names for folder in _UNIT_FOLDERS]
    drop_ins = sorted(
        (f for folder in folders for f in folder.glob("*.conf")), key=lambda f: f.name
    )
    texts = [f.read_text(encoding="utf-8", errors="replace") for f in (path, *drop_ins)]
    return Unit(path, settings_in(texts))


def settings_in(texts: Iterable[str]) -> dict[str, list[str]]:
    r"""The settings of a unit and its drop-ins; an empty value takes back those before it. Pure.

    >>> settings_in(["[Service]\nUser=a\nLoadCredential=x", "LoadCredential=\nUser=b"])
    {'User': ['a', 'b'], 'LoadCredential': []}
    """
    settings: dict[str, list[str]] = {}
    for text in texts:
        for line in text.splitlines():
            key, equals, value = line.strip().partition("=")
            if not equals or key.startswith(("#", ";", "[")):
                continue
            values = settings.setdefault(key.strip(), [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()
    return settings


def _standing(unit: Unit, name: str, root: Path) -> Finding:
    service = f"inspector@{name}"
    expected = "enabled, and not failed"
    if unit.path.name == f"{service}.service" and unit.path.resolve() == Path("/dev/null"):
        found, remedy = f"{service} is masked: nothing starts it", f"systemctl unmask {service}"
        return Finding("service", "unit", Grade.MEND, found, expected, remedy)
    links = [f"etc/systemd/system/*.{how}/{service}.service" for how in ("wants", "requires")]
    if not any(any(root.glob(link)) for link in links):
        found = f"{service} is not enabled: it does not start with the box"
        remedy = f"systemctl enable --now {service}"
        return Finding("service", "unit", Grade.MEND, found, expected, remedy)
    return state_finding(service, _ask(service, root))


def _ask(service: str, root: Path) -> str:
    """What systemd says of the unit; nothing where none runs."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not (root / "run/systemd/system").is_dir():
        return ""
    command = [systemctl, "show", service, "--property=ActiveState,SubState,Result,NRestarts"]
    try:
        answer = subprocess.run(  # noqa: S603 - a name of ours
            command, capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def state_finding(service: str, told: str) -> Finding:
    """What `systemctl show` tells of an enabled unit. Pure."""
    said = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    state, expected = said.get("ActiveState", ""), "enabled, and not failed"
    if not state:
        found = f"{service} is enabled; systemd, which knows how it fares, does not run here"
        return Finding("service", "unit", Grade.GOOD, found, expected)
    restarts = int(said.get("NRestarts") or 0)
    again = f", started again {restarts} times" if restarts else ""
    found = f"{service} is enabled and {state} ({said.get('SubState', '')}){again}"
    facts = {"state": state, "restarts": restarts}
    if state == "failed" or said.get("SubState") == "auto-restart":
        found = f"{found}: {said.get('Result', '')}"
        remedy = f"journalctl -u {service} -e says why"
        return Finding("service", "unit", Grade.MEND, found, expected, remedy, facts)
    return Finding("service", "unit", Grade.GOOD, found, expected, "", facts)


def _parts(unit: Unit, root: Path) -> Iterator[Finding]:
    """What the unit needs before it can run anything."""
    command = unit.last("ExecStart").split(" ")[0].lstrip("@-:+!")
    if not os.access(_below(root, Path(command)), os.X_OK):
        found = f"{unit.path} starts {command}, which is not there"
        yield Finding("service", "program", Grade.MEND, found, "a program", "install it again")
    user = unit.last("User")
    try:
        pwd.getpwnam(user)
    except KeyError:
        found = f"there is no user {user}, as whom the station is to run"
        yield Finding("service", "user", Grade.MEND, found, "a user", "systemd-sysusers")


def _secrets(unit: Unit, station: Station, root: Path) -> Iterator[Finding]:
    wanted = names_of(station.model_dump(mode="json"))
    loaded = dict(entry.partition(":")[::2] for entry in unit.settings.get("LoadCredential", ()))
    home = Path(loaded.pop("secret", SECRETS))
    expected = "each secret in a file of its name, readable by root alone"
    if not (folder := _below(root, home)).is_dir():
        found = f"{home} is not there, and the unit does not start without it"
        remedy = f"install -d -m 700 {home}"
        yield Finding("service", "secrets", Grade.MEND, found, expected, remedy)
        return
    if wanted and not _may_list(folder):
        found = f"{home} is for root alone, so its {len(wanted)} secrets were not looked at"
        yield Finding("service", "secrets", Grade.NOTE, found, expected, "run the doctor as root")
        return
    # What a drop-in takes from elsewhere goes before the folder.
    places = {name: Path(loaded.get(name) or home / name) for name in wanted}
    found_wrong = {name: _fault(_below(root, place)) for name, place in places.items()}
    faults = [f"{name}: {places[name]} {why}" for name, why in found_wrong.items() if why]
    if faults:
        remedy = f"install -m 600 /dev/stdin {home}/NAME, and restart the service"
        yield Finding("service", "secrets", Grade.MEND, "; ".join(faults), expected, remedy)
    elif wanted:
        found = f"{len(wanted)} secrets for the service: {', '.join(wanted)}"
        yield Finding("service", "secrets", Grade.GOOD, found, expected)


def _may_list(folder: Path) -> bool:
    try:
        os.scandir(folder).close()
    except OSError:
        return False
    return True


def _below(root: Path, place: Path) -> Path:
    return root / place.relative_to("/") if place.is_absolute() else root / place


def _fault(place: Path) -> str | None:
    """Why a file is no secret that the service gets, or not a secret any more."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return "is a link, which systemd passes over"
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if not status.st_size:
        return "is empty"
    if status.st_mode & _OTHERS:
        return f"may be read by others than root (mode {status.st_mode & 0o777:o})"
    return None
