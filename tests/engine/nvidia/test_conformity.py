"""What we use of TensorRT and PyCUDA is there, in the real libraries, with these arguments.

Twice: every name that our code mentions; and the simulated GPU that our code is tested on, which
has nothing that the real libraries lack.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.nvidia import libraries
from tests.engine.simulated_gpu import SITE

ROOT = Path(__file__).parents[3]
KEPT = Path(__file__).with_name("pycuda-2026.1.json")
"""What `describe` says of the real PyCUDA, which takes minutes to compile."""
IMPORTED_AS = {"trt": "tensorrt", "cuda": "pycuda.driver"}
BUILDING = {
    "Builder", "BuilderFlag", "IBuilderConfig", "IHostMemory", "INetworkDefinition",
    "IOptimizationProfile", "IProgressMonitor", "ITensor", "ITimingCache", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError",
}  # fmt: skip
BY_NAME = {"NetworkDefinitionCreationFlag.STRONGLY_TYPED"}
"""Values that differ between 10 and 11; our code takes them by name."""
USERS = [
    path
    for path in sorted((ROOT / "inspector").rglob("*.py"))
    if "import tensorrt as trt" in path.read_text() or "pycuda.driver as" in path.read_text()
]


def described(module, environment):
    command = [sys.executable, "-m", "tests.engine.nvidia.describe", module]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def real(which):
    if which == "pycuda":
        return json.loads(KEPT.read_text())
    return described("tensorrt", libraries.environment(which, driver="none"))


@functools.cache
def simulated(module):
    path = os.pathsep.join([str(SITE), str(ROOT)])
    return described(module, {**os.environ, "PYTHONPATH": path})


def mentioned(path):
    """`tensorrt` and `pycuda.driver` names in a file, as long as they are written in one go."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        dotted = re.fullmatch(r"(trt|cuda)\.([\w.]+)", ast.unparse(node))
        if isinstance(node, ast.Attribute) and dotted:
            found.add((IMPORTED_AS[dotted[1]], dotted[2]))
    return sorted(found)


def has(names, dotted):
    """Whether a name is there; a member of an enumeration is told by its values."""
    if dotted in names or dotted.startswith("__"):
        return True
    head, _, tail = dotted.rpartition(".")
    return tail in names.get(head, {}).get("values", {})


@pytest.mark.parametrize("which", ["10", "11"])
def test_the_versions_are_those_that_we_say(which):
    assert real(which)["version"].split(".")[0] == which


def test_somebody_uses_them():
    assert ROOT / "inspector/engine/nvidia/device.py" in USERS
    assert len(mentioned(ROOT / "inspector/engine/nvidia/device.py")) > 15


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("which", ["10", "11", "pycuda"])
def test_every_name_that_we_mention_is_there(path, which):
    wanted = "pycuda.driver" if which == "pycuda" else "tensorrt"
    lacking = [
        name
        for module, name in mentioned(path)
        if module == wanted and not has(real(which)["names"], name)
    ]
    assert lacking == []


@pytest.mark.parametrize("which", ["10", "11", "lean", "pycuda"])
def test_the_simulated_gpu_has_nothing_that_the_real_libraries_lack(which):
    faked = simulated("pycuda.driver" if which == "pycuda" else "tensorrt")["names"]
    if which == "lean":  # it runs plans and builds none
        faked = {name: faked[name] for name in faked if name.split(".")[0] not in BUILDING}
    assert len(faked) > 20
    faults = [fault for name in faked for fault in differences(name, faked[name], real(which))]
    assert faults == []


def differences(name, ours, library):
    """How one name of the simulated library differs from the real one."""
    theirs = library["names"].get(name)
    if theirs is None:
        yield f"{name} is not there"
    elif ours["kind"] == "enumeration":
        found = theirs.get("values", {})
        for key, value in ours["values"].items():
            if found.get(key) != value and not (key in found and f"{name}.{key}" in BY_NAME):
                yield f"{name}.{key} is {found.get(key)}, not {value}"
    elif ours["kind"] == "class":
        if "Exception" in ours["bases"] and ours["bases"] != theirs["bases"]:
            yield f"{name} derives from {theirs['bases']}"
    elif ours["kind"] != theirs["kind"]:
        yield f"{name} is a {theirs['kind']}"
    elif ours["kind"] == "function" and theirs["calls"]:
        (taken,) = ours["calls"] or [[]]
        if not any(agrees(taken, call) for call in theirs["calls"]):
            yield f"{name} takes {theirs['calls']}, not {taken}"


def agrees(ours, theirs):
    """The same arguments in the same order; the real call may have more, and `arg1` is no name."""
    pairs = zip(ours, theirs, strict=False)
    return len(ours) <= len(theirs) and all(
        mine == real or re.fullmatch(r"arg\d+", real) for mine, real in pairs
    )


@pytest.mark.slow
def test_what_is_kept_of_pycuda_is_what_it_is():
    environment = libraries.environment("pycuda", driver="none")
    assert described("pycuda.driver", environment) == json.loads(KEPT.read_text())


def test_a_name_that_is_not_there_is_found_out():
    names = real("10")["names"]
    assert has(names, "ILogger.Severity.ERROR")
    assert has(names, "Runtime.deserialize_cuda_engine")
    assert not has(names, "Runtime.deserialise_cuda_engine")
    assert not has(names, "BuilderFlag.TF33")
    assert not has(real("11")["names"], "BuilderFlag.FP16")
    call = {"kind": "function", "calls": [["self", "plan"]]}
    assert list(differences("Runtime.deserialize_cuda_engine", call, real("10")))
    value = {"kind": "enumeration", "values": {"UINT8": 4}}
    assert list(differences("DataType", value, real("10")))
