"""Rules of the project as a whole: who imports whom, what is shipped, links that lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inspector"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

STAGES = {"capture", "engine", "decision", "events", "evidence", "line", "web"}
"""Stages of a frame's way; the station connects them, they do not know one another."""
VALUES = {"addresses", "errors", "frame", "slots", "verdict"}
"""Modules that flow through all stages and know none of them."""
UPPER = {
    "station", "signaller", "fleet", "cli", "doctor", "bench", "ruling", "camera_events", "reload",
    "lineup", "journal", "handover", "engine_room", "choices", "upgrades", "triggers", "signalling",
    "facts", "heartbeat", "viewing", "marks", "labelled",
}  # fmt: skip
"""What lies above the stages: nothing below imports it."""
BELOW_STAGES = VALUES | {"config", "observe"}
RUNTIMES = {
    "openvino": {"inspector/engine/openvino.py"},
    "tensorrt": {
        "inspector/engine/nvidia/device.py",
        "inspector/engine/nvidia/probe.py",
        "inspector/engine/plans/compiler.py",
    },
    "pycuda": {"inspector/engine/nvidia/device.py", "inspector/engine/nvidia/probe.py"},
}


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, or would know if they were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, typing_too: bool = True) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {id(inner) for part in node.body for inner in ast.walk(part)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def parts_of(imports: set[str]) -> set[str]:
    """Names below `inspector` that a set of imports reaches."""
    return {name.split(".")[1] for name in imports if name.startswith("inspector.")}


# --- imports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_do_not_import_each_other(stage):
    for path in (PACKAGE / stage).rglob("*.py"):
        others = parts_of(imports_of(path)) & (STAGES - {stage})
        assert not others, f"{path.relative_to(ROOT)} imports {sorted(others)}"


@pytest.mark.parametrize("part", sorted(STAGES | BELOW_STAGES))
def test_nothing_below_the_station_imports_upwards(part):
    single = PACKAGE / f"{part}.py"
    for path in [single] if single.is_file() else (PACKAGE / part).rglob("*.py"):
        upwards = parts_of(imports_of(path)) & UPPER
        assert not upwards, f"{path.relative_to(ROOT)} imports {sorted(upwards)}"


@pytest.mark.parametrize("part", sorted(BELOW_STAGES))
def test_values_and_configuration_know_no_stage(part):
    single = PACKAGE / f"{part}.py"
    allowed = VALUES | ({part} | {"config"} if part not in VALUES else set())
    for path in [single] if single.is_file() else (PACKAGE / part).rglob("*.py"):
        strange = parts_of(imports_of(path)) - allowed
        assert not strange, f"{path.relative_to(ROOT)} imports {sorted(strange)}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_serving_never_imports_training_or_tests(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"train", "tests", "torch"}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_runtime_is_imported_only_in_its_own_module(path):
    for name in imports_of(path, typing_too=False):
        own = RUNTIMES.get(name.split(".")[0])
        assert own is None or str(path.relative_to(ROOT)) in own, f"{name} belongs into {own}"


_IMPORT_ALL = """
import importlib, importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
for module in {modules!r}:
    importlib.import_module(module)
print("imported", len({modules!r}))
"""


@pytest.mark.parametrize(
    "blocked",
    [
        {"tensorrt", "pycuda", "torch", "lightning", "timm", "matplotlib"},
        {"tensorrt", "pycuda", "openvino"},
    ],
    ids=["without TensorRT and training", "without OpenVINO"],
)
def test_every_module_imports_on_a_bare_machine(blocked):
    own = {ROOT / path for name in blocked for path in RUNTIMES.get(name, ())}
    modules = [module_of(path) for path in SOURCES if path.name != "__main__.py"]
    modules = [name for name in modules if name not in {module_of(path) for path in own}]
    code = _IMPORT_ALL.format(blocked=blocked, modules=modules)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"imported {len(modules)}\n"


# --- shape of the code ----------------------------------------------------------------------------


def test_no_module_is_called_utils():
    vague = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [path for path in tracked("*.py") if path.stem in vague or path.parent.name in vague]


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_modules_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


# --- what is shipped ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "train.txt", "build.txt", "install.txt"])
def test_locks_have_hashes_and_name_no_host(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(--index|--extra-index|--find-links|-i |-f )", text, re.MULTILINE)
    pins = re.findall(r"^([A-Za-z0-9._-]+)==\S+.*\\$", text, re.MULTILINE)
    named = re.findall(r"^[A-Za-z0-9]\S*", text, re.MULTILINE)
    assert len(pins) == len(named) > (0 if name in {"build.txt", "install.txt"} else 20)
    assert text.count("--hash=sha256:") >= len(pins)


def test_locks_agree_with_one_another():
    def pins(name: str) -> dict[str, set[str]]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        found: dict[str, set[str]] = {}
        for package, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE):
            found.setdefault(package.lower(), set()).add(version)
        return found

    every = pins("dev.txt")
    for name in ("run.txt", "train.txt", "build.txt"):
        for package, versions in pins(name).items():
            assert versions <= every[package], f"{name}: {package} {versions}"


def test_locks_hold_every_direct_requirement():
    text = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8").lower()
    for requirement in SETTINGS["project"]["dependencies"]:
        package = re.match(r"[A-Za-z0-9-]+", requirement)[0].lower()
        assert f"\n{package}==" in f"\n{text}", package


def test_the_wheel_is_built_by_what_the_lock_says():
    text = (ROOT / "requirements" / "build.txt").read_text(encoding="utf-8")
    for requirement in SETTINGS["build-system"]["requires"]:
        assert f"\n{requirement} \\\n" in f"\n{text}"
    assert set(SETTINGS["build-system"]["requires"]) <= set(SETTINGS["dependency-groups"]["build"])


def test_every_ruff_rule_switched_off_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    rules = re.findall(r'^    "([A-Z]+[0-9]*)",(.*)$', text, re.MULTILINE)
    assert len(rules) > 10
    assert not [rule for rule, rest in rules if not rest.strip().startswith("# ")]


TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", ".json", ".html", ".js", ".css", ""}


def test_no_file_names_a_place_of_a_developers_machine():
    # Written in two halves, so that this file does not find itself.
    strange = re.compile(
        "|".join(["/wo" + "rk/", "/ho" + "me/[a-z]", r"\.\./sha" + "red", "/Us" + "ers/[a-z]"])
    )
    found = []
    for path in tracked():
        if path.suffix not in TEXT or path.stat().st_size > 2_000_000:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in strange.finditer(text)]
    assert not found


