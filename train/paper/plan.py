"""Which pictures the set has: the paper's counts, two sides, and no source on both.

Every picture is planned before one is made: its side, label, source, severity and seed. Pictures
that a LIVE folder has come first; what is missing of a count is made from references of the same
side.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np

from train.data.frame import Frame
from train.data.references import Reference
from train.errors import DataError
from train.labels import GOOD
from train.paper.facts import COUNTS

TRAIN, TEST = "train", "test"
TEST_SHARE = 0.2
_SEVERITIES = 5
_FEWEST = {TRAIN: 2, TEST: 1}
"""Pictures that each label has on each side, however few are asked for."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One picture of the set.

    Attributes:
        side: `train` or `test`.
        label: Its true label.
        number: Its place among the pictures of that side and label.
        source: Key of what it was made from; no source is on both sides.
        path: The picture itself, or the reference to make it from.
        severity: 1 to 5; 0 where the picture is taken as it is.
        seed: All chance of making it.
    """

    side: str
    label: str
    number: int
    source: str
    path: Path
    severity: int = 0
    seed: int = 0

    @property
    def made(self) -> bool:
        """Whether the picture has to be made."""
        return self.severity > 0

    @property
    def file(self) -> str:
        """Where a made picture goes, below the folder of the set."""
        return f"{self.side}/{self.label}/{self.number:04d}.png"


def counts_of(share: float = 1.0) -> dict[str, dict[str, int]]:
    """Pictures of each side and label.

    A fifth of every label is tested; of the fractions that are left the largest are rounded up,
    so that the test side has a fifth of all pictures: 233 of 1,165.

    Args:
        share: Part of the paper's counts, above 0 to 1; the whole set at 1.

    Raises:
        DataError: A share outside of that.

    Example:
        >>> counts = counts_of()
        >>> sum(counts["train"].values()), sum(counts["test"].values())
        (932, 233)
    """
    if not 0 < share <= 1:
        raise DataError(f"the share of the pictures must lie above 0 and up to 1, not {share}")
    fewest = sum(_FEWEST.values())
    whole = {label: max(fewest, round(share * count)) for label, count in COUNTS.items()}
    exact = {label: TEST_SHARE * count for label, count in whole.items()}
    test = {label: max(_FEWEST[TEST], floor(count)) for label, count in exact.items()}
    left = round(TEST_SHARE * sum(whole.values())) - sum(test.values())
    for label in sorted(whole, key=lambda name: test[name] - exact[name])[: max(0, left)]:
        test[label] += 1
    return {TRAIN: {label: whole[label] - test[label] for label in whole}, TEST: test}


def key_of(source: str) -> str:
    """What tells sources apart: LIVE names the same picture in capitals here and there.

    Example:
        >>> key_of("Bikes.bmp"), key_of("package:share/photos/bikes.jpg")
        ('bikes', 'package:share/photos/bikes.jpg')
    """
    return (source if "/" in source else Path(source).stem).lower()


def split_sources(keys: Iterable[str]) -> dict[str, set[str]]:
    """A fifth of the sources to the test side, chosen by the digest of their keys.

    Raises:
        DataError: Fewer than two sources.
    """
    ordered = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    if len(ordered) < 2:
        raise DataError(f"two sides need at least two sources, not {len(ordered)}")
    tested = max(1, round(TEST_SHARE * len(ordered)))
    return {TEST: set(ordered[:tested]), TRAIN: set(ordered[tested:])}


def sides_of(by_split: Mapping[str, Sequence[Reference]]) -> dict[str, list[Reference]]:
    """References on the two sides: a split that a folder has is kept, val going to train.

    Args:
        by_split: As `references_by_split` gives them.

    Raises:
        DataError: Fewer than two sources, or a side without any.
    """
    everything = [reference for references in by_split.values() for reference in references]
    if all(reference.name.startswith(f"{s}/") for s, rs in by_split.items() for reference in rs):
        return _both({TRAIN: [*by_split["train"], *by_split["val"]], TEST: list(by_split["test"])})
    keys = split_sources(key_of(reference.source) for reference in everything)
    return _both(
        {side: [r for r in everything if key_of(r.source) in keys[side]] for side in (TRAIN, TEST)}
    )


def _both(sides: dict[str, list[Reference]]) -> dict[str, list[Reference]]:
    for side, references in sides.items():
        if not references:
            raise DataError(f"the references have none for the {side} side")
    return sides


def sides_of_live(frames: Sequence[Frame]) -> dict[str, list[Reference]]:
    """The references of LIVE itself, on the sides that its pictures are split into.

    Raises:
        DataError: Fewer than two sources, or a side without a reference.
    """
    keys = split_sources(key_of(frame.source) for frame in frames)
    good = [frame for frame in frames if frame.label == GOOD]
    return _both(
        {
            side: [
                Reference(f.path.name, f.path, f.source, "LIVE release 2", "LIVE release 2")
                for f in good
                if key_of(f.source) in keys[side]
            ]
            for side in (TRAIN, TEST)
        }
    )


def plan_set(
    references: Mapping[str, Sequence[Reference]],
    live: Sequence[Frame] = (),
    *,
    share: float = 1.0,
    seed: int = 1,
) -> list[Planned]:
    """Plan the whole set.

    Args:
        references: On each side, to make pictures from.
        live: Pictures of LIVE to be taken as they are.
        share: As for `counts_of`.
        seed: Of every choice.

    Raises:
        DataError: A source on both sides.
    """
    none: dict[str, set[str]] = {TRAIN: set(), TEST: set()}
    keys = split_sources(key_of(frame.source) for frame in live) if live else none
    counts = counts_of(share)
    plan: list[Planned] = []
    for side in (TRAIN, TEST):
        for label, count in counts[side].items():
            rng = np.random.default_rng((seed, side == TEST, list(COUNTS).index(label)))
            mine = [f for f in live if f.label == label and key_of(f.source) in keys[side]]
            kept = [mine[i] for i in sorted(rng.permutation(len(mine))[:count])]
            plan += [Planned(side, label, n, key_of(f.source), f.path) for n, f in enumerate(kept)]
            numbers = range(len(kept), count)
            plan += _made(side, label, numbers, references[side], rng)
    refuse_shared_sources(plan)
    return plan


def _made(
    side: str,
    label: str,
    numbers: Sequence[int],
    references: Sequence[Reference],
    rng: np.random.Generator,
) -> list[Planned]:
    """Made pictures: every reference in turn, each with one severity after the other."""
    order = rng.permutation(len(references))
    first = int(rng.integers(_SEVERITIES))
    planned = []
    for place, number in enumerate(numbers):
        turn, index = divmod(place, len(order))
        reference = references[int(order[index])]
        severity = 1 + (first + index + turn) % _SEVERITIES
        own = int(rng.integers(2**48))
        key = key_of(reference.source)
        planned.append(Planned(side, label, number, key, reference.path, severity, own))
    return planned


def refuse_shared_sources(plan: Sequence[Planned]) -> None:
    """Make sure that no source is on both sides.

    Raises:
        DataError: Some are; the text names the first ten.
    """
    sides = {side: {p.source for p in plan if p.side == side} for side in (TRAIN, TEST)}
    shared = sorted(sides[TRAIN] & sides[TEST])
    if shared:
        raise DataError(f"sources on both sides of the split: {', '.join(shared[:10])}")
