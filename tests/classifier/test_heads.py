"""Heads on features: numbers by hand, and scikit-learn's own decisions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.preprocessing import normalize

from fewshot.classifier.estimate import best_temperature
from fewshot.classifier.heads import ALPHAS, LINEAR, fit_linear, log_loss


def examples(classes: int, each: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes that overlap, far from length one, and their labels."""
    rng = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, 8))
    return 7 * (centres[labels] + rng.normal(size=(len(labels), 8))), labels


def test_nearest_mean_by_hand():
    head = fit_linear("nearest-mean", np.array([[3.0, 0], [0, 5], [-2, 0]]), np.array([0, 0, 1]))
    assert head.weight.tolist() == [[0.5, 0.5], [-1, 0]]  # the means of features of length one
    assert head.bias.tolist() == [-0.25, -0.5]
    assert head.scores(np.array([[0.0, -7], [0, 7]])).tolist() == [[-0.75, -0.5], [0.25, -0.5]]


def test_nearest_mean_scores_differ_by_half_the_squared_distances():
    features, labels = examples(3)
    head = fit_linear("nearest-mean", features, labels)
    distances = ((normalize(features)[:, None] - head.weight) ** 2).sum(-1)
    scores = head.scores(features)
    np.testing.assert_allclose(scores - scores[:, :1], (distances[:, :1] - distances) / 2)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("ridge", RidgeClassifierCV(alphas=ALPHAS)), ("logistic", LogisticRegression(C=100, max_iter=1000))],
)
def test_regressions_decide_as_scikit_learn_does(name, theirs, classes):
    features, labels = examples(classes)
    others, _ = examples(classes, each=9)
    decisions = theirs.fit(normalize(features), labels).decision_function(normalize(others))
    scores = fit_linear(name, features, labels).scores(others)
    assert scores.shape == (len(others), classes)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0] if classes == 2 else scores, decisions)
    assert np.array_equal(scores.argmax(1), theirs.predict(normalize(others)))


@pytest.mark.parametrize("name", LINEAR)
def test_the_length_of_features_tells_nothing(name):
    features, labels = examples(3)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (len(features), 1))
    scores = fit_linear(name, features, labels).scores(features)
    np.testing.assert_allclose(fit_linear(name, features * lengths, labels).scores(features * 3), scores)


def test_temperature_and_log_loss_by_hand():
    """Three of four are right by a margin of one: the probability that fits is 3/4, less a little doubt."""
    scores, labels = np.array([[1.0, 0], [1, 0], [0, 1], [1, 0]]), np.array([0, 0, 1, 1])
    temperature = best_temperature(scores, labels)
    right = 0.98 * 0.75 + 0.02 * 0.5  # a tenth of an example of doubt among five
    assert temperature == pytest.approx(1 / np.log(right / (1 - right)), rel=1e-3)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert log_loss(scores, labels, 1 / np.log(3)) == pytest.approx(entropy)


def test_where_all_are_right_probabilities_stay_below_one():
    scores = 3 * np.eye(2)[[0, 0, 1, 1]]
    temperature = best_temperature(scores, np.array([0, 0, 1, 1]))
    assert 1 / (1 + np.exp(-3 / temperature)) == pytest.approx(0.98 + 0.02 / 2, rel=1e-3)


@pytest.mark.parametrize("scale", [0.1, 20])
def test_scaled_scores_want_a_scaled_temperature(scale):
    scores, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    scores[np.arange(40), labels] += 1
    temperature = best_temperature(scores, labels)
    assert best_temperature(scale * scores, labels) == pytest.approx(scale * temperature, rel=1e-3)
    assert best_temperature(scores + 5, labels) == pytest.approx(temperature)
