"""What the paper states, word for word in numbers.

Source: Elaraby et al., "An Optimized Deep Learning Approach for Robust Image Quality
Classification", Traitement du Signal 40(4), 2023.
"""

from dataclasses import dataclass

SIMPLENET = "SimpleNet"
INCEPTION = "InceptionResNetV2"
NETWORKS = (SIMPLENET, INCEPTION)

COUNTS = {
    "bad_lighting": 22,
    "fastfading": 174,
    "gblur": 207,
    "jp2k": 227,
    "jpeg": 233,
    "refimgs": 128,
    "wn": 174,
}
"""Table 1: pictures of each label, 1,165 in all."""

TEST_PICTURES = 233
"""Pictures kept for the test: 20 % of 1,165."""

EPOCHS = (50, 300)

PARAMETERS_AT_SIX = 1_425_606
"""Parameters of SimpleNet with six outputs."""

LIVE_UNDISTORTED = {"fastfading": 29, "gblur": 29, "jp2k": 58, "jpeg": 58, "wn": 29}
"""Undistorted copies among the pictures of each folder of LIVE release 2."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A row of Table 3; shares, and minutes of training."""

    train: float
    test: float
    minutes: float


TABLE_3 = {SIMPLENET: Accuracy(0.82, 0.75, 12.5), INCEPTION: Accuracy(0.80, 0.71, 13.28)}
"""The paper gives one row a network for "50-300" epochs."""

TABLE_4 = {
    SIMPLENET: {
        "bad_lighting": (1.0, 1.0),
        "fastfading": (0.38, 0.90),
        "gblur": (0.70, 0.93),
        "jp2k": (0.91, 0.79),
        "jpeg": (0.62, 1.0),
        "refimgs": (0.76, 1.0),
    },
    INCEPTION: {
        "bad_lighting": (1.0, 1.0),
        "fastfading": (0.33, 0.90),
        "gblur": (0.70, 0.93),
        "jp2k": (0.86, 0.90),
        "jpeg": (0.75, 0.91),
        "refimgs": (0.84, 1.0),
    },
}
"""Sensitivity and specificity; the paper has no row for wn."""
