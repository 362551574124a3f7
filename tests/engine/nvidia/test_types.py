"""Our calls of TensorRT have the types that the real bindings state, in both major versions.

The stubs are made from the bindings themselves: the published ones are of one version only, and
Python cannot parse them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.engine.nvidia import libraries
from tests.engine.nvidia.test_conformity import ROOT, USERS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # mypy reads all of the bindings, the first time
_STUBGEN = "from mypy.stubgen import main; main()"
_SETTINGS = """[mypy]
python_version = 3.11
strict = True
warn_unused_ignores = False
plugins = pydantic.mypy
mypy_path = {stubs}:{root}
cache_dir = {cache}
[mypy-cv2.*,kafka.*,openvino.*,pycuda.*]
ignore_missing_imports = True
follow_imports = skip
"""
_REFUSED = re.compile(r"tensorrt\.pyi:(\d+): error: .*\[syntax\]")


def run_mypy(settings, *files):
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), *map(str, files)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    return done.stdout


@pytest.fixture(scope="module", params=["10", "11"])
def settings(request, tmp_path_factory) -> Path:
    """Settings of mypy with stubs of one TensorRT."""
    folder = tmp_path_factory.mktemp(f"stubs-{request.param}")
    command = [sys.executable, "-c", _STUBGEN, "--inspect-mode", "-o", str(folder)]
    command += ["-m", "tensorrt_bindings.tensorrt"]
    environment = libraries.environment(request.param, driver="none")
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=500)
    stub = folder / "tensorrt_bindings" / "tensorrt.pyi"
    # A variable of the bindings is called `bool`; the results of calls are meant otherwise.
    text = re.sub(r"\bbool\b(?!:)", "builtins.bool", stub.read_text())
    # Integers are taken from whatever is like one, and given to our methods as integers.
    text = text.replace("typing.SupportsInt", "int")
    # No docstring tells that it is a buffer.
    buffer = "class IHostMemory:\n    def __buffer__(self, flags: int) -> memoryview: ..."
    text = text.replace("class IHostMemory:", buffer)
    stub.write_text("import builtins\n" + text)
    (folder / "tensorrt_bindings" / "__init__.pyi").touch()
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.pyi").write_text(
        "from tensorrt_bindings.tensorrt import *\n__version__: str\n"
    )
    path = folder / "mypy.ini"
    cache = libraries.CACHE / f"mypy-{request.param}"
    path.write_text(_SETTINGS.format(stubs=folder, root=ROOT, cache=cache))
    while refused := _REFUSED.search(run_mypy(path, stub)):
        # What a docstring states and Python cannot parse goes: if we used it, it would be missed.
        lines = stub.read_text().splitlines()
        del lines[int(refused[1]) - 1]
        stub.write_text("\n".join(lines))
    return path


def test_our_calls_have_the_types_that_the_bindings_state(settings):
    told = run_mypy(settings, *USERS)
    assert "syntax" not in told
    wrong = [line for line in told.splitlines() if line.startswith("inspector/")]
    assert not wrong, "\n".join(wrong)


def test_a_wrong_call_is_found_out(settings, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import tensorrt as trt\n"
        "def f(context: trt.IExecutionContext) -> int:\n"
        "    context.execute_async_v2(3)\n"
        "    return context.set_tensor_address(3, 'x')\n"
    )
    told = [line for line in run_mypy(settings, wrong).splitlines() if "wrong.py" in line]
    assert any("execute_async_v2" in line for line in told)
    assert any('expected "str"' in line for line in told)
