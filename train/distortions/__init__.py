"""The distortions, one module a label."""

from train.distortions import (
    bad_lighting,
    fastfading,
    gblur,
    jp2k,
    jpeg,
    motion_blur,
    refimgs,
    wn,
)
from train.distortions.base import MILDEST, WORST, Distortion, Picture

DISTORTIONS: dict[str, Distortion] = {
    module.DISTORTION.label: module.DISTORTION
    for module in (bad_lighting, fastfading, gblur, jp2k, jpeg, motion_blur, refimgs, wn)
}
"""Every distortion by its label."""

__all__ = ["DISTORTIONS", "MILDEST", "WORST", "Distortion", "Picture"]
