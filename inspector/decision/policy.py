"""How the verdicts of one camera become decisions: n of m, recovery, transitions.

Pure: no clock, no input or output, and no memory but the state that goes in and comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.config.station import Policy
    from inspector.verdict import Verdict

Transition = Literal["degraded", "recovered"]


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What a policy remembers of one camera between two frames.

    Attributes:
        degraded: the camera's pictures are bad until `recover_after` accepted frames in a row.
        window: newest last, True for each rejected of the last judged frames of this epoch.
        accepted_in_row: accepted frames since the last rejected one, in this epoch.
        stream_epoch: the epoch the window belongs to; -1 before the first frame.
    """

    degraded: bool = False
    window: tuple[bool, ...] = ()
    accepted_in_row: int = 0
    stream_epoch: int = -1

    def to_json(self) -> dict[str, object]:
        """As plain values, to be stored with the camera's events."""
        return {
            "degraded": self.degraded,
            "window": [int(rejected) for rejected in self.window],
            "accepted_in_row": self.accepted_in_row,
            "stream_epoch": self.stream_epoch,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> PolicyState:
        """Read what `to_json` gave; an empty mapping is the state before the first frame.

        Raises:
            ValueError: a value is not of the kind that `to_json` writes.

        >>> PolicyState.from_json(PolicyState(True, (True, False), 1, 4).to_json())
        PolicyState(degraded=True, window=(True, False), accepted_in_row=1, stream_epoch=4)
        """
        window = stored.get("window", ())
        accepted = stored.get("accepted_in_row", 0)
        epoch = stored.get("stream_epoch", -1)
        if (
            not isinstance(window, list | tuple)
            or not isinstance(accepted, int)
            or not isinstance(epoch, int)
        ):
            msg = f"stored policy state cannot be used: {dict(stored)}"
            raise ValueError(msg)  # noqa: TRY004 - the values are wrong, not the caller's types
        return cls(
            bool(stored.get("degraded", False)),
            tuple(bool(rejected) for rejected in window),
            accepted,
            epoch,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What one verdict means.

    Attributes:
        state: to be given to the next call, and stored in one transaction with the events.
        reject: the frame is rejected under this policy.
        publish: a frame.rejected event is due (`reject`, and the policy emits rejects).
        transition: the state that begins with this frame, or None.
        keep: the picture is worth keeping: of a reject or a transition, or uncertain where the
            policy keeps those for labelling.
        rejected_in_window, judged_in_window: the window with this frame in it.
        accepted_in_row: accepted frames in a row with this frame.
    """

    state: PolicyState
    reject: bool
    publish: bool
    transition: Transition | None
    keep: bool
    rejected_in_window: int
    judged_in_window: int
    accepted_in_row: int

    def quality(self, policy: Policy) -> dict[str, bool | int]:
        """The n of m state as the events carry it under `quality`."""
        return {
            "degraded": self.state.degraded,
            "rejected_in_window": self.rejected_in_window,
            "judged_in_window": self.judged_in_window,
            "needed": policy.needed,
            "window": policy.window,
            "accepted_in_row": self.accepted_in_row,
            "recover_after": policy.recover_after,
        }


def counts_as_rejected(policy: Policy, verdict: Verdict) -> bool:
    """Whether a verdict is a reject under the policy's list of labels.

    A frame rejected for a label that the policy does not list counts as accepted.
    """
    if verdict.outcome is not Outcome.REJECTED:
        return False
    return policy.reject == "all" or verdict.label in policy.reject


def decide(policy: Policy, state: PolicyState, verdict: Verdict, stream_epoch: int) -> Decision:
    """Decide on one frame.

    Uncertain and unjudgeable frames change nothing. A new stream epoch clears the window and the
    row of accepted frames, since frames before and after a gap say nothing together; `degraded`
    stays, or the line would never hear of the recovery. A recovery clears the window too, or
    rejects from before it would count again.

    Args:
        state: what the last decision on this camera returned.
        stream_epoch: of the frame that was judged.

    >>> from inspector.config.station import Policy
    >>> from inspector.verdict import Outcome, Verdict
    >>> bad = Verdict(Outcome.REJECTED, "gblur")
    >>> first = decide(Policy(needed=2, window=3), PolicyState(), bad, 0)
    >>> first.reject, first.transition
    (True, None)
    >>> decide(Policy(needed=2, window=3), first.state, bad, 0).transition
    'degraded'
    """
    if stream_epoch != state.stream_epoch:
        state = PolicyState(degraded=state.degraded, stream_epoch=stream_epoch)
    if verdict.outcome in {Outcome.UNCERTAIN, Outcome.UNJUDGEABLE}:
        return Decision(
            state=state,
            reject=False,
            publish=False,
            transition=None,
            keep=policy.keep_uncertain and verdict.outcome is Outcome.UNCERTAIN,
            rejected_in_window=sum(state.window),
            judged_in_window=len(state.window),
            accepted_in_row=state.accepted_in_row,
        )

    reject = counts_as_rejected(policy, verdict)
    window = (*state.window, reject)[-policy.window :]
    accepted_in_row = 0 if reject else state.accepted_in_row + 1
    degraded, kept = state.degraded, window
    transition: Transition | None = None
    if not degraded and reject and sum(window) >= policy.needed:
        degraded, transition = True, "degraded"
    elif degraded and accepted_in_row >= policy.recover_after:
        degraded, kept, transition = False, (), "recovered"
    return Decision(
        state=replace(state, degraded=degraded, window=kept, accepted_in_row=accepted_in_row),
        reject=reject,
        publish=reject and policy.emit == "rejects",
        transition=transition,
        keep=reject or transition is not None,
        rejected_in_window=sum(window),
        judged_in_window=len(window),
        accepted_in_row=accepted_in_row,
    )
