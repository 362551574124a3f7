"""The classifiers on top of the features, in the form in which a network answers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from train.baselines.brisque import brisque
from train.baselines.simple import simple_measures
from train.errors import TrainingError
from train.predict import Predictor

Features = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

BASELINES = ("brisque_svm", "logistic_regression")
_SVM_C = 10.0
_MOST_ITERATIONS = 2000


def fit_baseline(
    name: str, tiles: NDArray[np.uint8], truth: NDArray[np.int64], classes: int
) -> Predictor:
    """Fit one baseline on tiles.

    Args:
        name: One of `BASELINES`.
        tiles: (N, H, W, 3) uint8 BGR.
        truth: (N,) label numbers, every label among them.
        classes: Number of labels.

    Returns:
        What gives (N, C) float32 probabilities for tiles. Those of the SVM are a softmax of its
        one-against-rest decision values: they rank, but are not calibrated.

    Raises:
        TrainingError: No such baseline, or a label without tiles.
    """
    if name not in BASELINES:
        raise TrainingError(f"no baseline {name!r}; there are: {', '.join(BASELINES)}")
    if len(set(truth.tolist())) != classes:
        raise TrainingError(f"{len(set(truth.tolist()))} of {classes} labels have tiles")
    if name == "brisque_svm":
        svm = make_pipeline(StandardScaler(), SVC(C=_SVM_C, decision_function_shape="ovr"))
        svm.fit(_matrix(brisque, tiles), truth)
        return lambda asked: _softmax(svm.decision_function(_matrix(brisque, asked)))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_ITERATIONS))
    logistic.fit(_matrix(simple_measures, tiles), truth)
    return lambda asked: logistic.predict_proba(_matrix(simple_measures, asked)).astype(np.float32)


def _matrix(features: Features, tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.stack([features(tile) for tile in tiles])


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float32]:
    if values.ndim == 1:  # of two classes scikit-learn gives the second one's value alone
        values = np.stack([-values, values], axis=1)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
