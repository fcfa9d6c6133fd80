"""What the learners share that compare in an embedding: by a nearest-neighbour classifier that is written here."""

import pytest
import torch
from helpers import Identity, image_tasks
from torch import Tensor

from fewshot.algorithms import MetricModule, ProtoNetModule, metric
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


class NearestExample(MetricModule):
    """Minus the distance to the nearest support example of each of two classes."""

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        distances = torch.cdist(queries, support.x)
        own = [distances.masked_fill((support.y != label).unsqueeze(1), torch.inf).amin(-1) for label in (0, 1)]
        return -torch.stack(own, dim=-1)


def numbers(support: list[float], labels: list[int], queries: list[float], targets: list[int]) -> Episode:
    """One task whose examples are numbers."""
    parts = [(support, labels), (queries, targets)]
    return Episode(*(Examples(torch.tensor(x).view(1, -1, 1), torch.tensor(y).unsqueeze(0)) for x, y in parts))


def test_a_metric_of_ones_own_says_only_how_it_compares():
    module, episode = NearestExample(Identity()), numbers([0, 6, 2.0, 9], [0, 1, 0, 1], [3.0, 8.0], [0, 1])
    assert module(episode).outputs.tolist() == [[[-1, -3], [-6, -1]]]
    assert module(episode).before is None  # nothing adapts
    expected = (torch.tensor([2.0, 5.0]).neg().exp() + 1).log().mean()  # by how much the right class is nearer
    loss, outputs = module.outer_loss(episode)
    torch.testing.assert_close(loss, expected)
    assert outputs.tolist() == [[[-1, -3], [-6, -1]]]


def test_a_query_is_judged_on_its_own(monkeypatch):
    module, episode = ProtoNetModule(Conv4(channels=4, running_statistics=True)).double().eval(), image_tasks()
    together = module(episode).outputs
    one = episode._replace(query=Examples(episode.query.x[:, :1], episode.query.y[:, :1]))
    torch.testing.assert_close(module(one).outputs, together[:, :1])
    monkeypatch.setattr(metric, "IMAGES_AT_ONCE", 4)  # of 30, over the borders of tasks
    torch.testing.assert_close(module(episode).outputs, together)


def test_in_training_the_images_of_all_tasks_share_their_statistics():
    module, episode = ProtoNetModule(Conv4(channels=4, running_statistics=True)).double(), image_tasks(2)
    before = module.network.norms[0].running_mean.clone()
    beside_another = module.outer_loss(episode).outputs[0]
    assert not torch.equal(module.network.norms[0].running_mean, before)  # what an evaluation normalises by
    alone = module.outer_loss(episode.chunks(1)[0]).outputs[0]
    assert not torch.allclose(beside_another, alone, rtol=1e-3)


def test_a_network_without_running_statistics_is_refused():
    with pytest.raises(FewShotError, match=r"^ProtoNet needs batch norm with running statistics, or else the tasks"):
        ProtoNetModule(Conv4())
