"""The exceptions of the station: one root, one branch a stage.

A message says what failed, on which camera, topic or engine, what came, what was expected and what
to do next. It never holds a secret.
"""

from __future__ import annotations


class InspectorError(Exception):
    """Root of every error this package raises on purpose."""


class UserError(InspectorError):
    """A mistake in what the user gave (file, option, name): one clear message, exit status 2."""


class ConfigError(UserError):
    """A station file that cannot be used; carries every fault found in it."""


class CaptureError(InspectorError):
    """A picture source failed."""


class EngineError(InspectorError):
    """An engine folder, a runtime or an inference failed."""


class WebError(InspectorError):
    """The page cannot be served for now, through no mistake of the user's."""


class EventsError(InspectorError):
    """The outbox, an event document or the broker failed."""


class EvidenceError(InspectorError):
    """A picture could not be encoded, or the evidence folder not be used."""