def test_no_merge_is_left_half_done():
    marker = re.compile(r"^(<{7} |>{7} |={7}$)", re.MULTILINE)
    texts = [path for path in tracked() if path.suffix in TEXT]
    assert texts
    assert [path for path in texts if marker.search(path.read_text(encoding="utf-8"))] == []


def test_scripts_can_be_run():
    for name in (".ci/run",):
        assert os.access(ROOT / name, os.X_OK), name


# --- documents ------------------------------------------------------------------------------------

PAGES = tracked("*.md")


def _links(text: str) -> list[str]:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return targets + re.findall(r'(?:src|href)="([^"]+)"', text)


def _anchors(text: str) -> set[str]:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(plain)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in _links(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {link}"
        assert path.is_relative_to(ROOT), f"{page.name}: {link}"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path.read_text(encoding="utf-8")), f"{page.name}: {link}"


def _shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_commands_of_the_readme_exist():
    from inspector import cli

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = _shell_lines(ROOT / "README.md")
    targets = [hit for line in lines for hit in re.findall(r"^make ([a-z-]+)", line)]
    commands = [hit for line in lines for hit in re.findall(r"\binspector ([a-z-]+)", line)]
    assert {"run", "test"} <= set(targets)
    assert len(set(commands)) >= 4
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for command in commands:
        assert command in cli._COMMANDS, f"inspector {command}"


def test_readme_begins_with_what_it_is_a_picture_and_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    opening = text.split("\n## ")[0]
    assert re.search(r"!\[[^\]]+\]\(docs/images/[^)]+\)|<img ", opening)
    assert _shell_lines(ROOT / "README.md")[:2] == ["make run", "make test"]


def test_makefile_help_names_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    assert phony == explained
