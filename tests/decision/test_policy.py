from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.station import Policy
from inspector.decision.policy import Decision, PolicyState, decide
from inspector.verdict import Cause, Outcome, Verdict

GOOD = Verdict(Outcome.ACCEPTED, "refimgs")
BLUR = Verdict(Outcome.REJECTED, "gblur")
NOISE = Verdict(Outcome.REJECTED, "wn")
UNSURE = Verdict(Outcome.UNCERTAIN, "gblur")
BROKEN = Verdict(Outcome.UNJUDGEABLE, cause=Cause.DECODE)

LETTERS = {"G": GOOD, "B": BLUR, "N": NOISE, "u": UNSURE, "x": BROKEN}


def run(
    policy: Policy, letters: str, state: PolicyState | None = None, epoch: int = 0
) -> list[Decision]:
    """Decisions on a row of frames; `|` begins a new stream epoch."""
    state = state or PolicyState()
    decisions = []
    for letter in letters:
        if letter == "|":
            epoch += 1
            continue
        decisions.append(decide(policy, state, LETTERS[letter], epoch))
        state = decisions[-1].state
    return decisions


def transitions(policy: Policy, letters: str) -> str:
    signs = {None: ".", "degraded": "D", "recovered": "R"}
    return "".join(signs[d.transition] for d in run(policy, letters))


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("BBB", "..D"),
        ("BGBGB", "....D"),
        ("BGGBGB", "......"),  # 3 of 6: the first has left the window of 5
        ("BBBB", "..D."),  # told once
        ("BBBGGGG", "..D...R"),
        ("BBBGGGBGGGG", "..D.......R"),  # a reject begins the row anew
        ("BuBxB", "....D"),  # neither uncertain nor unjudgeable frames change the window
        ("BBBGGuGxG", "..D.....R"),  # nor the row of accepted ones
        ("BB|B", "..."),  # a new epoch clears the window
        ("BBB|GGGG", "..D...R"),  # but the degraded state is not forgotten
        ("BBBGGG|GGGG", "..D......R"),  # though its row of accepted frames begins anew
        ("BBBGGGGB", "..D...R."),  # rejects from before the recovery do not count again
    ],
)
def test_transitions(letters: str, expected: str) -> None:
    policy = Policy(needed=3, window=5, recover_after=4)
    assert transitions(policy, letters) == expected


def test_a_recovery_that_is_quicker_than_the_window_does_not_degrade_at_once() -> None:
    assert transitions(Policy(needed=3, window=5, recover_after=1), "BBBGGB") == "..DR.."


def test_labels_that_are_not_listed_count_as_accepted() -> None:
    policy = Policy(reject=("gblur",), needed=2, window=3, recover_after=2)
    decisions = run(policy, "BBNN")
    assert [d.reject for d in decisions] == [True, True, False, False]
    assert decisions[-1].transition == "recovered"


def test_emit_transitions_publishes_no_single_reject() -> None:
    decisions = run(Policy(emit="transitions"), "BBB")
    assert [(d.reject, d.publish) for d in decisions] == [(True, False)] * 3
    assert decisions[-1].transition == "degraded"


def test_one_frame_decides_with_a_window_of_one() -> None:
    policy = Policy(needed=1, window=1, recover_after=1)
    assert transitions(policy, "BGBG") == "DRDR"


def test_what_is_worth_keeping_is_the_rejected_the_decisive_and_if_asked_the_uncertain() -> None:
    policy = Policy(needed=2, window=2, recover_after=2)
    row = "GBBGGux"
    assert [d.keep for d in run(policy, row)] == [False, True, True, False, True, False, False]
    labelling = policy.model_copy(update={"keep_uncertain": True})
    assert [d.keep for d in run(labelling, row)][-2:] == [True, False]


def test_quality_tells_the_window_of_the_frame_that_decided() -> None:
    policy = Policy(needed=3, window=5, recover_after=2)
    quality = run(policy, "GBBB")[-1].quality(policy)
    assert quality == {
        "degraded": True,
        "rejected_in_window": 3,
        "judged_in_window": 4,
        "needed": 3,
        "window": 5,
        "accepted_in_row": 0,
        "recover_after": 2,
    }


def test_a_state_that_was_not_written_by_us_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        PolicyState.from_json({"window": 3})


policies = st.builds(
    lambda window, needed, recover: Policy(
        window=window, needed=min(needed, window), recover_after=recover
    ),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 8),
)
rows = st.text("GBNux|", max_size=60)


@given(policies, rows)
def test_transitions_alternate_and_begin_with_degraded(policy: Policy, letters: str) -> None:
    told = transitions(policy, letters).replace(".", "")
    assert told == ("DR" * len(told))[: len(told)]


@given(policies, rows)
def test_the_state_survives_its_json_at_any_frame(policy: Policy, letters: str) -> None:
    whole = run(policy, letters)
    state, epoch, at = PolicyState(), 0, 0
    for letter in letters:
        if letter == "|":
            epoch += 1
            continue
        state = PolicyState.from_json(json.loads(json.dumps(state.to_json())))
        decision = decide(policy, state, LETTERS[letter], epoch)
        assert decision == whole[at]
        state, at = decision.state, at + 1


@given(policies, rows)
def test_the_window_is_bounded_and_counts_right(policy: Policy, letters: str) -> None:
    for decision in run(policy, letters):
        assert decision.judged_in_window <= policy.window
        assert 0 <= decision.rejected_in_window <= decision.judged_in_window
        if decision.transition == "degraded":
            assert decision.reject
            assert decision.rejected_in_window >= policy.needed
        if decision.transition == "recovered":
            assert decision.accepted_in_row >= policy.recover_after


@given(policies, rows)
def test_frames_without_a_judgement_change_nothing(policy: Policy, letters: str) -> None:
    with_them = [d for d, c in zip(run(policy, letters), letters.replace("|", ""), strict=True)
                 if c not in "ux"]  # fmt: skip
    without = run(policy, letters.replace("u", "").replace("x", ""))
    assert [d.transition for d in with_them] == [d.transition for d in without]
    assert [d.state for d in with_them] == [d.state for d in without]


@given(policies, st.text("GB", max_size=40), st.integers(1, 8))
def test_a_changed_window_takes_a_stored_state(
    policy: Policy, letters: str, later_window: int
) -> None:
    decisions = run(policy, letters)
    state = decisions[-1].state if decisions else PolicyState()
    later = Policy(window=later_window, needed=1, recover_after=policy.recover_after)
    assert len(decide(later, state, GOOD, 0).state.window) <= later_window
