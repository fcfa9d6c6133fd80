"""The estimate from the support set: nothing is judged by what has seen it."""

import numpy as np
import pytest

from fewshot.classifier.estimate import FOLDS, HeldOut, better, held_out
from fewshot.classifier.heads import LinearHead, fit_linear, log_loss


class Recorder:
    """Fits nearest means, and notes of what; each example is one-hot, so that it can be told which it is."""

    def __init__(self, counts: list[int]) -> None:
        self.labels = np.repeat(np.arange(len(counts)), counts)
        self.features = np.eye(len(self.labels))
        self.seen: list[list[int]] = []

    def fit(self, features: np.ndarray, labels: np.ndarray) -> LinearHead:
        members = features.argmax(1)
        assert np.array_equal(self.labels[members], labels)
        self.seen.append(members.tolist())
        return fit_linear("nearest-mean", features, labels)

    def left_out(self) -> list[list[int]]:
        return [sorted({*range(len(self.labels))} - {*members}) for members in self.seen]


@pytest.mark.parametrize("counts", [[2, 2], [5, 5, 5], [7, 3, 2, 1], [1, 12, 1]])
def test_each_example_is_held_out_once_and_one_of_its_kind_never(counts):
    recorder = Recorder(counts)
    judged = held_out(recorder.fit, recorder.features, recorder.labels)
    alone = [index for index, label in enumerate(recorder.labels) if counts[label] == 1]
    others = [index for index in range(sum(counts)) if index not in alone]
    assert sorted(index for out in recorder.left_out() for index in out) == sorted(judged.rows) == others
    assert np.array_equal(judged.labels, recorder.labels[judged.rows])
    assert len(recorder.seen) == min(FOLDS, max(counts))
    for members in recorder.seen:
        assert {*recorder.labels[members]} == {*range(len(counts))}  # every head knows every class


def test_scores_are_of_the_head_that_had_not_seen_the_example():
    recorder = Recorder([3, 2])
    judged = held_out(recorder.fit, recorder.features, recorder.labels)
    for out in recorder.left_out():
        head = fit_linear("nearest-mean", np.delete(recorder.features, out, axis=0), np.delete(recorder.labels, out))
        assert np.array_equal(judged.scores[np.isin(judged.rows, out)], head.scores(recorder.features[out]))


def test_five_a_class_leave_one_of_each_out():
    recorder = Recorder([5, 5, 5])
    held_out(recorder.fit, recorder.features, recorder.labels)
    assert [recorder.labels[out].tolist() for out in recorder.left_out()] == [[0, 1, 2]] * 5


def test_the_seed_decides_who_is_left_out_together():
    folds = []
    for seed in (0, 0, 1):
        recorder = Recorder([9, 9])
        held_out(recorder.fit, recorder.features, recorder.labels, seed)
        folds.append(recorder.left_out())
    assert folds[0] == folds[1] != folds[2]


def test_one_a_class_tells_nothing():
    recorder = Recorder([1, 1, 1])
    assert held_out(recorder.fit, recorder.features, recorder.labels) is None
    assert not recorder.seen


@pytest.mark.parametrize(("right", "low", "high"), [(8, 0.4902, 0.9433), (10, 0.7225, 1.0), (0, 0.0, 0.2775)])
def test_wilsons_interval_by_hand(right, low, high):
    """Of ten: centre (p + z²/20) / (1 + z²/10), with z = 1.96."""
    labels = np.zeros(10, dtype=np.int64)
    scores = np.eye(2)[(np.arange(10) >= right).astype(int)]
    judged = HeldOut(np.arange(10), scores, labels, temperature=1.0)
    assert judged.right.sum() == right
    assert judged.interval() == pytest.approx((low, high), abs=5e-5)
    assert sum(judged.interval()) / 2 == pytest.approx((right / 10 + 1.96**2 / 20) / (1 + 1.96**2 / 10), abs=1e-5)


def test_useless_features_are_no_better_than_chance():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    judged = held_out(lambda x, y: fit_linear("nearest-mean", x, y), rng.normal(size=(200, 30)), labels)
    low, high = judged.interval()
    assert low < 0.25 < high
    assert log_loss(judged.scores, judged.labels, judged.temperature) == pytest.approx(np.log(4), abs=0.05)


def test_better_is_better_beyond_chance():
    wrong, right = np.zeros(10, bool), np.ones(10, bool)
    assert better(right, wrong)
    assert not better(wrong, right)
    assert not better(right, right)
    assert better(np.arange(10) < 5, wrong)  # five of five: p = 1/32
    assert not better(np.arange(10) < 4, wrong)  # four of four: p = 1/16
