"""Relation networks against the paper's network on pairs laid upon each other, one by one."""

import pytest
import torch
import torch.nn.functional as F
from helpers import conv4, image_tasks

from fewshot.algorithms import RelationModule
from fewshot.algorithms.metric import prototypes
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


def relation(**options: object) -> RelationModule:
    return RelationModule(conv4("running", cells=2), **options).double().eval()


def test_a_score_is_that_of_a_query_laid_upon_a_class():
    module, episode = relation(), image_tasks(tasks=2, ways=3, shots=2, queries=1)
    net, scores = module.relation, module(episode).outputs
    both = torch.cat([net.of_class.weight, net.of_query.weight], dim=1)  # one convolution over 2 C channels
    support, queries = module.embed(episode)
    classes = prototypes(support)
    with torch.no_grad():
        for task, query, label in ((0, 0, 0), (0, 2, 1), (1, 1, 2)):
            maps = torch.cat([classes[task, label].view(1, 4, 2, 2), queries[task, query].view(1, 4, 2, 2)], dim=1)
            x = F.relu(net.first_norm(F.conv2d(maps, both, padding=1)))
            x = F.relu(net.second_norm(F.conv2d(x, net.of_pair.weight, padding=1)))
            torch.testing.assert_close(scores[task, query, label], net.head(x.flatten(1))[0, 0])


def test_the_scores_are_to_be_one_for_the_right_class_and_zero_for_the_others():
    module, episode = relation(), image_tasks(tasks=1, ways=2, shots=1, queries=1)
    loss, scores = module.outer_loss(episode)
    ((a, b), (c, d)) = scores[0].sigmoid()  # of classes 0 and 1: the query of class 0, the query of class 1
    torch.testing.assert_close(loss, ((a - 1) ** 2 + b**2 + c**2 + (d - 1) ** 2) / 4)
    module.train_loss = "cross-entropy"
    torch.testing.assert_close(module.outer_loss(episode).loss, F.cross_entropy(scores[0], episode.query.y[0]))


@pytest.mark.parametrize("train_loss", ["mse", "cross-entropy"])
def test_everything_is_learned_also_under_autocast(train_loss):
    module, episode = relation(train_loss=train_loss).float().train(), image_tasks(ways=3, shots=2)
    support, query = (part._replace(x=part.x.float()) for part in (episode.support, episode.query))
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.outer_loss(episode._replace(support=support, query=query)).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_embeddings_without_places_are_refused():
    with pytest.raises(FewShotError, match=r"^Relation compares feature maps, and the features of Conv4 are of 1 x 1"):
        RelationModule(Conv4(running_statistics=True))
    with pytest.raises(FewShotError, match=r"^hidden must be at least 1, not 0$"):
        relation(hidden=0)
