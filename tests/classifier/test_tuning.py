"""Tuning a backbone on the support set: what is held out is not seen, and nothing is kept that may be chance."""

import numpy as np
import pytest
import timm
import torch
from timm.models import save_for_hf

from fewshot.classifier import FewShotClassifier, tuning
from fewshot.classifier.tuning import better, tune
from fewshot.errors import FewShotError
from fewshot.networks import PretrainedEmbedding


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> PretrainedEmbedding:
    """A tiny network of untrained weights."""
    folder = tmp_path_factory.mktemp("backbone")
    save_for_hf(timm.create_model("test_resnet", num_classes=7), folder, safe_serialization=True)
    return PretrainedEmbedding(f"{folder}").eval()


@pytest.mark.parametrize("head", ["nearest-mean", "logistic"])
def test_random_labels_are_not_told_of_what_is_held_out(head, backbone, monkeypatch):
    monkeypatch.setattr(tuning, "better", lambda *_: True)  # so that it is kept, whatever it is
    images = list(np.random.default_rng(0).integers(256, size=(60, 3, 16, 16), dtype=np.uint8))
    features = backbone(torch.from_numpy(np.stack(images)) / 255).numpy()
    tuned = tune(backbone, head, features, 0.1, images, np.arange(60) % 3)
    assert tuned.held_out.right.mean() < 0.55  # by chance 1/3, more than 0.55 once in a thousand
    assert sorted(tuned.held_out.rows) == [*range(60)]


def test_better_is_beyond_chance():
    wrong, right = np.zeros(10, bool), np.ones(10, bool)
    assert better(right, wrong)
    assert not better(wrong, right)
    assert not better(right, right)
    assert better(np.arange(10) < 5, wrong)  # five of five: p = 1/32
    assert not better(np.arange(10) < 4, wrong)  # four of four: p = 1/16


def test_tuning_is_for_pictures_and_a_backbone(support):
    with pytest.raises(FewShotError, match="tune norm is for pictures and a pretrained backbone: leave it out"):
        FewShotClassifier(tune="norm").fit(np.eye(4), [*"abab"])
    learner = FewShotClassifier(ckpt_path="pretrained/protonet_5w1s", tune="norm")
    with pytest.raises(FewShotError, match="tune norm is for pictures and a pretrained backbone"):
        learner.fit(support.files, support.labels)
