"""``FewShotClassifier``: an estimator of scikit-learn that takes pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SHAPES, SHOTS, draw_shape
from PIL import Image
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fewshot.classifier import FewShotClassifier
from fewshot.classifier.estimate import deal
from fewshot.classifier.estimator import UNKNOWN_TEMPERATURE
from fewshot.data.pictures import read_picture
from fewshot.errors import FewShotError
from fewshot.networks import backbones

PROTONET, MAML = "pretrained/protonet_5w1s", "pretrained/maml_5w1s"


@parametrize_with_checks([FewShotClassifier()])
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


# --- pictures


def test_files_pillow_and_arrays_are_the_same_pictures(classifier, query):
    files = query.files[::3]
    opened = [Image.open(file) for file in files]
    expected = classifier.predict_proba(files)
    assert expected.shape == (2, len(SHAPES))
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-6)  # a few roundings of float32
    for same in (
        [Path(file) for file in files],
        np.array(files),
        opened,
        [np.asarray(picture) for picture in opened],
        np.stack([np.asarray(picture) for picture in opened]),
        torch.from_numpy(np.stack([np.asarray(picture) for picture in opened])),
    ):
        np.testing.assert_allclose(classifier.predict_proba(same), expected, rtol=1e-4, atol=1e-6)


def test_gray_arrays_of_any_size_are_pictures(classifier):
    gray = [np.full((9, 13), 80, np.uint8), np.full((20, 11), 80, np.uint8)]
    probabilities = classifier.predict_proba(gray)
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)
    coloured = classifier.predict_proba(np.full((1, 9, 13, 3), 80, np.uint8))
    np.testing.assert_allclose(probabilities[:1], coloured, atol=1e-5)


def test_most_pictures_are_told_apart(classifier, query):
    assert classifier.classes_.tolist() == sorted(SHAPES)
    assert classifier.score(query.files, query.labels) >= 5 / 6
    assert (
        classifier.predict(query.files) == classifier.classes_[classifier.predict_proba(query.files).argmax(1)]
    ).all()
    assert classifier.held_out_.right.mean() > 0.6


def test_the_features_are_the_backbones_own(classifier, support):
    network = classifier.source.module
    images = np.stack([read_picture(file, 224, 3, 0.875, "bicubic") for file in support.files[:3]])
    there, mirrored = (torch.from_numpy(some.copy()).float() / 255 for some in (images, images[..., ::-1]))
    expected = network(there) + network(mirrored)
    np.testing.assert_allclose(classifier.features_[:3], expected, rtol=1e-3, atol=1e-4)


def test_labels_may_be_numbers(support):
    numbers = np.array([10 * [*SHAPES].index(label) for label in support.labels])
    classifier = FewShotClassifier(head="ridge").fit(support.files, numbers)
    assert classifier.classes_.tolist() == [0, 10, 20]
    assert classifier.predict(support.files[:1]).dtype.kind == "i"


# --- heads


def test_auto_takes_ridge_regression_unless_another_is_better_beyond_chance(classifier):
    assert [*classifier.candidates_] == ["ridge", "logistic", "nearest-mean"]
    assert classifier.head_name_ == "ridge"
    assert classifier.held_out_ is classifier.candidates_["ridge"]
    assert classifier.temperature_ == classifier.held_out_.temperature


def test_auto_takes_another_head_where_ridge_regression_fails():
    """A class lies between two others on a circle: fitted to ones and zeros, a plane masks it."""
    angles = np.repeat([-0.3, 0.0, 0.3], 20) + 0.03 * np.random.default_rng(0).standard_normal(60)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) + 5
    fitted = FewShotClassifier().fit(features, np.repeat([*"abc"], 20))
    judged = fitted.candidates_
    assert judged["ridge"].right.mean() < 0.8 < judged[fitted.head_name_].right.mean()


def test_auto_takes_the_nearest_mean_of_one_picture_a_class(support):
    classifier = FewShotClassifier().fit(support.files[::SHOTS], support.labels[::SHOTS])
    assert classifier.head_name_ == "nearest-mean"
    assert classifier.held_out_ is None
    assert classifier.temperature_ == UNKNOWN_TEMPERATURE


def test_auto_tries_no_logistic_regression_of_hundreds_of_classes():
    rng = np.random.default_rng(0)
    classifier = FewShotClassifier().fit(rng.normal(size=(300, 8)), np.repeat(np.arange(150), 2))
    assert "logistic" not in classifier.candidates_


def test_probabilities_are_a_softmax_of_scores_over_the_temperature(classifier, query):
    scores = classifier.decision_function(query.files)
    probabilities = classifier.predict_proba(query.files)
    np.testing.assert_allclose(probabilities, softmax(scores / classifier.temperature_, axis=1))


# --- scikit-learn's tools, on paths


def test_cross_validation_on_paths(support):
    scores = cross_val_score(FewShotClassifier(head="nearest-mean"), support.files, support.labels, cv=2)
    assert len(scores) == 2
    assert scores.mean() > 0.5


def test_cross_validation_and_the_estimate_agree(fitted, support):
    fold = np.empty(len(support.files), dtype=int)
    for number, rows in enumerate(deal(fitted.labels_, fitted.random_state)):
        fold[rows] = number
    scores = cross_val_score(fitted, support.files, support.labels, cv=PredefinedSplit(fold))
    assert scores.mean() == pytest.approx(fitted.held_out_.right.mean())


def test_grid_search_over_heads_on_paths(support, query):
    search = GridSearchCV(FewShotClassifier(), {"head": ["nearest-mean", "ridge"]}, cv=2)
    search.fit(support.files, support.labels)
    assert search.best_params_["head"] in ("nearest-mean", "ridge")
    assert search.score(query.files, query.labels) > 0.5


def test_a_clone_is_unfitted_and_has_the_same_options(classifier):
    copy = clone(classifier.set_params(random_state=0))
    assert copy.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(["picture.png"])


# --- more classes


@pytest.mark.parametrize("options", [{}, {"ckpt_path": PROTONET}])
def test_adding_a_class_equals_fitting_all(options, support, query):
    first = [index for index, label in enumerate(support.labels) if label != "square"]
    some = FewShotClassifier(**options).fit([support.files[i] for i in first], [support.labels[i] for i in first])
    some.add_class([file for file, label in zip(support.files, support.labels) if label == "square"], "square")
    order = sorted(range(len(support.files)), key=lambda index: support.labels[index] == "square")
    every = FewShotClassifier(**options).fit([support.files[i] for i in order], [support.labels[i] for i in order])
    assert some.classes_.tolist() == every.classes_.tolist() == sorted(SHAPES)
    assert some.head_name_ == every.head_name_
    np.testing.assert_allclose(some.predict_proba(query.files), every.predict_proba(query.files), rtol=1e-6)


def test_more_pictures_of_a_known_class(fitted):
    fitted.add_class([draw_shape("disc", 100)], "disc")
    assert fitted.classes_.tolist() == sorted(SHAPES)
    assert np.bincount(fitted.labels_).tolist() == [SHOTS + 1, SHOTS, SHOTS]


def test_a_class_that_is_refused_changes_nothing(fitted, support, query):
    before = fitted.predict_proba(query.files)
    with pytest.raises(FewShotError, match="the label 4 is of another kind than the classes, such as 'disc'"):
        fitted.add_class(support.files[:1], 4)
    with pytest.raises(FewShotError, match="the label None is of another kind"):
        fitted.add_class(support.files[:1], None)
    five = FewShotClassifier(ckpt_path=MAML).fit(support.files[:5], [*"abcde"])
    asked = five.predict_proba(query.files)
    with pytest.raises(FewShotError, match="tells 5 classes apart, and the support set has 6"):
        five.add_class(support.files[5:6], "f")
    assert five.classes_.tolist() == [*"abcde"]
    assert np.array_equal(five.predict_proba(query.files), asked)
    assert np.array_equal(fitted.predict_proba(query.files), before)


def test_a_tuned_classifier_gives_no_estimate_once_a_class_is_added(fitted, support, tmp_path):
    fitted.tuned_ = True  # on all of these pictures
    assert fitted.held_out_ is not None
    fitted.save(tmp_path)
    for classifier in (fitted, FewShotClassifier.load(tmp_path)):
        classifier.add_class([draw_shape("disc", 100)], "new")
        assert classifier.held_out_ is None
        assert classifier.candidates_ == {}
        assert np.isfinite(classifier.predict_proba(support.files[:1])).all()


# --- what is refused, in one line


def refused(message: str, X: object, y: object = "ab", **options: object) -> None:  # noqa: N803
    with pytest.raises(FewShotError, match=message) as error:
        FewShotClassifier(**options).fit(X, [*y])
    assert "\n" not in str(error.value)


def test_pictures_that_cannot_be_read_are_named(support, tmp_path):
    (tmp_path / "empty.png").touch()
    files = [support.files[0], f"{tmp_path}/empty.png", f"{tmp_path}/none.png"]
    expected = r"2 of the 3 pictures cannot be read: .*empty.png \(it is empty, .*\), .*none.png \(No such file"
    refused(expected, files, "aba")
    with pytest.raises(FewShotError, match="1 of the 1 pictures cannot be read"):
        FewShotClassifier(head="nearest-mean").fit(support.files, support.labels).predict(files[1:2])


def test_what_is_no_list_of_pictures_is_refused(support):
    refused(r"pictures must be uint8 \[n, H, W\] or \[n, H, W, 3\], not float64 \[2, 8, 8\]", np.zeros((2, 8, 8)))
    refused(r"not uint8 \[2, 8, 8, 4\]", np.zeros((2, 8, 8, 4), np.uint8))
    refused(r"not uint8 \[1, 8, 8, 2\]", [np.zeros((8, 8, 2), np.uint8)] * 2)
    refused(r"pictures come as a list: \[picture\]", support.files[0])
    refused("12 pictures, but 2 labels", support.files)

    refused("pictures and rows of numbers do not go together", [np.zeros((8, 8), np.uint8), np.zeros(8, np.uint8)])
    refused("tune must be none or norm, not norms", support.files[:2], tune="norms")


def test_one_class_is_refused(support):
    refused("one class, a: to tell classes apart takes two or more", support.files[:3], "aaa")
    refused("no class: to tell classes apart takes two or more", np.empty((0, 8, 8), np.uint8), [])


def test_a_picture_may_be_there_twice(classifier, query):
    with Image.open(query.files[0]) as picture:  # not decoded yet
        once, twice = classifier.predict_proba([picture] * 2)
    np.testing.assert_allclose([once, twice], classifier.predict_proba(query.files[:1]).repeat(2, 0), rtol=1e-4)


def test_heads_that_do_not_go_with_the_source_are_refused(support):
    files = support.files[:2]
    refused("head must be auto, learner, ridge, logistic, nearest-mean, not svm", files, head="svm")
    refused("a backbone has no head of its own: choose head auto", files, head="learner")
    refused("head learner needs pictures and a checkpoint", np.eye(2), head="learner")
    refused(
        "MAML tells 5 classes apart, and the support set has 6: give fewer, train one with --data.ways 6",
        support.files[:6], "abcdef", ckpt_path=MAML,
    )  # fmt: skip
    refused("there is no checkpoint file 'nowhere.ckpt'", files, ckpt_path="nowhere.ckpt")
    refused("timm has no backbone 'resnt18'", files, backbone="resnt18")


def test_weights_that_are_not_here_are_told_of_in_the_words_of_predict(support, monkeypatch):
    monkeypatch.setattr(backbones, "cached", lambda origin: None)
    refused(
        r"weights of resnet18.a1_in1k are not on this machine: .* or --download true \(download=True in Python\); "
        "where there is none, --backbone FOLDER with",
        support.files[:2], backbone="resnet18.a1_in1k",
    )  # fmt: skip


def test_what_was_fitted_to_features_knows_no_pictures(support):
    classifier = FewShotClassifier().fit(np.eye(4), [*"abab"])
    with pytest.raises(FewShotError, match="was fitted to features, and knows nothing of pictures"):
        classifier.predict(support.files)
