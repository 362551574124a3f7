"""What the paper does not state, and how each gap was filled."""

from collections.abc import Mapping
from dataclasses import dataclass

from train.paper.facts import LIVE_UNDISTORTED, PARAMETERS_AT_SIX
from train.paper.settings import PaperSettings


@dataclass(frozen=True, slots=True)
class Gap:
    """What is not stated, and what was done instead."""

    missing: str
    filled: str


def gaps_of(
    settings: PaperSettings, made: Mapping[str, int], sources: Mapping[str, int]
) -> list[Gap]:
    """Every gap with its filling.

    Args:
        settings: Of the run.
        made: Of each label how many pictures were made, rather than taken from LIVE.
        sources: How many sources each side has.
    """
    gaps = [
        *_of_pictures(made, sources),
        *_of_networks(settings),
        *_of_fitting(settings),
        *_of_measuring(settings),
    ]
    if settings.pictures < 1:
        gaps.insert(
            0,
            Gap(
                "Size of this run",
                f"Only {settings.pictures:.1%} of the paper's pictures were used: the figures"
                " show that everything runs, and nothing of how good the networks are.",
            ),
        )
    return gaps


def _of_pictures(made: Mapping[str, int], sources: Mapping[str, int]) -> list[Gap]:
    copies = ", ".join(f"{label} {count}" for label, count in LIVE_UNDISTORTED.items())
    number = sum(made.values())
    return [
        Gap(
            "Split",
            "The paper gives 233 test pictures and no rule. A fifth of every label is tested, and"
            f" no source is on both sides: {sources['train']} sources are trained on,"
            f" {sources['test']} tested.",
        ),
        Gap(
            "Undistorted copies",
            "The paper's counts of jp2k, jpeg, wn and fastfading are those of LIVE's folders with"
            f" the undistorted copies that lie in them ({copies}). Whether the paper trained on"
            " those as distorted is not stated. Here no undistorted picture has a distortion's"
            " label; the counts are filled with made pictures.",
        ),
        Gap(
            "Pictures that LIVE has not",
            "How bad_lighting, and what gblur and refimgs have beyond LIVE, were made is not"
            f" stated. {number} of the pictures were made here from pristine ones, at severities"
            " drawn evenly from this project's ranges (LIVE's, where LIVE has the label), each"
            " from a crop of at most 768x512 pixels; refimgs are such crops as they are.",
        ),
        Gap(
            "Labels",
            "Table 1 has seven labels, Table 4 six of them (no wn), and the parameter count of"
            f" SimpleNet, {PARAMETERS_AT_SIX:,}, fits six outputs. The networks here have seven"
            " outputs, so that every picture of the test side counts.",
        ),
    ]


def _of_networks(settings: PaperSettings) -> list[Gap]:
    normalised = (
        "left out (--plain)"
        if settings.plain
        else "used while training and folded into the convolutions after it"
    )
    if settings.from_scratch:
        inception = (
            "Not the paper's recipe: without ImageNet weights all layers of InceptionResNetV2 were"
            " fitted from weights drawn by the seed (--from-scratch)."
        )
    else:
        inception = (
            "The top is one dense layer on the mean over the last map. The running means of the"
            " frozen normalisations stay as they are, so each picture's features are computed once."
        )
    return [
        Gap(
            "Normalisation in SimpleNet",
            "The text says that maps are normalised before the ReLU, and the parameter count has"
            f" no room for it. Batch normalisation was {normalised}: the layers that are left are"
            " the paper's.",
        ),
        Gap("The top of InceptionResNetV2, and what is frozen", inception),
        Gap("Size of the pictures", _size_of_pictures(settings)),
        Gap("Weights at the start of SimpleNet", "He initialisation, drawn by the seed."),
    ]


def _size_of_pictures(settings: PaperSettings) -> str:
    inception = f"{settings.inception_px}x{settings.inception_px}"
    if settings.native:
        return (
            "Not the paper's recipe: of every frame the middle was cut out at native resolution,"
            f" 256x256 for SimpleNet and {inception} for InceptionResNetV2 (--native)."
        )
    return (
        "SimpleNet takes the whole frame resized to 256x256, as the paper has it. For"
        f" InceptionResNetV2 no size is stated: whole frames resized to {inception}."
    )


def _of_fitting(settings: PaperSettings) -> list[Gap]:
    fit = settings.fit
    return [
        Gap("Optimiser and rate", f"Adam at {fit.rate:g}, the same in every epoch, no decay."),
        Gap("Batch", f"{fit.batch} pictures, in an order drawn anew for every epoch."),
        Gap(
            "Loss",
            "Binary cross entropy of each sigmoid output, summed over the outputs. All pictures"
            " weigh the same, although the labels' counts differ.",
        ),
        Gap("Augmentation", "None."),
        Gap("Precision", f"{fit.precision} (Lightning's word). Seed {fit.seed}."),
        Gap(
            f"The runs of {' and '.join(map(str, fit.epochs))} epochs",
            "One run, looked at on its way: since the rate is the same in every epoch, its state"
            " after fewer epochs is that of a shorter run.",
        ),
    ]


def _of_measuring(settings: PaperSettings) -> list[Gap]:
    return [
        Gap(
            "The answer",
            "The label with the largest output. The test side is measured after every epoch, and"
            " nothing is chosen by it.",
        ),
        Gap(
            "Accuracy on the train side",
            "In Table 3 measured after the epoch, without dropout. In Figures 4 and 5 counted while"
            " the epoch runs, with dropout.",
        ),
        Gap(
            "Epochs of the paper's tables",
            "The paper's Table 3 has one row for 50 to 300 epochs, and Table 4 does not say after"
            f" how many. Our Table 4 is after {settings.fit.epochs[-1]}.",
        ),
        Gap(
            "Minutes",
            "The paper's machine is not stated. Ours count training, the features of the frozen"
            " layers and the measuring after each epoch, on the machine named above.",
        ),
    ]
