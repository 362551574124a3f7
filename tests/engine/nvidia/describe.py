"""What is in a library, as JSON: run in a process that can import it.

    python -m tests.engine.nvidia.describe MODULE

Names with their kind; of functions the names of the arguments, one list for each way to call them;
of enumerations the values. TensorRT's bindings tell signatures in their docstrings, PyCUDA's too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from typing import Any


def described(module: Any) -> dict[str, Any]:
    """The public names of a module; those of a class are `Class.name`."""
    facts: dict[str, Any] = {"version": getattr(module, "__version__", None), "names": {}}
    public = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
    for name in public:
        value = getattr(module, name)
        if inspect.ismodule(value):
            continue
        facts["names"][name] = _of(name, value)
        if inspect.isclass(value) and _values(value) is None:
            for part in (*dir(value), "__init__"):
                if not part.startswith("_") or part == "__init__":
                    facts["names"][f"{name}.{part}"] = _of(part, getattr(value, part, None))
    return facts


def _of(name: str, value: Any) -> dict[str, Any]:
    values = _values(value)
    if values is not None:
        return {"kind": "enumeration", "values": values}
    if inspect.isclass(value):
        bases = [base.__name__ for base in value.__mro__[1:] if base is not object]
        return {"kind": "class", "bases": bases}
    if callable(value):
        return {"kind": "function", "calls": _calls(name, value)}
    return {"kind": "value"}


def _values(value: Any) -> dict[str, int] | None:
    """Of an enumeration of pybind11, of Boost.Python, or of Python's own."""
    for attribute in ("__members__", "names"):
        members = getattr(value, attribute, None)
        if inspect.isclass(value) and members and hasattr(members, "items"):
            return {key: int(getattr(one, "value", one)) for key, one in members.items()}
    return None


def _calls(name: str, value: Any) -> list[list[str]]:
    """The names of the arguments, for each way to call it; none where it does not tell."""
    doc = value.__doc__ or ""
    found = re.findall(rf"^\s*(?:\d+\. )?{re.escape(name)}\s*\((.*)\) -> ", doc, re.MULTILINE)
    calls = [_arguments(text) for text in found if text != "*args, **kwargs"]
    if not calls and inspect.isfunction(value):
        calls = [list(inspect.signature(value).parameters)]
    return calls


def _arguments(text: str) -> list[str]:
    """Of `self: a.B, name: str = x[1, 2]`, and of Boost's `(object)dest [, (object)src=None]`."""
    if "(" in text.split(",", maxsplit=1)[0].split(":", maxsplit=1)[0]:
        return re.findall(r"\(\w+\)(\w+)", text)
    depth, plain = 0, ""
    for char in text:
        depth += (char in "[(<{") - (char in "])>}")
        plain += char if depth == 0 else ""
    return [part.split(":")[0].split("=")[0].strip() for part in plain.split(",") if part.strip()]


def to_json(facts: dict[str, Any]) -> str:
    """A name a line, so that a change can be read."""
    lines = [f"  {json.dumps(n)}: {json.dumps(f)}" for n, f in sorted(facts["names"].items())]
    names = ",\n".join(lines)
    return f'{{"version": {json.dumps(facts["version"])}, "names": {{\n{names}\n}}}}\n'


if __name__ == "__main__":
    sys.stdout.write(to_json(described(importlib.import_module(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)  # the real library may crash at exit where there is no GPU
