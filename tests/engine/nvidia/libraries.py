"""The real TensorRT and PyCUDA on a machine without a GPU, for tests to look at.

    python -m tests.engine.nvidia.libraries        fetch what the usual tests need, and end

TensorRT's Python bindings are complete without the library below them, of which they call nine
functions; one of our own that has these lets them be imported, and their names, values and
signatures be read. The small runtime of TensorRT 11 comes whole: it shows what the real library
does where there is no GPU. PyCUDA has to be compiled against CUDA's headers, which takes a minute
or two, and the whole of TensorRT 10 is half a gigabyte: slow tests alone ask for these.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "nvidia"
DRIVER = Path(__file__).with_name("driver.c")
_LOCKS = {name: ROOT / f"requirements/nvidia-{name}.txt" for name in ("old", "10", "11", "source")}
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")

_BELOW_TENSORRT = [
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
]
_SHIM = "from {0} import *\nfrom {0} import __version__\n"
"""What NVIDIA's package `tensorrt` is, over the bindings."""


def fetch() -> Path:
    """The folder with the bindings, the small runtime and our driver.

    Any number of processes may call at once; one works.

    Raises:
        RuntimeError: a step failed; its output is in the message.
    """
    _once("bindings", (*_LOCKS.values(), DRIVER, Path(__file__)), _bindings)
    return CACHE


def fetch_pycuda() -> None:
    """PyCUDA, compiled, and with it a driver that has all its functions. Raises as `fetch`."""
    fetch()
    _once("pycuda", (_LOCKS["source"], _LOCKS["11"], DRIVER), _pycuda)


def fetch_whole() -> None:
    """The complete TensorRT 10.15, by Maven: 534 MB, 1.2 GB on the disk. Raises as `fetch`."""
    fetch()
    _once("whole", (), _whole)


def _once(name: str, made_by: Sequence[Path], make: Callable[[], None]) -> None:
    """Make something in the cache, unless it is there and made from the same files."""
    CACHE.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in made_by)).hexdigest()
    stamp = CACHE / f"{name}.made"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if stamp.read_text() == digest:
                return
        make()
        stamp.write_text(digest)


def environment(*parts: str, driver: str | None = None) -> dict[str, str]:
    """The environment of a process that sees some of the libraries.

    Args:
        parts: `old`, `10`, `11` (bindings over our own library), `lean` (the real small runtime of
            TensorRT 11), `whole` (the real TensorRT 10, see `fetch_whole`), `pycuda`.
        driver: how the CUDA driver behaves: `none one hang crash`; None: there is none.
    """
    folder = fetch()
    if "pycuda" in parts:
        fetch_pycuda()
    if "whole" in parts:
        fetch_whole()
    modules = [ROOT, *(folder / part / "shim" for part in parts if part != "pycuda")]
    modules += [folder / part for part in parts if part in {"old", "10", "11"}]
    modules += [folder / "10"] * ("whole" in parts) + [folder / "11"] * ("lean" in parts)
    modules += [folder / "pycuda"] * ("pycuda" in parts)
    libraries = [folder / "11" / "nvidia" / "cu13" / "lib"]
    if "whole" in parts:
        libraries.append(folder / "whole")
    elif "lean" not in parts:
        libraries.append(folder / "below")
    if driver is not None:
        libraries.append(folder / ("driver-pycuda" if "pycuda" in parts else "driver"))
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CUDA")},
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "STUB_CUDA": driver or "none",
    }


def _run(*command: str | Path, cwd: Path = CACHE, **variables: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        msg = f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    return done.stdout


def _bindings() -> None:
    for name in ("old", "10", "11"):
        _install(name)
    _shims()
    source = "\n".join(f"void *{name}(void) {{ return 0; }}" for name in _BELOW_TENSORRT)
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        for major in (10, 11):
            _compile(CACHE / "below" / f"lib{library}.so.{major}", source)
    _compile(CACHE / "driver" / "libcuda.so.1", DRIVER.read_text())


def _install(name: str) -> None:
    target = CACHE / name
    shutil.rmtree(target, ignore_errors=True)
    how = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", target)
    _run(*_PIP, "install", *how, "-r", _LOCKS[name])


def _shims() -> None:
    for part, module in (
        ("old", "tensorrt_bindings"),
        ("10", "tensorrt_bindings"),
        ("11", "tensorrt_bindings"),
        ("whole", "tensorrt_bindings"),
        ("lean", "tensorrt_lean_bindings"),
    ):
        shim = CACHE / part / "shim" / "tensorrt"
        shim.mkdir(parents=True, exist_ok=True)
        (shim / "__init__.py").write_text(_SHIM.format(module))


def _compile(target: Path, source: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / "source.c"
    path.write_text(source)
    _run("cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{target.name}", "-o", target, path)


def _pycuda() -> None:
    """Compile PyCUDA from its source: there is no other package of it."""
    work = CACHE / "pycuda-source"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    how = ("--no-deps", "--require-hashes", "--no-build-isolation", "--no-binary", ":all:")
    _run(*_PIP, "download", *how, "-d", work, "-r", _LOCKS["source"])
    with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
        archive.extractall(work, filter="data")
    source = next(path for path in work.iterdir() if path.is_dir())
    cuda = CACHE / "11" / "nvidia" / "cu13"
    _compile(work / "libcuda.so.1", "void nothing(void) {}")
    (work / "libcuda.so").symlink_to("libcuda.so.1")
    (work / "libcudart.so").symlink_to(next((cuda / "lib").glob("libcudart.so.*")))
    _run(
        sys.executable,
        "configure.py",
        "--no-cuda-enable-curand",
        f"--cuda-root={cuda}",
        f"--cuda-inc-dir={cuda / 'include'}",
        f"--cudadrv-lib-dir={work}",
        f"--cudart-lib-dir={work}",
        cwd=source,
    )
    flags = {"CFLAGS": "-O0 -g0", "LDFLAGS": "-Wl,--no-as-needed"}  # the driver here is empty
    _run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=source, **flags)
    target = CACHE / "pycuda"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source / "pycuda", target / "pycuda")
    shutil.rmtree(work)
    _driver()


def _driver() -> None:
    """Our driver, with every function that PyCUDA wants."""
    extension = next((CACHE / "pycuda" / "pycuda").glob("_driver*.so"))
    wanted = {line.split()[-1] for line in _run("nm", "-D", "-u", extension).splitlines()}
    source = DRIVER.read_text()
    more = sorted(n for n in wanted if n.startswith("cu") and f" {n}(" not in source)
    more = [name for name in more if not name.startswith("cuda")]
    rest = "\n".join(f"int {name}(void) {{ return NO_DEVICE; }}" for name in more)
    _compile(CACHE / "driver-pycuda" / "libcuda.so.1", source + rest)


_WHOLE = "org.bytedeco:tensorrt:10.15-1.5.13:jar:linux-x86_64-redist"
_PARTS_OF_WHOLE = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")


def _whole() -> None:
    folder = CACHE / "whole"
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    _run("mvn", "-q", "-B", copy, f"-Dartifact={_WHOLE}", f"-DoutputDirectory={folder}")
    jar = next(folder.glob("*.jar"))
    with zipfile.ZipFile(jar) as archive:
        for member in archive.namelist():
            if Path(member).name in _PARTS_OF_WHOLE:
                part = folder / Path(member).name
                with archive.open(member) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
    jar.unlink()


if __name__ == "__main__":
    fetch()
