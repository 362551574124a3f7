"""The exceptions of the station: one root, one branch a stage.

A message says what failed, on which camera, topic or engine, what came, what was expected and what
to do next. It never holds a secret.
"""

from __future__ import annotations

from typing import Literal


class InspectorError(Exception):
    """Root of every error this package raises on purpose."""


class UserError(InspectorError):
    """A mistake in what the user gave (file, option, name): one clear message, exit status 2."""


class ConfigError(UserError):
    """A station file that cannot be used; carries every fault found in it."""


class CaptureError(InspectorError):
    """A picture source failed."""


class EngineFolderError(UserError):
    """A folder of engines that cannot be looked into: a wrong path, or a disk that comes later."""


class EngineError(InspectorError):
    """An engine folder, a runtime or an inference failed."""


class EngineUnreadableError(EngineError):
    """A file of an engine that the disk does not give, and may give another time."""


class ParityError(EngineError):
    """A runtime that computes something else than was trained: it must not serve."""


class EngineLostError(EngineError):
    """A runtime that will judge nothing any more: its process or its device is gone.

    What was in flight fails with it, and so does whatever is submitted from then on.
    """


class NoRuntimeError(EngineError):
    """The runtime asked for cannot be had, and no other is allowed: exit status 3."""


class LineError(InspectorError):
    """The PLC cannot be reached, or does not answer as the register map wants it.

    Attributes:
        cause: `plc_away`: nothing, or nothing in time; `bad_answer`: a refusal, or nonsense.
    """

    def __init__(self, cause: Literal["plc_away", "bad_answer"], detail: str) -> None:
        super().__init__(detail)
        self.cause: Literal["plc_away", "bad_answer"] = cause


class WebError(InspectorError):
    """The page cannot be served for now, through no mistake of the user's."""


class EventsError(InspectorError):
    """The outbox, an event document or the broker failed."""


class EvidenceError(InspectorError):
    """A picture could not be encoded, or the evidence folder not be used."""


class TriggerError(InspectorError):
    """A trigger that was not taken: it has no id, and no verdict will come.

    Attributes:
        reason: there is no such camera, too many triggers of it wait, or the station does not
            judge (yet, or any more).
    """

    def __init__(
        self, reason: Literal["unknown_camera", "too_many", "not_serving"], detail: str
    ) -> None:
        super().__init__(detail)
        self.reason = reason


class MarkError(InspectorError):
    """What an operator says of an event could not be taken.

    Attributes:
        reason: there is no such event, no frame that could be marked, no such label, or the marks
            cannot be read or written.
    """

    def __init__(
        self, reason: Literal["unknown_event", "no_frame", "bad_label", "unwritable"], detail: str
    ) -> None:
        super().__init__(detail)
        self.reason = reason
