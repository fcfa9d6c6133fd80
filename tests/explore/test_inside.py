"""The look inside: its numbers are those of a prediction."""

import numpy as np
import pytest
import torch

from fewshot.algorithms.protonet import distances
from fewshot.explore.inside import Inside, embeddings
from fewshot.explore.tabs.inside import InsideTab


@pytest.fixture
def episode(shelf):
    return shelf.characters.episode(3, ways=5, queries=3)


@pytest.mark.parametrize("name", ["MAML", "ProtoNet"])
def test_probabilities_are_those_of_a_prediction(shelf, episode, name):
    learner = shelf.drawings[name]
    inside = Inside.of(learner, episode, steps=learner.steps)
    prediction = learner.module.predict(episode)
    assert inside.probabilities[-1] == pytest.approx(prediction.outputs[0].softmax(-1).numpy(), abs=1e-5)
    right = prediction.outputs[0].argmax(-1) == episode.query.y[0]
    assert inside.accuracies[-1] == pytest.approx(right.float().mean().item())
    assert len(inside.accuracies) == learner.steps + 1


def test_embeddings_are_what_the_head_sees(shelf, episode):
    """After so many steps, the adapted head makes the learner's outputs of them."""
    learner = shelf.drawings["MAML"]
    module, supports = learner.module, episode.support.y.shape[1]
    features = embeddings(learner, episode, 2)
    for step, adapted in enumerate(module.adapt(episode.support, 2, "none")):
        weights = {name: weight[0] for name, weight in adapted.weights.items()}
        outputs = features[step, supports:] @ weights["head.weight"].T + weights["head.bias"]
        assert torch.allclose(outputs, adapted(episode.query.x)[0], atol=1e-4)


def test_embeddings_of_a_prototypical_network_decide_by_distance(shelf, episode):
    features = embeddings(shelf.drawings["ProtoNet"], episode, 0)
    nearest = distances(features[:, 5:], features[:, :5], "euclidean").argmin(-1)
    outputs = shelf.drawings["ProtoNet"].module.predict(episode).outputs
    assert torch.equal(nearest, outputs.argmax(-1))


def test_with_one_example_the_prototype_is_the_example(shelf, episode):
    inside = Inside.of(shelf.drawings["MAML"], episode, steps=1)
    assert inside.prototypes == pytest.approx(inside.support, abs=1e-4)


def test_the_steps_and_the_episode_are_chosen(page, shelf):
    tab = InsideTab(page, shelf)
    for steps in (0, 4):
        tab.steps.value = steps
        assert f"<b>{tab.inside.accuracies[steps]:.0%}</b>" in tab.said.text
        assert np.array_equal(tab.points[0].data["x"], tab.inside.queries[steps, :, 0])
    before = tab.queries.data["image"][0]
    tab.number.value = 1
    assert not np.array_equal(tab.queries.data["image"][0], before)
    tab.learner.value = "ProtoNet"
    assert "without any steps" in tab.said.text
