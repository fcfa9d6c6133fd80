"""Prototypical networks against scikit-learn's nearest centroid, and by hand."""

import pytest
import torch
from helpers import Identity, image_tasks
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestCentroid

from fewshot.algorithms import ProtoNetModule
from fewshot.algorithms.independence import moved_by_other_queries
from fewshot.algorithms.metric import prototypes
from fewshot.algorithms.protonet import distances
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


def protonet(**options: object) -> ProtoNetModule:
    return ProtoNetModule(Conv4(channels=4, running_statistics=True), **options).double().eval()


def test_prototypes_are_class_means_in_any_order():
    x = torch.tensor([[[0.0, 0.0], [5.0, 1.0], [2.0, 4.0], [7.0, 3.0]]])
    y = torch.tensor([[0, 1, 0, 1]])
    assert prototypes(Examples(x, y)).tolist() == [[[1.0, 2.0], [6.0, 2.0]]]


def test_distances_by_hand():
    x, centres = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.0], [3.0, 0.0], [6.0, 8.0]]])
    assert distances(x, centres, "euclidean").tolist() == [[[25.0, 16.0, 25.0]]]
    # Cosines with (3, 4): none for the origin, 3/5, and 1 for the parallel vector.
    torch.testing.assert_close(distances(x, centres, "cosine"), torch.tensor([[[1.0, 0.4, 0.0]]]))


def test_logits_are_minus_the_distance_over_the_temperature():
    support = Examples(torch.tensor([[[0.0, 0.0], [3.0, 0.0]]]), torch.tensor([[0, 1]]))
    queries = torch.tensor([[[3.0, 4.0]]])
    assert protonet(temperature=2.0).compare(support, queries).tolist() == [[[-12.5, -8.0]]]
    cosine = protonet(distance="cosine", temperature=0.1).compare(support, queries)
    torch.testing.assert_close(cosine, torch.tensor([[[-10.0, -4.0]]]))
    with pytest.raises(FewShotError, match="temperature must be positive, not 0"):
        protonet(temperature=0)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # one shot has no variance
def test_predictions_are_those_of_the_nearest_centroid(shots):
    module, episode = protonet(), image_tasks(tasks=8, ways=5, shots=shots)
    predicted = module(episode).outputs.argmax(-1)
    with torch.no_grad():
        for task, (support, labels, queries) in enumerate(zip(*episode.support, episode.query.x)):
            reference = NearestCentroid().fit(module.network(support), labels)
            assert predicted[task].tolist() == reference.predict(module.network(queries)).tolist()


def points(x: list[list[float]], y: list[int]) -> Examples:
    return Examples(torch.tensor([x], dtype=torch.float64), torch.tensor([y]))


def test_a_step_of_refinement_by_hand():
    # The query 1 is as near to 0 as to 2 and counts half for each; the query 9 counts for 2 alone.
    module = ProtoNetModule(Identity(), test_refinement_steps=1).eval()
    support, queries = points([[0.0], [2.0]], [0, 1]), points([[1.0], [9.0]], [0, 1])
    centres = module.refined(prototypes(support), support, queries.x)
    torch.testing.assert_close(centres, torch.tensor([[[0.5 / 1.5], [(2 + 0.5 + 9) / 2.5]]], dtype=torch.float64))
    outputs = module.predict(Episode(support, queries)).outputs
    torch.testing.assert_close(outputs, -((queries.x - centres.transpose(1, 2)) ** 2))


def test_queries_in_two_clouds_pull_prototypes_from_the_rim_into_the_middle():
    # Both supports lie left in their clouds, so queries right in the left cloud are taken for the right one at first.
    draw = torch.Generator().manual_seed(0)
    clouds = [torch.randn(200, 2, generator=draw, dtype=torch.float64) + torch.tensor([x, 0.0]) for x in (0, 8)]
    queries = Examples(torch.cat(clouds)[None], torch.arange(2).repeat_interleave(200)[None])
    support = points([[-5.0, 0.0], [5.0, 0.0]], [0, 1])
    module = ProtoNetModule(Identity(), test_refinement_steps=10).eval()
    refined = module.predict(Episode(support, queries)).outputs
    assert (module.compare(support, queries.x).argmax(-1) != queries.y).sum() > 50
    assert (refined.argmax(-1) != queries.y).sum() == 0
    centres = prototypes(support)
    for _ in range(10):
        centres = module.refined(centres, support, queries.x)
    middles = GaussianMixture(2, covariance_type="spherical", random_state=0).fit(queries.x[0]).means_
    torch.testing.assert_close(
        centres[0], torch.tensor(sorted(middles.tolist()), dtype=torch.float64), atol=0.1, rtol=0
    )


def test_refinement_judges_queries_together_and_training_and_compare_know_none_of_it():
    module, episode = protonet(test_refinement_steps=2), image_tasks(tasks=2, ways=5)
    plain = ProtoNetModule(module.network).double().eval()
    assert moved_by_other_queries(module.predict, episode)
    assert not moved_by_other_queries(plain.predict, episode)
    embedded = plain.embed(episode)
    assert torch.equal(module.compare(*embedded), plain.compare(*embedded))
    assert torch.equal(module.train().outer_loss(episode).outputs, plain.train().outer_loss(episode).outputs)
    with pytest.raises(FewShotError, match="test_refinement_steps"):
        protonet(test_refinement_steps=-1)
