"""What the learners share that compare in an embedding: by a nearest-neighbour classifier that is written here."""

from inspect import signature

import pytest
import torch
from helpers import COMPARING, Identity, image_tasks
from torch import Tensor

from fewshot.algorithms import MetricModule, ProtoNetModule, metric
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4

ANY_ORDER = [learner for learner in COMPARING if "outputs" not in signature(learner).parameters]
"""Those that judge any number of ways: their classes, and their support examples, are in no order."""


def small(learner: type[MetricModule]) -> MetricModule:
    """A learner as it begins, of a network that keeps places."""
    return learner(Conv4(channels=4, running_statistics=True, cells=2)).double()


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


@pytest.mark.parametrize("learner", COMPARING)
def test_a_query_is_judged_on_its_own(learner, monkeypatch):
    module, episode = small(learner).eval(), image_tasks(ways=5)
    together = module(episode).outputs
    one = episode._replace(query=Examples(episode.query.x[:, :1], episode.query.y[:, :1]))
    torch.testing.assert_close(module(one).outputs, together[:, :1])
    monkeypatch.setattr(metric, "IMAGES_AT_ONCE", 4)  # of 50, over the borders of tasks
    torch.testing.assert_close(module(episode).outputs, together)


@pytest.mark.parametrize("learner", ANY_ORDER)
def test_the_order_of_the_support_examples_and_of_the_classes_does_not_matter(learner):
    module, episode = small(learner).eval(), image_tasks(ways=3, shots=2)
    outputs, (x, y) = module(episode).outputs, episode.support
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    torch.testing.assert_close(module(episode._replace(support=Examples(x[:, order], y[:, order]))).outputs, outputs)
    renamed = torch.tensor([2, 0, 1])
    elsewhere = module(episode._replace(support=Examples(x, renamed[y]))).outputs
    torch.testing.assert_close(elsewhere[..., renamed], outputs)


@pytest.mark.parametrize("learner", ANY_ORDER)
def test_it_judges_other_ways_and_shots_than_it_learned_from(learner):
    module = small(learner)
    module.outer_loss(image_tasks(ways=3, shots=1)).loss.backward()
    outputs = module.eval()(image_tasks(tasks=2, ways=7, shots=4, queries=2)).outputs
    assert outputs.shape == (2, 14, 7)
    assert outputs.isfinite().all()


@pytest.mark.parametrize("learner", ANY_ORDER)
def test_it_learns_the_tasks_that_it_is_shown(learner):
    module, episode = small(learner), image_tasks(ways=5, shots=1, queries=1)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(module.outer_loss(episode).loss)
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_sums_by_class_do_not_underflow():
    weights = torch.tensor([[[0.25, 0.5, 0.125]]])
    expected = torch.tensor([[[0.25, 0.625]]]).log() - 400
    torch.testing.assert_close(metric.log_sums(weights.log() - 400, torch.tensor([[0, 1, 1]])), expected)


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


class Corner(Identity):
    """An image's upper left pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 0, 0]


def test_an_embedding_is_the_mean_over_the_shifts_of_its_image_in_evaluation_alone():
    module = NearestExample(Corner(), test_shift=1)
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    assert module.features(image).item() == 1
    # Eight shifts bring one of 1, 2, 4, 5 or, from outside, 0 to the corner; as it is, 1 lies there.
    assert module.eval().features(image).item() == pytest.approx((1 + 2 + 4 + 5) / 9)
    with pytest.raises(FewShotError, match="test_shift"):
        NearestExample(Corner(), test_shift=-1)
