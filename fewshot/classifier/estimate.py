"""What the support set says of itself: each of its examples judged by a head that has not seen it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest

from fewshot.classifier.heads import Head

FOLDS = 5
"""At most so many heads are fitted to estimate one: at five examples a class, each leaves out one of every class."""

CHANCE = 0.05  # a result that is better with this probability or less is not taken for chance
DOUBT = 0.1  # of one example, in a wrong label: by it the log loss of 5-way 3-shot groceries fell from 1.30 to 0.15
TEMPERATURES = (1e-3, 1e2)  # within which one is looked for

Fit = Callable[[np.ndarray, np.ndarray], Head]


class HeldOut(NamedTuple):
    """Scores of support examples by heads that were fitted without them.

    Attributes:
        rows: Which examples: those whose class has another one, ``[m]``.
        scores: ``[m, N]``.
        labels: ``[m]``, 0 to N-1.
        temperature: What the scores are to be divided by for calibrated probabilities.
    """

    rows: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    temperature: float

    @property
    def right(self) -> np.ndarray:
        """Which of them are classified correctly, ``[m]``."""
        return self.scores.argmax(1) == self.labels

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        interval = binomtest(int(self.right.sum()), len(self.right)).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)


def held_out(fit: Fit, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> HeldOut | None:
    """Judges each example by a head that was fitted to others.

    Args:
        fit: Fits a head to features and labels.
        features: ``[n, D]``.
        labels: ``[n]``, 0 to N-1.
        seed: Of the order.

    Returns:
        ``None`` if no class has two examples.
    """
    folds = deal(labels, seed)
    if not folds:
        return None
    rows, parts = np.concatenate(folds), []
    for out in folds:
        head = fit(np.delete(features, out, axis=0), np.delete(labels, out))
        parts.append(head.scores(features[out]))
    scores = np.concatenate(parts)
    return HeldOut(rows, scores, labels[rows], best_temperature(scores, labels[rows]))


def deal(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Deals the examples of each class out to folds in turn, in a random order.

    The only example of a class is in none of them: it is always fitted to, and never judged.

    Args:
        labels: ``[n]``, 0 to N-1.
        seed: Of the order.

    Returns:
        The rows of each fold; none if no class has two examples.
    """
    counts, rng = np.bincount(labels), np.random.default_rng(seed)
    fold = np.full(len(labels), -1)
    for label in np.flatnonzero(counts > 1):
        fold[labels == label] = rng.permutation(counts[label]) % FOLDS
    return [np.flatnonzero(fold == number) for number in range(fold.max() + 1)]


def best_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the lowest log loss.

    Guo et al., 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599. A little of each
    label's weight is spread over all classes, less the more examples there are: where all are right, the temperature
    would go to zero, and every probability to one.
    """
    doubt = DOUBT / (len(labels) + 1)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(scores / np.exp(log_temperature), axis=1)
        right = logs[np.arange(len(labels)), labels]
        return float(-((1 - doubt) * right + doubt * np.where(np.isfinite(logs), logs, 0).mean(1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def better(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether more examples are right beyond chance: McNemar's exact test on those that differ, one-sided."""
    won, differ = int((ours & ~theirs).sum()), int((ours != theirs).sum())
    return differ > 0 and binomtest(won, differ, alternative="greater").pvalue <= CHANCE
