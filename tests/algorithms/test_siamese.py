"""Siamese networks against the distance and the cross-entropy of torch, pair after pair."""

import torch
import torch.nn.functional as F
from helpers import Identity, conv4, image_tasks

from fewshot.algorithms import SiameseModule
from fewshot.algorithms.siamese import mean_by_class, verification_loss
from fewshot.episodes import Examples


def siamese() -> SiameseModule:
    """Learned weights 1/2 and 2, and a bias of 3."""
    module = SiameseModule(Identity(2)).double()
    module.log_weights.data = torch.tensor([0.5, 2.0]).double().log()
    module.bias.data.fill_(3.0)
    return module


def test_a_score_is_the_bias_less_a_weighted_distance():
    x, others = torch.tensor([[[0.0, 0.0]]]).double(), torch.tensor([[[0.0, 0.0], [-4.0, 1.0]]]).double()
    torch.testing.assert_close(siamese().scores(x, others), torch.tensor([[[3.0, 3 - 2 - 2]]]).double())


def test_one_shot_takes_the_most_similar_and_more_shots_the_highest_mean():
    module, queries = siamese(), torch.zeros(1, 1, 2).double()
    support = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0], [0.0, 1.5]]]).double()
    one_shot = module.compare(Examples(support[:, :2], torch.tensor([[1, 0]])), queries)
    torch.testing.assert_close(one_shot.exp(), torch.tensor([[[1.0, 2.5]]]).double().sigmoid())
    # Class 0 has the most similar example, and one that is far away.
    two_shots = module.compare(Examples(support, torch.tensor([[0, 1, 0, 1]])), queries)
    near, far = torch.tensor([2.5, 3 - 22.5]).double().sigmoid(), torch.tensor([1.0, 0.0]).double().sigmoid()
    torch.testing.assert_close(two_shots.exp(), torch.stack([near.mean(), far.mean()]).view(1, 1, 2))


def test_probabilities_next_to_nothing_are_still_told_apart():
    assert mean_by_class(torch.tensor([[[-500.0, -400.0]]]), torch.tensor([[0, 1]])).tolist() == [[[-500.0, -400.0]]]


def test_pairs_of_one_class_weigh_as_much_as_the_others():
    scores, labels = torch.randn(1, 5, 5), torch.tensor([[0, 0, 1, 1, 1]])
    losses: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for i in range(5):
        for j in range(5):
            same = bool(labels[0, i] == labels[0, j])
            if i != j:
                losses[same].append(F.binary_cross_entropy_with_logits(scores[0, i, j], torch.tensor(float(same))))
    expected = (torch.stack(losses[True]).mean() + torch.stack(losses[False]).mean()) / 2
    torch.testing.assert_close(verification_loss(scores, labels), expected)


def test_all_pairs_of_an_episode_are_learned_from_also_under_autocast():
    module, episode = SiameseModule(conv4("running")), image_tasks(ways=3, shots=2)
    support, query = (part._replace(x=part.x.float()) for part in (episode.support, episode.query))
    episode = episode._replace(support=support, query=query)
    module.eval()
    loss, outputs = module.outer_loss(episode)
    torch.testing.assert_close(outputs, module(episode).outputs)
    embedded, queries = module.embed(episode)
    x, labels = torch.cat([embedded.x, queries], dim=1), torch.cat([support.y, query.y], dim=1)
    torch.testing.assert_close(loss, verification_loss(module.scores(x, x), labels))
    with torch.autocast("cpu", torch.bfloat16):
        lower = module.outer_loss(episode)
    assert lower.outputs.dtype == lower.loss.dtype == torch.float32
    lower.loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())
