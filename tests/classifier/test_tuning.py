"""Tuning a backbone on the support set: what is held out is not seen, and nothing is kept that may be chance."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
from timm.models import save_for_hf

from fewshot.classifier import FewShotClassifier, tuning
from fewshot.classifier.estimate import held_out
from fewshot.classifier.heads import LINEAR, fit_linear
from fewshot.classifier.sources import both_ways
from fewshot.classifier.tuning import tune
from fewshot.errors import FewShotError
from fewshot.networks import PretrainedEmbedding


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> PretrainedEmbedding:
    """A tiny network of untrained weights."""
    folder = tmp_path_factory.mktemp("backbone")
    save_for_hf(timm.create_model("test_resnet", num_classes=7), folder, safe_serialization=True)
    return PretrainedEmbedding(f"{folder}").eval()


@pytest.mark.parametrize("head", LINEAR)
def test_tuning_starts_from_heads_that_have_not_seen_what_is_held_out(head, backbone, monkeypatch):
    monkeypatch.setattr(tuning, "better", lambda *_: True)  # so that it is kept, whatever it is
    monkeypatch.setattr(tuning, "EPOCHS", 0)
    images = np.random.default_rng(0).integers(256, size=(24, 3, 16, 16), dtype=np.uint8)
    labels = np.arange(24) % 3
    with torch.no_grad():
        features = both_ways(backbone, torch.from_numpy(images) / 255).numpy()
    frozen = held_out(partial(fit_linear, head), features, labels)
    tuned = tune(backbone, head, features, frozen.temperature, list(images), labels)
    assert np.array_equal(tuned.held_out.rows, frozen.rows)
    np.testing.assert_allclose(tuned.held_out.scores, frozen.scores / frozen.temperature, rtol=1e-3, atol=1e-3)


def test_tuning_is_for_pictures_and_a_backbone(support):
    with pytest.raises(FewShotError, match="tune norm is for pictures and a pretrained backbone: leave it out"):
        FewShotClassifier(tune="norm").fit(np.eye(4), [*"abab"])
    learner = FewShotClassifier(ckpt_path="pretrained/protonet_5w1s", tune="norm")
    with pytest.raises(FewShotError, match="tune norm is for pictures and a pretrained backbone"):
        learner.fit(support.files, support.labels)
