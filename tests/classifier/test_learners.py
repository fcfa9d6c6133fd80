"""``FewShotClassifier`` on a checkpoint: what it predicts is what the learner does."""

import threading

import numpy as np
import pytest
import torch
from helpers import no_thread_stays

from fewshot.classifier import FewShotClassifier
from fewshot.classifier.heads import fit_linear
from fewshot.episodes import Episode, Examples
from fewshot.evaluation.load import load
from fewshot.shipped import checkpoint_path

PROTONET, MAML = "pretrained/protonet_5w1s", "pretrained/maml_5w1s"


def episode(classifier: FewShotClassifier, support: list[str], labels: np.ndarray, query: list[str]) -> Episode:
    """The pictures as a task of the learner's data, in the order of the classes."""
    order = np.argsort(labels, kind="stable")
    x, queries = (
        torch.from_numpy(np.stack([classifier.source.read(file) for file in files])).float()[None] / 255
        for files in ([support[index] for index in order], query)
    )
    y = torch.from_numpy(labels[order])[None]
    return Episode(Examples(x, y), Examples(queries, torch.zeros(1, len(query), dtype=torch.int64)))


def test_a_protonet_predicts_as_its_module_does(protonet, support, query):
    module = load(checkpoint_path(PROTONET)).module
    module.load_state_dict(torch.load(checkpoint_path(PROTONET), weights_only=True)["state_dict"])
    logits = module.eval().predict(episode(protonet, support.files, protonet.labels_, query.files)).outputs[0]
    assert protonet.head_name_ == "learner"
    np.testing.assert_allclose(protonet.decision_function(query.files), logits, rtol=1e-4, atol=1e-4)


def test_maml_predicts_as_its_module_does_for_fewer_classes(maml, support, query):
    module = load(checkpoint_path(MAML), ["--model.batch_norm=inductive"]).module
    module.load_state_dict(torch.load(checkpoint_path(MAML), weights_only=True)["state_dict"])
    logits = module.eval().predict(episode(maml, support.files, maml.labels_, query.files)).outputs[0]
    scores = maml.decision_function(query.files)
    assert scores.shape == (len(query.files), 3)
    np.testing.assert_allclose(scores, logits[:, :3], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(maml.predict_proba(query.files).sum(1), 1, rtol=1e-6)


def test_queries_are_judged_each_on_its_own(maml, protonet, classifier, query):
    for one in (maml, protonet, classifier):
        together, alone = one.decision_function(query.files), one.decision_function(query.files[-1:])
        np.testing.assert_allclose(together[-1:], alone, rtol=1e-3, atol=1e-3)


def test_another_head_on_a_learners_embedding(protonet, support, query):
    classifier = FewShotClassifier(ckpt_path=PROTONET, head="logistic").fit(support.files, support.labels)
    features, _ = protonet.source.features(query.files)
    expected = fit_linear("logistic", protonet.features_, protonet.labels_).scores(features)
    np.testing.assert_allclose(classifier.decision_function(query.files), expected, rtol=1e-4, atol=1e-4)


def test_a_progress_bar_ends_with_an_error_even_if_somebody_keeps_it(protonet, query, monkeypatch):
    monkeypatch.setattr(protonet.source, "_some", None)
    others = {*threading.enumerate()}
    with pytest.raises(TypeError) as kept:
        protonet.source.features(query.files, "Queries")
    assert kept.traceback
    no_thread_stays(others)
