"""Whole pictures with one distortion each: what evaluation, calibration and the generator use.

Every frame is made from a reference, a label, a severity and a seed, and from nothing else.
Labels and severities are equally frequent. Within a whole severity `s` the continuous one is
drawn evenly from `s - 0.5` to `s + 0.5`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.camera import draw_scale, rescale, take
from train.distortions import DISTORTIONS, Picture
from train.labels import GOOD

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class FramePlan:
    """What a frame is made from; `reference` is the name of its reference."""

    reference: str
    label: str
    severity: int
    variant: int
    seed: int

    @property
    def name(self) -> str:
        """A file name that says it all, without suffix."""
        return f"{stem_of(self.reference)}-{self.label}-{self.severity}-{self.variant}"


def stem_of(reference: str) -> str:
    """What the names of a reference's frames begin with."""
    return reference.replace("/", "-").rsplit(".", 1)[0]


def plan_frames(
    references: Sequence[str],
    labels: Sequence[str],
    *,
    variants: int = 1,
    good_variants: int | None = None,
    seed: int = 1,
) -> list[FramePlan]:
    """Every reference with every label at every severity, `variants` times.

    `good_variants` gives the good label another number, since thresholds need many good frames.
    The seed of a frame comes from its own place in the plan and not from its number, so that a
    reference more or less changes no other frame.
    """
    plans = []
    for reference in references:
        for label in labels:
            times = good_variants if label == GOOD and good_variants is not None else variants
            for severity in SEVERITIES:
                for variant in range(times):
                    text = f"{seed}/{reference}/{label}/{severity}/{variant}"
                    digest = hashlib.sha256(text.encode()).digest()
                    own = int.from_bytes(digest[:7], "big")
                    plans.append(FramePlan(reference, label, severity, variant, own))
    return plans


def make_frame(picture: Picture, plan: FramePlan, smallest_side: int = 256) -> Picture:
    """Make the frame of a plan from its reference."""
    rng = np.random.default_rng(plan.seed)
    height, width = picture.shape[:2]
    scale = max(draw_scale(rng), min(1.0, smallest_side / min(height, width)))
    picture = rescale(picture, round(height * scale), round(width * scale))

    def distort(clean: Picture) -> Picture:
        severity = float(rng.uniform(plan.severity - 0.5, plan.severity + 0.5))
        return DISTORTIONS[plan.label].apply(clean, severity, rng)

    return take(picture, plan.label, distort, rng)[-1]
