"""How many pictures a second arrive."""

from __future__ import annotations


class Rate:
    """Arrivals a second over the last seconds."""

    SPAN_S = 5.0
    STEP_S = 0.5

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []
        self.value: float | None = None

    def restart(self) -> None:
        """Another connection, or another page, which begins at zero."""
        self._samples.clear()
        self.value = None

    def sample(self, now_s: float, arrived: int) -> None:
        """Note how many have arrived by now."""
        if self._samples and now_s - self._samples[-1][0] < self.STEP_S:
            return
        self._samples.append((now_s, arrived))
        while now_s - self._samples[0][0] > self.SPAN_S:
            del self._samples[0]
        (then_s, then), spare = self._samples[0], 2 * self.STEP_S
        if now_s - then_s >= spare:
            self.value = (arrived - then) / (now_s - then_s)
