"""What a plan is to the simulated GPU: a digest, a few facts, and the ONNX file it came from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

MAGIC = b"simulated plan\n"
VERSION = "10.15.1.29"
CAPABILITY = "8.7"


def make_plan(
    onnx: bytes,
    tile: tuple[int, ...],
    *,
    least: int = 1,
    most: int,
    version: str = VERSION,
    compute_capability: str = CAPABILITY,
) -> bytes:
    """A plan for batches of `least` to `most` tiles; `tile` is (height, width, 3)."""
    facts = {
        "version": version,
        "compute_capability": compute_capability,
        "least": [least, *tile],
        "best": [most, *tile],
        "most": [most, *tile],
    }
    body = json.dumps(facts).encode() + b"\n" + onnx
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def open_plan(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The facts and the ONNX file. Raises ValueError where it is damaged."""
    digest, _, body = content.removeprefix(MAGIC).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("Magic tag does not match")
    facts, _, onnx = body.partition(b"\n")
    return json.loads(facts), onnx
