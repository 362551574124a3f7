"""From a spec to an engine in a process of its own: proved on its golden tiles, warm, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engine.golden import read_golden
from inspector.engine.load import Engine, check_parity, tile_seconds
from inspector.engine.process.client import EngineProcess
from inspector.engine.process.limits import Limits
from inspector.errors import EngineError

if TYPE_CHECKING:
    from inspector.engine.manifest import Manifest
    from inspector.engine.process.spec import RuntimeSpec

_PATIENCE = 10.0
"""A batch may take so many times as long as it does at best; a busy machine is not hung."""


def open_engine(manifest: Manifest, spec: RuntimeSpec, limits: Limits | None = None) -> Engine:
    """Start an engine process and make it ready to serve; takes seconds.

    Args:
        manifest: of the folder that the spec names, as it was when the engine was chosen: a folder
            that holds another engine meanwhile is refused.
        limits: what is waited for; answers at least as long as they say.

    Raises:
        EngineError: it cannot be started, does not reproduce the golden tiles, or is another one.
    """
    limits = limits or Limits()
    golden = read_golden(manifest)
    process = EngineProcess(spec, limits=limits)
    try:
        info = process.info
        expected = manifest.file_of(info.precision).sha256  # type: ignore[arg-type]
        if (info.name, info.version, info.sha256) != (manifest.name, manifest.version, expected):
            msg = (
                f"{manifest.folder} holds another engine than the one that serves: "
                f"{info.name} {info.version}, expected {manifest.name} {manifest.version}; "
                "activate it to have it judge"
            )
            raise EngineError(msg)
        parity = check_parity(manifest, golden, process)
        batch_s = tile_seconds(process, golden) * min(process.max_batch, len(golden.tiles))
    except BaseException:
        process.close()
        raise
    process.expect_answers_within(max(limits.answer_s, _PATIENCE * batch_s))
    return Engine(manifest, process, manifest.verdict_thresholds(), parity)
