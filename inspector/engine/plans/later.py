"""The plans of an engine on a GPU that failed when it was asked for, and may be there later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.engine.load import Engine
    from inspector.engine.plans.engine_plans import EnginePlans


@dataclass(frozen=True, slots=True)
class LaterPlans:
    """Stands for `EnginePlans` until the GPU answers.

    Attributes:
        what: whose plans, for the user.
        ask: asks the GPU anew and gives the plans; raises EngineError while it fails.
    """

    what: str
    ask: Callable[[], EnginePlans]

    def here(self) -> EnginePlans:
        """The plans on this box. Takes a second; raises EngineError while the GPU fails."""
        return self.ask()

    def open_ready(self) -> Engine:
        """As `EnginePlans.open_ready`, of the GPU as it is now."""
        return self.here().open_ready()
