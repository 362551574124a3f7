"""The cameras of a running station: what must change together when one comes, changes or goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from inspector.camera_events import CameraEvents
    from inspector.capture.status import Counters
    from inspector.capture.supervisor import Capture
    from inspector.config.changes import Plan
    from inspector.config.station import Station
    from inspector.evidence.store import Evidence
    from inspector.observe.metrics import Metrics
    from inspector.ruling import Rulings
    from inspector.viewing import Viewing


class Lineup:
    """All that knows cameras by name. Used by one reload at a time.

    Args:
        config: the station file that holds now.
        evidence: None where no pictures are kept.
    """

    def __init__(
        self,
        config: Station,
        capture: Capture,
        rulings: Rulings,
        camera_events: CameraEvents,
        metrics: Metrics,
        evidence: Evidence | None,
        viewing: Viewing,
    ) -> None:
        self._config = config
        self._capture = capture
        self._rulings = rulings
        self._camera_events = camera_events
        self._metrics = metrics
        self._evidence = evidence
        self._viewing = viewing

    @property
    def config(self) -> Station:
        """The station file that holds now."""
        return self._config

    def stale_logins(self) -> frozenset[str]:
        """Cameras whose secrets have changed since their worker began."""
        return self._capture.stale_logins()

    def change(self, config: Station, plan: Plan) -> Mapping[str, Future[Counters]]:
        """Go on with another station file: all of it, or nothing.

        Returns:
            The last counters of each removed camera, once it is gone; `forget` it then.

        Raises:
            CaptureError: the cameras cannot be changed now; all is as before.
        """
        self._adopt(config)  # first: the frames of a new camera find their policy
        self._camera_events.adopt(self._rulings.lost_cameras & set(plan.added))
        try:
            leaving = self._capture.apply(
                config.cameras, first_epochs=self._rulings.next_epochs(), anew=plan.restarted
            )
        except BaseException:
            self._adopt(self._config)
            for name in plan.added:
                self.forget(name)
            raise
        self._config = config
        return leaving

    def forget(self, camera: str) -> None:
        """A removed camera is gone: nothing more comes of it. Its policy's state is kept."""
        self._rulings.forget(camera)
        self._camera_events.forget(camera)
        self._metrics.forget(camera)
        self._viewing.forget(camera)
        if self._evidence is not None:
            self._evidence.forget(camera)

    def _adopt(self, config: Station) -> None:
        self._rulings.adopt(config)
        if self._evidence is not None:
            self._evidence.adopt(config.slots())
